"""Whoever sees few members finds the same of them whichever way a search goes."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from plans import new_database
from tieline.chassis.postgres import Connection
from tieline.directory.members.rules import BEFORE_ALL_RESULTS, SearchPosition
from tieline.directory.repositories.search_query import SearchQuery
from tieline.directory.search.flow import search
from tieline.directory.search.index import catch_up
from tieline.directory.visibility.decision import People, Viewer

# Who is in department 3, and sees department 2 but for one member, and one more of department 3.
VIEWER = Viewer(
    "ww1",
    is_unlimited=False,
    user_id="u001",
    allowed=People(False, frozenset({"u004"}), frozenset({2})),
    denied=People(False, frozenset({"u012"}), frozenset()),
)


@pytest.fixture(scope="module")
async def indexed(postgres_admin_dsn: str, worker_id: str) -> AsyncIterator[Connection]:
    """Two corps with the same ids: 60 members in departments 2, 3 and 4."""
    name = f"directory_search_few_{worker_id}"
    async with new_database(postgres_admin_dsn, name, "directory") as connection:
        await connection.execute(
            """
            INSERT INTO directory.corps (corp_id, last_change_number)
            VALUES ('ww1', 60), ('ww2', 60);
            INSERT INTO directory.departments
                   (corp_id, department_id, parent_department_id, name, path, ancestor_ids)
            SELECT corp_id, id, nullif(1, id), names[id], paths[id],
                   array_agg(1) || id
              FROM directory.corps, generate_series(1, 4) AS id,
                   (SELECT ARRAY['Corp', 'Wang Store', 'East', 'West'],
                           ARRAY['', 'Wang Store', 'East', 'West']) AS given (names, paths)
             GROUP BY corp_id, id, names, paths;
            INSERT INTO directory.members
                   (corp_id, user_id, name, department_id, position, mobile, biz_email,
                    change_number)
            SELECT corp_id, 'u' || lpad(n::text, 3, '0'),
                   (ARRAY['王小明', '李娜', 'Wang Wei', '单田芳', '张王氏'])[n % 5 + 1],
                   n % 3 + 2, (ARRAY['Buyer', '珠宝顾问'])[n % 2 + 1], (13800000000 + n)::text,
                   'desk' || n || '@work.example', n
              FROM directory.corps, generate_series(1, 60) AS n;
            INSERT INTO directory.member_departments (corp_id, user_id, department_id)
            SELECT corp_id, user_id, department_id FROM directory.members
            """
        )
        for corp_id in ("ww1", "ww2"):
            assert await catch_up(connection, corp_id)
        yield connection


async def find(connection: Connection, query: SearchQuery, size: int) -> list[SearchPosition]:
    """Return all results, read in pages."""
    await connection.execute("RESET ALL")
    found: list[SearchPosition] = []
    while True:
        after = found[-1] if found else BEFORE_ALL_RESULTS
        page = await search(connection, query, after=after, limit=size)
        await connection.execute("RESET ALL")
        found += page
        if len(page) < size:
            return found


@pytest.mark.parametrize(
    ("text", "count"),
    [
        pytest.param("王", 9, id="one character"),
        pytest.param("wang", 20, id="reading, word and department"),
        pytest.param("dtf", 4, id="initials of a polyphone"),
        pytest.param("顾问", 11, id="substring"),
        pytest.param("wang x", 4, id="reading with a blank"),
        pytest.param("desk", 21, id="work e-mail addresses"),
        pytest.param("u0", 21, id="user ids"),
        pytest.param("0000003", 5, id="digits within a number"),
        pytest.param("store", 19, id="department"),
        pytest.param("nobody", 0, id="nothing"),
    ],
)
async def test_looking_at_each_finds_what_looking_through_all_does(
    indexed: Connection, text: str, count: int
) -> None:
    query = SearchQuery(VIEWER, text)
    narrow = SearchQuery(replace(VIEWER, is_narrow=True), text)

    through_all = await find(indexed, query, 5)
    by_gram = await find(indexed, narrow, 5)
    by_place = await find(indexed, replace(narrow, is_indexed=False), 5)

    assert by_gram == by_place == through_all
    assert len({each.user_id for each in by_gram}) == len(by_gram) == count
