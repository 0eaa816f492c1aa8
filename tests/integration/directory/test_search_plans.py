"""How PostgreSQL runs a search before it knows the tables: by the index that is meant, bounded."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from plans import explain, new_database
from tieline.chassis.postgres import Connection
from tieline.directory.members.rules import BEFORE_ALL_RESULTS
from tieline.directory.repositories import search
from tieline.directory.repositories.search_query import SearchQuery
from tieline.directory.visibility.decision import People, Viewer

UNLIMITED = Viewer("ww", is_unlimited=True)
LIMITED = Viewer(
    "ww",
    is_unlimited=False,
    user_id="li",
    allowed=People(everybody=True),
    denied=People(department_ids=frozenset({7})),
)
HIDING = replace(
    LIMITED,
    hidden_fields=(
        (People(everybody=True), frozenset({"mobile"})),
        (People(department_ids=frozenset({3})), frozenset({"alias", "position"})),
    ),
)
FEW = Viewer(
    "ww", is_unlimited=False, user_id="li", allowed=People(False, frozenset(), frozenset({3}))
)

Ask = Callable[[Any, SearchQuery], Awaitable[object]]

STATEMENTS: dict[str, tuple[Ask, list[str]]] = {
    "beginnings": (
        lambda c, q: search.list_by_term(c, q, search.BEGINS, after=BEFORE_ALL_RESULTS, limit=21),
        ["search_terms_pkey", "search_entries_pkey"],
    ),
    "later parts": (
        lambda c, q: search.list_by_term(
            c, q, search.BEGINS_LATER, after=BEFORE_ALL_RESULTS, limit=21
        ),
        ["search_terms_pkey", "search_entries_pkey"],
    ),
    "a sample": (
        lambda c, q: search.list_sample(c, q, after=BEFORE_ALL_RESULTS, size=1000),
        ["search_entries_by_place"],
    ),
    "grams": (
        lambda c, q: search.list_by_gram(c, q, after=BEFORE_ALL_RESULTS, limit=21),
        ["search_entries_by_gram"],
    ),
    "departments": (
        lambda c, q: search.list_by_department(c, q, [1, 2], after=BEFORE_ALL_RESULTS, limit=21),
        ["member_departments_by_department", "search_entries_pkey"],
    ),
    "few": (
        lambda c, q: search.list_among_few(c, q, [1, 2], after=BEFORE_ALL_RESULTS, limit=21),
        ["search_entries_by_gram", "search_entries_pkey"],
    ),
    "few, of an earlier form": (
        lambda c, q: search.list_among_few(
            c, replace(q, is_indexed=False), [1, 2], after=BEFORE_ALL_RESULTS, limit=21
        ),
        ["search_entries_pkey"],
    ),
}


IN_ORDER = ("beginnings", "later parts", "a sample", "departments")


@pytest.fixture(scope="module")
async def empty(postgres_admin_dsn: str, worker_id: str) -> AsyncIterator[Connection]:
    name = f"directory_search_plans_{worker_id}"
    async with new_database(postgres_admin_dsn, name, "directory") as connection:
        # Rows without statistics: what a new corp's first import leaves.
        await connection.execute(
            "ALTER TABLE directory.search_entries SET (autovacuum_enabled = off)"
        )
        await connection.execute(
            "ALTER TABLE directory.search_terms SET (autovacuum_enabled = off)"
        )
        await connection.execute(
            """
            INSERT INTO directory.search_entries
                   (corp_id, user_id, place, department_ids, body, terms, grams)
            SELECT 'ww' || number % 7, 'u' || number, number, '{1}', 'body', '{0u}', ARRAY[number]
              FROM generate_series(1, 20000) AS number
            """
        )
        await connection.execute(
            """
            INSERT INTO directory.search_terms (corp_id, term, user_id)
            SELECT corp_id, '0' || user_id, user_id FROM directory.search_entries
            """
        )
        for setting, value in search.SESSION_SETTINGS.items():
            await connection.execute("SELECT set_config($1, $2, false)", setting, value)
        yield connection


@pytest.mark.parametrize(
    "viewer",
    [UNLIMITED, LIMITED, HIDING, FEW],
    ids=["unlimited", "limited", "without fields", "few"],
)
@pytest.mark.parametrize("name", STATEMENTS)
@pytest.mark.parametrize("text", ["wang", "wang fang", "lü", "wang@work.example"])
async def test_search_reads_by_the_index_that_is_meant(
    empty: Connection, name: str, viewer: Viewer, text: str
) -> None:
    ask, indexes = STATEMENTS[name]

    plan = await explain(empty, lambda connection: ask(connection, SearchQuery(viewer, text)))

    assert "Seq Scan" not in plan, plan
    for index in indexes:
        assert index in plan, plan
    if name in IN_ORDER:
        # In the order of the index, so that reading ends with the page.
        assert not re.search("Sort|Bitmap|Hash Join|Merge Join", plan), plan
