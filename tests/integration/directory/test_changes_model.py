"""Snapshot and feed together give the directory's state, whatever happens in between."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.directory_copy import DirectoryCopy
from fakes.directory_writes import Writer
from tieline.chassis.errors import FailedPreconditionError
from tieline.chassis.ids import new_corp_id
from tieline.chassis.page_tokens import PageTokens
from tieline.chassis.postgres import Pool
from tieline.directory.changes.feed import ChangesFeed
from tieline.directory.changes.rules import Cursor

USERS = ("an", "bo", "chen")
DEPARTMENTS = (2, 3, 4)
TAGS = (1, 2)
NAMES = ("x", "y")

# What is done, with which of each kind, and the name that it gets.
operations = st.tuples(
    st.sampled_from(
        [
            *("put_department", "delete_department", "put_member", "leave", "put_tag"),
            *("delete_tag", "tag_member", "untag_member", "tag_department"),
            *("read", "read", "begin anew", "forget removals"),
        ]
    ),
    st.sampled_from(USERS),
    st.sampled_from(DEPARTMENTS),
    st.sampled_from(TAGS),
    st.sampled_from(NAMES),
    st.integers(1, 5),
)
Operation = tuple[str, str, int, int, str, int]


class Client:
    """Somebody who keeps a copy."""

    def __init__(self, feed: ChangesFeed, corp_id: str) -> None:
        self._feed = feed
        self._corp_id = corp_id
        self.begin_anew()

    def begin_anew(self) -> None:
        self.copy = DirectoryCopy()
        self._cursor: Cursor | None = None

    async def read(self, size: int) -> bool:
        """Read a page; return whether more follow."""
        try:
            page = await self._feed.read(self._corp_id, self._cursor, size)
        except FailedPreconditionError:
            self.begin_anew()
            return True
        self.copy.apply(page.changes)
        self._cursor = page.cursor
        return page.has_more

    async def catch_up(self, size: int) -> None:
        while await self.read(size):
            pass


@pytest.fixture(scope="session")
def feed(directory_pool: Pool) -> ChangesFeed:
    return ChangesFeed(directory_pool, PageTokens(b"key"))


async def perform(writer: Writer, client: Client, operation: Operation) -> None:
    """Do it where the rows that it needs are there."""
    name, user_id, department_id, tag_id, text, size = operation
    departments, members, tags, _, _ = await writer.read_state()
    department_or_root = department_id if department_id in departments else 1
    has_department, has_member = department_id in departments, user_id in members
    is_empty = all(department != department_id for _, department in members.values()) and all(
        parent != department_id for _, parent in departments.values()
    )
    actions: dict[str, tuple[bool, Callable[[], Awaitable[object]]]] = {
        "put_department": (True, lambda: writer.put_department(department_id, text)),
        "delete_department": (
            has_department and is_empty,
            lambda: writer.delete_department(department_id),
        ),
        "put_member": (True, lambda: writer.put_member(user_id, text, department_or_root)),
        "leave": (has_member, lambda: writer.leave(user_id)),
        "put_tag": (True, lambda: writer.put_tag(tag_id, text)),
        "delete_tag": (tag_id in tags, lambda: writer.delete_tag(tag_id)),
        "tag_member": (
            tag_id in tags and has_member,
            lambda: writer.tag_member(tag_id, user_id),
        ),
        "untag_member": (True, lambda: writer.untag_member(tag_id, user_id)),
        "tag_department": (
            tag_id in tags and has_department,
            lambda: writer.tag_department(tag_id, department_id),
        ),
        "read": (True, lambda: client.read(size)),
        "forget removals": (True, writer.forget_removals),
    }
    if name == "begin anew":
        client.begin_anew()
        return
    is_possible, act = actions[name]
    if is_possible:
        await act()


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(operations, max_size=25))
async def test_copy_that_caught_up_is_the_state_of_the_directory(
    steps: list[Operation], directory_pool: Pool, feed: ChangesFeed
) -> None:
    writer = Writer(directory_pool, new_corp_id())
    await writer.create_corp()
    client, latecomer = Client(feed, writer.corp_id), Client(feed, writer.corp_id)

    for step in steps:
        await perform(writer, client, step)
    await client.catch_up(size=2)
    await latecomer.catch_up(size=3)

    state = await writer.read_state()
    assert client.copy.state == state
    assert latecomer.copy.state == state


async def test_changes_of_writers_at_the_same_time_are_all_read(
    directory_pool: Pool, feed: ChangesFeed
) -> None:
    writer = Writer(directory_pool, new_corp_id())
    await writer.create_corp()
    client = Client(feed, writer.corp_id)

    async def write(prefix: str) -> None:
        for number in range(60):
            await writer.put_member(f"{prefix}{number}", prefix)

    writing = asyncio.gather(write("a"), write("b"))
    while not writing.done():
        await client.read(7)
    await writing
    await client.catch_up(7)

    assert client.copy.state == await writer.read_state()


async def test_reader_stops_before_a_change_that_is_not_committed(
    directory_pool: Pool, feed: ChangesFeed
) -> None:
    writer = Writer(directory_pool, new_corp_id())
    await writer.create_corp()
    client = Client(feed, writer.corp_id)

    async with directory_pool.acquire() as connection:
        begun = connection.transaction()
        await begun.start()
        await connection.execute(
            "UPDATE directory.corps SET last_change_number = 90 WHERE corp_id = $1", writer.corp_id
        )
        await client.catch_up(10)
        await connection.execute(
            """
            INSERT INTO directory.tags (corp_id, change_number, tag_id, name)
            VALUES ($1, 90, 7, 'late')
            """,
            writer.corp_id,
        )
        await begun.commit()
    await client.catch_up(10)

    assert [tag.name for tag in client.copy.tags.values()] == ["late"]
