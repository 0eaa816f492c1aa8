"""Members asked for one by one are read together, each as it is after it was asked for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fakes.eventually import eventually
from tieline.api.directory.v1 import directory_service_pb2
from tieline.chassis.errors import UnavailableError
from tieline.directory.members.reader import MemberReader
from tieline.directory.members.rules import Member


class FakePool:
    """Stands in for the pool, the connection and the tables: each corp has the same members."""

    def __init__(self) -> None:
        self.names = {"li": "Li", "wang": "Wang"}
        self.numbers = {"li": 1, "wang": 2}
        self.is_there = True
        self.lent = 0
        self.loans = 0
        self.queries: list[tuple[str, set[str]]] = []
        self.error: Exception | None = None
        self.is_open = asyncio.Event()
        self.is_open.set()

    def rename(self, user_id: str, name: str) -> None:
        """Change a member, as a writer does: with the next number."""
        self.names[user_id] = name
        self.numbers[user_id] = max(self.numbers.values()) + 1

    @asynccontextmanager
    async def acquire(self, *, spares_reset: bool) -> AsyncIterator["FakePool"]:
        self.lent += 1
        self.loans += 1
        try:
            yield self
        finally:
            self.lent -= 1

    async def fetchrow(self, _: str, corp_id: str, known: int, limit: int) -> list[Any] | None:
        if self.error is not None:
            raise self.error
        changed = [user_id for user_id, number in self.numbers.items() if number > known]
        return [max(self.numbers.values()), 0, "", changed[:limit]] if self.is_there else None

    async def fetch(self, _: str, corp_id: str, user_ids: list[str]) -> list[Any]:
        self.queries.append((corp_id, set(user_ids)))
        found = [
            FakeRecord(user_id, self.names[user_id])
            for user_id in user_ids
            if user_id in self.names
        ]
        await self.is_open.wait()
        return found


class FakeRecord(dict[str, Any]):
    """A row of the members' query."""

    def __init__(self, user_id: str, name: str) -> None:
        member = Member(user_id, name)
        super().__init__()
        self.update(
            {field: getattr(member, field) for field in Member.__slots__ if field != "departments"}
        )
        self.update(department_ids=None, orders=None, are_leader=None)


@pytest.fixture
def pool() -> FakePool:
    return FakePool()


@pytest.fixture
def reader(pool: FakePool) -> MemberReader:
    return MemberReader(pool)  # type: ignore[arg-type]  # has what the reader uses


async def name_of(reader: MemberReader, user_id: str, corp_id: str = "ww1") -> str | None:
    member, _ = await reader.find(corp_id, user_id)
    if member is None:
        return None
    return directory_service_pb2.GetMemberResponse.FromString(member.message).member.name


async def test_what_arrives_while_a_query_runs_is_read_by_the_next(
    pool: FakePool, reader: MemberReader
) -> None:
    pool.is_open.clear()
    first = asyncio.create_task(name_of(reader, "li"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    pool.rename("li", "Li Na")
    others = [asyncio.create_task(name_of(reader, user_id)) for user_id in ("li", "wang", "no")]
    await asyncio.sleep(0)

    pool.is_open.set()

    # The first one was read before the change; nobody who asked after it gets what was before.
    assert await first == "Li"
    assert await asyncio.gather(*others) == ["Li Na", "Wang", None]
    assert pool.queries == [("ww1", {"li"}), ("ww1", {"li", "wang", "no"})]


async def test_next_query_of_a_busy_corp_waits_for_more_to_ask(pool: FakePool) -> None:
    reader = MemberReader(pool, spacing_s=60)  # type: ignore[arg-type]  # has what it uses
    pool.is_open.clear()
    first = asyncio.create_task(name_of(reader, "li"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    second = asyncio.create_task(name_of(reader, "wang"))
    await asyncio.sleep(0)
    pool.is_open.set()
    assert await first == "Li"

    done, _ = await asyncio.wait([second], timeout=0.05)

    assert not done
    assert pool.queries == [("ww1", {"li"})]
    second.cancel()


async def test_who_asks_alone_is_answered_at_once(pool: FakePool) -> None:
    reader = MemberReader(pool, spacing_s=60)  # type: ignore[arg-type]  # has what it uses

    assert [await name_of(reader, user_id) for user_id in ("li", "wang")] == ["Li", "Wang"]


async def test_corps_do_not_wait_for_each_other(pool: FakePool, reader: MemberReader) -> None:
    names = await asyncio.gather(name_of(reader, "li", "ww1"), name_of(reader, "li", "ww2"))

    assert set(names) == {"Li"}
    assert pool.queries == [("ww1", {"li"}), ("ww2", {"li"})]


async def test_error_reaches_all_who_waited_and_nobody_after_them(
    pool: FakePool, reader: MemberReader
) -> None:
    pool.error = UnavailableError("DATABASE_UNAVAILABLE", "away")
    outcomes = await asyncio.gather(
        name_of(reader, "li"), name_of(reader, "wang"), return_exceptions=True
    )
    pool.error = None

    assert all(isinstance(outcome, UnavailableError) for outcome in outcomes)
    assert await name_of(reader, "li") == "Li"


async def test_who_gives_up_keeps_nobody_else_from_an_answer(
    pool: FakePool, reader: MemberReader
) -> None:
    pool.is_open.clear()
    tasks = [asyncio.create_task(name_of(reader, user_id)) for user_id in ("li", "wang")]
    await asyncio.sleep(0)
    tasks[0].cancel()

    pool.is_open.set()

    assert await tasks[1] == "Wang"
    assert await name_of(reader, "li") == "Li"
    assert tasks[0].cancelled()


async def test_member_who_has_not_changed_is_not_read_again(
    pool: FakePool, reader: MemberReader
) -> None:
    names = [await name_of(reader, "li") for _ in range(3)]

    assert names == ["Li"] * 3
    assert pool.queries == [("ww1", {"li"})]


async def test_change_is_seen_by_the_next_read_and_costs_the_others_nothing(
    pool: FakePool, reader: MemberReader
) -> None:
    await asyncio.gather(name_of(reader, "li"), name_of(reader, "wang"))
    pool.queries.clear()
    pool.rename("li", "Li Na")

    names = [await name_of(reader, user_id) for user_id in ("li", "wang", "li")]

    assert names == ["Li Na", "Wang", "Li Na"]
    assert pool.queries == [("ww1", {"li"})]


async def test_connection_is_kept_for_who_asks_next_and_given_back_when_nobody_does(
    pool: FakePool, reader: MemberReader
) -> None:
    for user_id in ("li", "wang", "li"):
        await name_of(reader, user_id)
    lent, loans = pool.lent, pool.loans

    await eventually(lambda: pool.lent == 0)

    assert (lent, loans) == (1, 1)
    assert await name_of(reader, "li") == "Li"
    assert pool.loans == 2


async def test_few_corps_keep_connections_at_a_time(pool: FakePool, reader: MemberReader) -> None:
    for number in range(10):
        await name_of(reader, "li", f"ww{number}")

    assert pool.lent <= 3


async def test_nothing_is_kept_of_a_corp_that_is_gone(pool: FakePool, reader: MemberReader) -> None:
    await name_of(reader, "li")
    pool.is_there = False
    del pool.names["li"]

    assert await name_of(reader, "li") is None
