"""A search answers alike whether what is hidden from its viewer is there or not, page by page."""

from collections.abc import AsyncIterator
from dataclasses import astuple, replace
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plans import new_database
from tieline.chassis.postgres import Connection
from tieline.directory.members.rules import BEFORE_ALL_RESULTS, SearchPosition, fold
from tieline.directory.repositories.search_query import SearchQuery
from tieline.directory.search.flow import search
from tieline.directory.search.index import catch_up
from tieline.directory.search.terms import MARKS, SearchedMember
from tieline.directory.visibility.decision import People, Viewer

WITH, WITHOUT = "ww1", "ww2"
USER_IDS = ("ana.wang", "bert", "cleo", "dora", "wang1")
STORE, EAST = 2, 3
QUERIES = ("wang", "ana", "an", "138", "0000", "王", "store", "w", "buyer", "east")

people = st.builds(
    People,
    st.booleans(),
    st.frozensets(st.sampled_from(USER_IDS), max_size=2),
    st.frozensets(st.sampled_from((STORE, EAST)), max_size=1),
)


@st.composite
def members(draw: st.DrawFn, user_id: str) -> SearchedMember:
    """Draw a member of whom several fields may hold one text."""
    number = USER_IDS.index(user_id)
    numbers = ("", f"138{number}", f"1380000{number}")
    emails = ("", f"wang{number}@x.example", f"buyer.ana{number}@x.example")
    return SearchedMember(
        user_id,
        draw(st.sampled_from(("Wang", "王娜", "Ana", "Eastman"))),
        draw(st.sampled_from(("", "Wang", "Ana Wang", "王芳"))),
        draw(st.sampled_from(("", "Wang buyer", "Buyer", "王"))),
        draw(st.sampled_from(numbers)),
        draw(st.sampled_from(emails)),
        draw(st.sampled_from([f"w{email}" if email else "" for email in emails])),
    )


class Scene(NamedTuple):
    """Who is there, and what of them the viewer gets."""

    members: list[SearchedMember]
    places: list[int]
    viewer: Viewer


scenes = st.builds(
    Scene,
    st.tuples(*map(members, USER_IDS)).map(list),
    st.lists(st.sampled_from((STORE, EAST)), min_size=5, max_size=5),
    st.builds(
        Viewer,
        st.just(WITH),
        is_unlimited=st.just(False),
        user_id=st.sampled_from(USER_IDS),
        full=people.map(lambda full: replace(full, everybody=False)),
        allowed=st.just(People(everybody=True)),
        denied=st.builds(People, user_ids=st.frozensets(st.sampled_from(USER_IDS), max_size=1)),
        hidden_fields=st.lists(
            st.tuples(people, st.frozensets(st.sampled_from(sorted(MARKS)), min_size=1)),
            max_size=3,
        ).map(tuple),
    ),
)


@pytest.fixture(scope="module")
async def connection(postgres_admin_dsn: str, worker_id: str) -> AsyncIterator[Connection]:
    """Two corps with two departments each."""
    name = f"directory_search_hidden_{worker_id}"
    async with new_database(postgres_admin_dsn, name, "directory") as connection:
        await connection.execute(
            """
            INSERT INTO directory.corps (corp_id) VALUES ('ww1'), ('ww2');
            INSERT INTO directory.departments
                   (corp_id, department_id, parent_department_id, name, path, ancestor_ids)
            SELECT corp_id, id, nullif(1, id), names[id], paths[id], array_agg(1) || id
              FROM directory.corps, generate_series(1, 3) AS id,
                   (SELECT ARRAY['Corp', 'Wang Store', 'East'],
                           ARRAY['', 'Wang Store', 'East']) AS given (names, paths)
             GROUP BY corp_id, id, names, paths
            """
        )
        yield connection


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(scene=scenes, text=st.sampled_from(QUERIES), size=st.integers(1, 3))
async def test_pages_are_the_same_with_and_without_what_is_hidden(
    connection: Connection, scene: Scene, text: str, size: int
) -> None:
    seen = Scene(*zip_seen(scene), scene.viewer)
    await fill(connection, WITH, scene)
    await fill(connection, WITHOUT, seen)

    for is_narrow in (False, True):
        viewer = replace(scene.viewer, is_narrow=is_narrow)
        for is_indexed in (True, False):
            query = SearchQuery(viewer, fold(text), is_indexed=is_indexed)
            bare = replace(query, viewer=replace(viewer, corp_id=WITHOUT, hidden_fields=()))

            assert await read_pages(connection, query, size) == await read_pages(
                connection, bare, size
            )


def zip_seen(scene: Scene) -> tuple[list[SearchedMember], list[int]]:
    """Return those who are seen, without what is hidden of them, and their departments."""
    seen = [
        (replace(member, **dict.fromkeys(hidden, "")), place)
        for member, place in zip(scene.members, scene.places, strict=True)
        if scene.viewer.can_see(member.user_id, [place])
        for hidden in [scene.viewer.list_hidden_fields(member.user_id, [place])]
    ]
    return [member for member, _ in seen], [place for _, place in seen]


async def fill(connection: Connection, corp_id: str, scene: Scene) -> None:
    """Have these be the corp's members, and searchable."""
    for table in ("member_departments", "members", "search_terms", "search_entries"):
        await connection.execute(f"DELETE FROM directory.{table} WHERE corp_id = $1", corp_id)
    await connection.execute("DELETE FROM directory.search_progress WHERE corp_id = $1", corp_id)
    for number, (member, place) in enumerate(
        zip(scene.members, scene.places, strict=True), start=1
    ):
        await connection.execute(
            """
            INSERT INTO directory.members
                   (corp_id, user_id, name, alias, position, mobile, email, biz_email,
                    department_id, change_number)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
            """,
            corp_id,
            *astuple(member),
            place,
            number,
        )
        await connection.execute(
            "INSERT INTO directory.member_departments (corp_id, user_id, department_id)"
            " VALUES ($1, $2, $3)",
            corp_id,
            member.user_id,
            place,
        )
    await connection.execute(
        "UPDATE directory.corps SET last_change_number = $2 WHERE corp_id = $1",
        corp_id,
        len(scene.members),
    )
    assert await catch_up(connection, corp_id)


async def read_pages(
    connection: Connection, query: SearchQuery, size: int
) -> list[list[SearchPosition]]:
    """Return all pages, each with one more than it has if another follows: the next one's token."""
    pages: list[list[SearchPosition]] = []
    after: SearchPosition | None = BEFORE_ALL_RESULTS
    while after is not None:
        page = await search(connection, query, after=after, limit=size + 1)
        pages.append(page)
        after = page[size - 1] if len(page) > size else None
    return pages
