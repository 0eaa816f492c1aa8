"""Migrations against PostgreSQL, of a service that exists only here."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from fakes.eventually import eventually
from tieline.chassis.migration_files import MigrationError
from tieline.chassis.migrations import check_schema, migrate, pending

MakeDatabase = Callable[[], Awaitable[str]]

LEDGER = "ledger"

ACCOUNTS = "CREATE TABLE ledger.accounts (corp_id text PRIMARY KEY);\n"
INDEX = (
    "-- no-transaction\n"
    "DROP INDEX CONCURRENTLY IF EXISTS ledger.accounts_by_corp;\n"
    "CREATE {} INDEX CONCURRENTLY accounts_by_corp ON ledger.accounts (left(corp_id, 1));\n"
)


class Ledger:
    """The migrations folder of the service, which each test fills."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, sql: str) -> None:
        (self.folder / name).write_text(sql)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    folder = tmp_path / "tieline" / LEDGER / "migrations"
    folder.mkdir(parents=True)
    # One more root of the tieline namespace, for as long as the test runs.
    sys.path.append(str(tmp_path))
    yield Ledger(folder)
    sys.path.remove(str(tmp_path))
    for name in [name for name in sys.modules if name.startswith("tieline.ledger")]:
        del sys.modules[name]


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def query(dsn: str, sql: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch(sql)
    finally:
        await connection.close()


async def test_migrating_twice_applies_everything_once(ledger: Ledger, empty_database: str) -> None:
    ledger.write("0001_accounts.sql", ACCOUNTS)
    reported: list[str] = []

    first = await migrate(empty_database, [LEDGER], report=reported.append)
    second = await migrate(empty_database, [LEDGER])

    assert first == reported
    assert first[0] == "ledger/chassis/0001"
    assert first[-1] == "ledger/0001"
    assert second == []
    assert await pending(empty_database, [LEDGER]) == []


async def test_runners_at_the_same_time_migrate_once(ledger: Ledger, empty_database: str) -> None:
    ledger.write("0001_accounts.sql", ACCOUNTS)
    ledger.write("0002_index.sql", INDEX.format(""))

    applied = await asyncio.gather(*(migrate(empty_database, [LEDGER]) for _ in range(4)))

    assert sorted(len(names) for names in applied)[:3] == [0, 0, 0]
    assert sorted(names[-1] for names in applied if names) == ["ledger/0002"]


async def test_runners_of_two_databases_of_one_cluster_do_not_disturb_each_other(
    ledger: Ledger, make_database: MakeDatabase
) -> None:
    # A service whose role no other test has made.
    (ledger.folder.parents[1] / "ledger_race").mkdir()
    databases = [await make_database() for _ in range(4)]

    applied = await asyncio.gather(*(migrate(dsn, ["ledger_race"]) for dsn in databases))

    assert [names[0] for names in applied] == ["ledger_race/chassis/0001"] * 4


async def test_pending_names_what_migrate_will_apply(ledger: Ledger, empty_database: str) -> None:
    ledger.write("0001_accounts.sql", ACCOUNTS)

    before = await pending(empty_database, [LEDGER])
    applied = await migrate(empty_database, [LEDGER])

    assert before == applied


async def test_failed_migration_leaves_nothing_and_is_applied_when_corrected(
    ledger: Ledger, empty_database: str
) -> None:
    ledger.write("0001_accounts.sql", ACCOUNTS + "SELECT 1 / 0;\n")
    with pytest.raises(MigrationError) as raised:
        await migrate(empty_database, [LEDGER])
    ledger.write("0001_accounts.sql", ACCOUNTS)

    applied = await migrate(empty_database, [LEDGER])

    assert "0001_accounts.sql" in raised.value.text
    assert "division by zero" in raised.value.text
    assert "\n" not in raised.value.text
    assert applied == ["ledger/0001"]


async def test_edited_file_stops_with_its_name(ledger: Ledger, empty_database: str) -> None:
    ledger.write("0001_accounts.sql", ACCOUNTS)
    await migrate(empty_database, [LEDGER])
    ledger.write("0001_accounts.sql", ACCOUNTS + "-- an afterthought\n")

    with pytest.raises(MigrationError, match=r"ledger/0001 \(0001_accounts.sql\) was edited"):
        await migrate(empty_database, [LEDGER])


async def test_older_code_leaves_alone_what_newer_code_expanded(
    ledger: Ledger, empty_database: str
) -> None:
    ledger.write("0001_accounts.sql", ACCOUNTS)
    ledger.write("0002_more.sql", "SELECT 1;\n")
    await migrate(empty_database, [LEDGER])
    (ledger.folder / "0002_more.sql").unlink()

    assert await migrate(empty_database, [LEDGER]) == []
    assert await pending(empty_database, [LEDGER], contract=True) == []


async def test_database_that_newer_code_contracted_stops_older_code(
    ledger: Ledger, empty_database: str
) -> None:
    ledger.write("0001_accounts.sql", ACCOUNTS)
    ledger.write("0002_contract_less.sql", "SELECT 1;\n")
    await migrate(empty_database, [LEDGER])
    (ledger.folder / "0002_contract_less.sql").unlink()

    with pytest.raises(MigrationError, match=r"newer than this code: 0002_contract_less.sql"):
        await migrate(empty_database, [LEDGER])


async def test_what_contracts_waits_until_it_is_asked_for_and_what_follows_it_does_not(
    ledger: Ledger, empty_database: str
) -> None:
    ledger.write("0001_accounts.sql", ACCOUNTS)
    await migrate(empty_database, [LEDGER])
    ledger.write(
        "0002_contract_key.sql", "ALTER TABLE ledger.accounts DROP CONSTRAINT accounts_pkey;"
    )
    ledger.write("0003_names.sql", "ALTER TABLE ledger.accounts ADD COLUMN name text;")

    expanded = await migrate(empty_database, [LEDGER])
    async with connected(empty_database) as connection:
        await check_schema(connection, LEDGER)
    waiting = await pending(empty_database, [LEDGER], contract=True)
    contracted = await migrate(empty_database, [LEDGER], contract=True)

    assert expanded == ["ledger/0003"]
    assert waiting == contracted == ["ledger/0002"]
    assert await migrate(empty_database, [LEDGER], contract=True) == []


async def test_new_schema_gets_what_contracts_at_once(ledger: Ledger, empty_database: str) -> None:
    ledger.write("0001_accounts.sql", ACCOUNTS)
    ledger.write(
        "0002_contract_key.sql", "ALTER TABLE ledger.accounts DROP CONSTRAINT accounts_pkey;"
    )

    assert (await migrate(empty_database, [LEDGER]))[-1] == "ledger/0002"


async def test_gap_between_files_stops_before_anything_is_applied(
    ledger: Ledger, empty_database: str
) -> None:
    ledger.write("0001_accounts.sql", ACCOUNTS)
    ledger.write("0003_more.sql", "SELECT 1;\n")

    with pytest.raises(MigrationError, match=r"0003_more.sql is out of order: expected 0002"):
        await migrate(empty_database, [LEDGER])


async def list_indexes(dsn: str) -> dict[str, bool]:
    """Return which indexes of the service there are, and whether each is valid."""
    rows = await query(
        dsn,
        "SELECT relname, indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid"
        " WHERE relnamespace = 'ledger'::regnamespace AND relname LIKE 'accounts%'",
    )
    return {row["relname"]: row["indisvalid"] for row in rows}


async def find_waiting(dsn: str, least_wait: str) -> int | None:
    """Return the process that has built an index, and waited for others' locks, for so long."""
    rows = await query(
        dsn,
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'tieline-migrate'"
        " AND query LIKE '%CREATE%' AND wait_event_type = 'Lock'"
        f" AND clock_timestamp() - query_start > interval '{least_wait}'",
    )
    return rows[0]["pid"] if rows else None


async def test_index_whose_building_was_killed_is_built_anew_by_the_next_run(
    ledger: Ledger, empty_database: str
) -> None:
    """What the killed run leaves is an invalid index, and nobody has to say --rerun."""
    ledger.write("0001_accounts.sql", ACCOUNTS)
    await migrate(empty_database, [LEDGER])
    ledger.write("0002_index.sql", INDEX.format(""))
    async with connected(empty_database) as writer, writer.transaction():
        await writer.execute("INSERT INTO ledger.accounts VALUES ('a')")
        running = asyncio.create_task(migrate(empty_database, [LEDGER]))
        await eventually(lambda: find_waiting(empty_database, "0 s"))
        pid = await find_waiting(empty_database, "0 s")
        await query(empty_database, f"SELECT pg_terminate_backend({pid})")
        with pytest.raises(MigrationError, match="run `tieline migrate` again"):
            await running
    left = await list_indexes(empty_database)

    waiting = await pending(empty_database, [LEDGER])
    applied = await migrate(empty_database, [LEDGER])

    assert left["accounts_by_corp"] is False
    assert waiting == applied == ["ledger/0002"]
    assert (await list_indexes(empty_database))["accounts_by_corp"] is True
    assert await migrate(empty_database, [LEDGER]) == []


async def test_building_an_index_waits_for_older_transactions_as_long_as_they_take(
    ledger: Ledger, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound on waits for locks is for what others stand behind."""
    monkeypatch.setattr("tieline.chassis.migrations._LOCK_TIMEOUT", "100ms")
    ledger.write("0001_accounts.sql", ACCOUNTS)
    ledger.write("0002_rows.sql", "INSERT INTO ledger.accounts VALUES ('a');\n")
    await migrate(empty_database, [LEDGER])
    ledger.write("0003_index.sql", INDEX.format(""))
    async with connected(empty_database) as writer, writer.transaction():
        await writer.execute("UPDATE ledger.accounts SET corp_id = 'b'")
        running = asyncio.create_task(migrate(empty_database, [LEDGER]))
        await eventually(lambda: find_waiting(empty_database, "300 ms"))

    assert await running == ["ledger/0003"]


async def test_half_applied_migration_asks_for_rerun_and_finishes_with_it(
    ledger: Ledger, empty_database: str
) -> None:
    ledger.write("0001_accounts.sql", ACCOUNTS)
    ledger.write("0002_rows.sql", "INSERT INTO ledger.accounts VALUES ('a1'), ('a2');\n")
    # Both begin with "a". It is not known to be repeatable: an analysis is no index.
    ledger.write("0003_index.sql", INDEX.format("UNIQUE") + "ANALYZE ledger.accounts;\n")
    with pytest.raises(MigrationError, match=r"--rerun ledger/0003"):
        await migrate(empty_database, [LEDGER])

    with pytest.raises(MigrationError, match=r"stopped halfway; .*--rerun ledger/0003"):
        await migrate(empty_database, [LEDGER])
    await query(empty_database, "DELETE FROM ledger.accounts WHERE corp_id = 'a2'")
    applied = await migrate(empty_database, [LEDGER], rerun="ledger/0003")

    assert applied == ["ledger/0003"]
    assert await migrate(empty_database, [LEDGER]) == []


async def test_service_refuses_an_older_schema_and_accepts_an_expanded_one(
    ledger: Ledger, empty_database: str
) -> None:
    ledger.write("0001_accounts.sql", ACCOUNTS)
    await migrate(empty_database, [LEDGER])
    async with connected(empty_database) as connection:
        await check_schema(connection, LEDGER)

        ledger.write("0002_more.sql", "SELECT 1;\n")
        with pytest.raises(MigrationError) as raised:
            await check_schema(connection, LEDGER)
        await migrate(empty_database, [LEDGER])
        (ledger.folder / "0002_more.sql").unlink()
        await check_schema(connection, LEDGER)

    assert raised.value.text == (
        "schema ledger lacks the migration ledger/0002 (0002_more.sql): run `tieline migrate`"
    )


async def test_service_refuses_a_schema_that_newer_code_began_to_contract(
    ledger: Ledger, empty_database: str
) -> None:
    ledger.write("0001_accounts.sql", ACCOUNTS)
    # The second statement fails: the first one has taken its effect.
    ledger.write(
        "0002_contract_key.sql",
        "-- no-transaction\nDROP TABLE ledger.accounts;\nSELECT 1 / 0;\n",
    )
    with pytest.raises(MigrationError, match="division by zero"):
        await migrate(empty_database, [LEDGER])
    (ledger.folder / "0002_contract_key.sql").unlink()

    async with connected(empty_database) as connection:
        with pytest.raises(MigrationError, match=r"0002_contract_key.sql took away what this"):
            await check_schema(connection, LEDGER)


async def test_role_reads_and_writes_its_schema_and_nothing_else(
    ledger: Ledger, empty_database: str
) -> None:
    ledger.write("0001_accounts.sql", ACCOUNTS)
    await migrate(empty_database, [LEDGER, "identity"])
    connection = await asyncpg.connect(empty_database)
    try:
        await connection.execute("SET ROLE tieline_ledger")

        await connection.execute("INSERT INTO ledger.accounts VALUES ('a')")
        await connection.fetch("SELECT version FROM ledger.schema_migrations")
        for forbidden in (
            "DELETE FROM ledger.schema_migrations",
            "CREATE TABLE ledger.mine (n integer)",
            "DROP TABLE ledger.accounts",
            "TRUNCATE ledger.accounts",
            "SELECT corp_id FROM identity.outbox",
            "CREATE TABLE public.mine (n integer)",
            "CREATE TEMPORARY TABLE mine (n integer)",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(forbidden)
    finally:
        await connection.close()


async def test_server_that_is_away_is_one_line_without_the_password() -> None:
    with pytest.raises(MigrationError) as raised:
        await migrate("postgresql://admin:secret-password@127.0.0.1:1/tieline", ["identity"])

    assert "127.0.0.1:1" in raised.value.text
    assert "secret-password" not in raised.value.text
    assert "\n" not in raised.value.text
