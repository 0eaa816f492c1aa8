"""The indexer finds the corps that changed, and reads nothing of those where nothing did."""

from collections.abc import AsyncIterator

import pytest

from fakes.directory_corps import Corp, table
from fakes.eventually import eventually
from plans import explain, new_database
from tieline.chassis.postgres import Connection, Pool
from tieline.directory.repositories import corps, search_index
from tieline.directory.search.index import catch_up
from tieline.directory.search.terms import MARKS

CORPS = 2000


@pytest.fixture(scope="module")
async def database_of_corps(postgres_admin_dsn: str, worker_id: str) -> AsyncIterator[Connection]:
    name = f"directory_search_waiting_{worker_id}"
    async with new_database(postgres_admin_dsn, name, "directory") as connection:
        await connection.execute(
            "INSERT INTO directory.corps (corp_id, last_change_number)"
            " SELECT 'ww' || number, 5 FROM generate_series(1, $1::int) AS number",
            CORPS,
        )
        yield connection


@pytest.fixture
async def many_corps(database_of_corps: Connection) -> Connection:
    """All of them indexed, up to their last change."""
    for corp_id in await search_index.list_corps_behind(database_of_corps, CORPS + 1):
        assert await catch_up(database_of_corps, corp_id)
    return database_of_corps


async def test_of_many_corps_only_those_that_changed_are_looked_at(many_corps: Connection) -> None:
    connection = many_corps
    assert await search_index.list_waiting_corps(connection, 100) == []
    assert await search_index.list_corps_behind(connection, 100) == []

    await corps.advance_change_number(connection, "ww7", 3)
    await corps.advance_change_number(connection, "ww7", 1)
    await corps.advance_change_number(connection, "ww1999", 1)

    assert sorted(await search_index.list_waiting_corps(connection, 100)) == ["ww1999", "ww7"]
    assert len(await search_index.list_waiting_corps(connection, 1)) == 1
    plan = await explain(connection, lambda c: search_index.list_waiting_corps(c, 100))
    assert "corps" not in plan, plan
    assert "search_progress" not in plan, plan


async def test_corp_that_is_indexed_waits_no_more(many_corps: Connection) -> None:
    connection = many_corps
    await corps.advance_change_number(connection, "ww7", 1)

    assert await catch_up(connection, "ww7")

    assert await search_index.list_waiting_corps(connection, 100) == []


async def test_corp_that_is_gone_does_not_wait(many_corps: Connection) -> None:
    connection = many_corps
    await corps.advance_change_number(connection, "ww9", 1)

    await corps.mark_deleted(connection, "ww9")

    assert await search_index.list_waiting_corps(connection, 100) == []


async def test_what_an_older_program_changed_is_found_by_the_whole_look(
    many_corps: Connection,
) -> None:
    await many_corps.execute(
        "UPDATE directory.corps SET last_change_number = 6 WHERE corp_id = 'ww8'"
    )

    assert await search_index.list_corps_behind(many_corps, 100) == ["ww8"]


async def test_members_who_were_indexed_by_an_earlier_program_are_indexed_anew(
    many_corps: Connection,
) -> None:
    """What they were found by and are no more goes; what is new comes."""
    connection = many_corps
    await connection.execute(
        """
        INSERT INTO directory.departments (corp_id, department_id, name, path, ancestor_ids)
        VALUES ('ww5', 1, 'Corp', '', '{1}');
        INSERT INTO directory.members
               (corp_id, user_id, name, department_id, biz_email, change_number)
        VALUES ('ww5', 'li', 'Li', 1, 'desk@work.example', 5);
        INSERT INTO directory.search_terms (corp_id, term, user_id)
        VALUES ('ww5', '0li', 'li'), ('ww5', '0l i', 'li');
        INSERT INTO directory.search_entries
               (corp_id, user_id, place, department_ids, body, terms, grams)
        VALUES ('ww5', 'li', 0, '{1}', 'li', '{0li,0l i}', '{}');
        UPDATE directory.search_progress SET form = form - 1 WHERE corp_id = 'ww5'
        """
    )

    behind = await search_index.list_corps_behind(connection, 100)
    is_whole = await catch_up(connection, "ww5")

    terms = await connection.fetch("SELECT term FROM directory.search_terms WHERE corp_id = 'ww5'")
    assert (behind, is_whole) == (["ww5"], True)
    assert {row["term"] for row in terms} == {
        "0li",
        "0desk@work.example" + MARKS["biz_email"],
    }
    assert await search_index.list_corps_behind(connection, 100) == []


async def test_what_a_call_changes_is_indexed_without_a_search(
    corp: Corp, directory_pool: Pool
) -> None:
    await corp.import_file(table(("li", "Li Na", "East")))

    async def is_indexed() -> bool:
        async with directory_pool.acquire() as connection:
            progress = await search_index.find_progress(connection, corp.corp_id)
            waiting = await search_index.list_waiting_corps(connection, 1000)
        return progress.indexed == progress.last and corp.corp_id not in waiting

    await eventually(is_indexed)
