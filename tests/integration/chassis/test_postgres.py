"""What PostgreSQL's errors mean to callers, by real statements that fail."""

import asyncio
import gc
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg
import pytest

from fakes.network import Network, network_to
from tieline.chassis import migrations
from tieline.chassis.driver_errors import describe_address
from tieline.chassis.errors import (
    AbortedError,
    AlreadyExistsError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnavailableError,
)
from tieline.chassis.health import Health
from tieline.chassis.postgres import (
    TCP_SETTINGS,
    Connection,
    Pool,
    create_pool,
    statements,
    transaction,
    wake_after_commit,
)


@pytest.fixture
async def accounts(empty_database: str, health: Health) -> AsyncIterator[Pool]:
    errors = {"accounts_email_key": lambda: AlreadyExistsError("EMAIL_TAKEN", "taken")}
    async with create_pool(
        empty_database, service="test", max_size=3, health=health, constraint_errors=errors
    ) as pool:
        async with pool.acquire() as connection:
            await connection.execute(
                """
                CREATE TABLE accounts (
                    n integer CONSTRAINT accounts_pkey PRIMARY KEY,
                    email text CONSTRAINT accounts_email_key UNIQUE
                );
                -- As a shard of the table is named by Citus.
                CREATE TABLE shard (email text CONSTRAINT accounts_email_key_102008 UNIQUE);
                INSERT INTO accounts VALUES (1, 'a'), (2, 'b');
                INSERT INTO shard VALUES ('a');
                """
            )
        yield pool


async def run(pool: Pool, sql: str) -> None:
    async with transaction(pool) as connection:
        await connection.execute(sql)


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("INSERT INTO accounts VALUES (3, 'a')", id="table"),
        pytest.param("INSERT INTO shard VALUES ('a')", id="shard"),
    ],
)
async def test_broken_constraint_is_the_error_that_the_service_gave_for_it(
    accounts: Pool, sql: str
) -> None:
    with pytest.raises(AlreadyExistsError) as raised:
        await run(accounts, sql)

    assert raised.value.reason == "EMAIL_TAKEN"


async def test_a_text_with_nul_is_the_callers_mistake(accounts: Pool) -> None:
    with pytest.raises(InvalidArgumentError):
        async with transaction(accounts) as connection:
            await connection.execute("INSERT INTO accounts VALUES (3, $1)", "a\x00b")


async def test_constraint_without_a_meaning_stays_a_fault(accounts: Pool) -> None:
    with pytest.raises(asyncpg.UniqueViolationError):
        await run(accounts, "INSERT INTO accounts VALUES (1, 'c')")


async def test_deadlock_aborts_one_transaction_and_lets_the_other_commit(accounts: Pool) -> None:
    both_hold_one = asyncio.Barrier(2)

    async def lock(first: int, second: int) -> None:
        async with transaction(accounts) as connection:
            await connection.execute("UPDATE accounts SET email = NULL WHERE n = $1", first)
            await both_hold_one.wait()
            await connection.execute("UPDATE accounts SET email = NULL WHERE n = $1", second)

    outcomes = await asyncio.gather(lock(1, 2), lock(2, 1), return_exceptions=True)

    (aborted,) = [outcome for outcome in outcomes if outcome is not None]
    assert isinstance(aborted, AbortedError)
    assert aborted.reason == "CONCURRENT_CHANGE"


async def test_full_disk_is_storage_full_with_a_retry_hint(accounts: Pool) -> None:
    with pytest.raises(ResourceExhaustedError) as raised:
        await run(accounts, "DO $$ BEGIN RAISE SQLSTATE '53100'; END $$")

    assert raised.value.reason == "STORAGE_FULL"
    assert raised.value.retry_after_s is not None


async def test_statement_that_takes_too_long_is_unavailable_and_leaves_the_service_ready(
    accounts: Pool, health: Health
) -> None:
    with pytest.raises(UnavailableError):
        await run(accounts, "SET LOCAL statement_timeout = '10ms'; SELECT pg_sleep(5)")

    assert health.is_ready


async def test_error_of_the_caller_passes_untouched_and_rolls_back(accounts: Pool) -> None:
    async def fail() -> None:
        async with transaction(accounts) as connection:
            await connection.execute("DELETE FROM accounts")
            raise TimeoutError("not the database's")

    with pytest.raises(TimeoutError, match="not the database's"):
        await fail()

    async with accounts.acquire() as connection:
        assert await connection.fetchval("SELECT count(*) FROM accounts") == 2


async def test_no_free_connection_is_unavailable(
    accounts: Pool, health: Health, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with accounts.acquire(), accounts.acquire(), accounts.acquire():
        # Not before: to open them may take longer.
        monkeypatch.setattr("tieline.chassis.postgres._ACQUIRE_TIMEOUT_S", 0.05)
        with pytest.raises(UnavailableError):
            await run(accounts, "SELECT 1")

    assert health.is_ready


@pytest.mark.parametrize(
    "dsn",
    [
        "host=db user=tieline password=hunter2 dbname=t",
        "tieline:hunter2@db/tieline",
        "postgresql://db/tieline password=hunter2",
        "postgresql://u:hunter2@db:x/tieline",
    ],
)
def test_an_address_that_is_described_shows_no_password(dsn: str) -> None:
    assert "hunter2" not in describe_address(dsn)


def test_an_address_is_described_by_host_port_and_database() -> None:
    address = describe_address("postgresql://u:hunter2@db.example/tieline")

    assert address == "db.example:5432/tieline"


@pytest.mark.parametrize("is_begun", [True, False], ids=["in the block", "at BEGIN"])
async def test_statement_without_an_answer_is_refused_in_time_and_the_next_one_is_answered(
    empty_database: str, health: Health, monkeypatch: pytest.MonkeyPatch, is_begun: bool
) -> None:
    monkeypatch.setattr("tieline.chassis.postgres._COMMAND_TIMEOUT_S", 2.0)
    port = urlsplit(empty_database).port
    assert port is not None

    async def ask(pool: Pool, network: Network) -> None:
        if not is_begun:
            network.swallow()
        async with transaction(pool) as connection:
            network.swallow()
            await connection.execute("SELECT 1")

    async with network_to(port) as network:
        dsn = empty_database.replace(f":{port}/", f":{network.port}/")
        async with create_pool(dsn, service="test", max_size=1, health=health) as pool:
            async with asyncio.timeout(3.5):  # not twice the time for a statement
                with pytest.raises(UnavailableError):
                    await ask(pool, network)

            # The network lets new connections through.
            await run(pool, "SELECT 1")


async def test_connection_that_falls_silent_when_its_work_is_done_fails_nobody(
    empty_database: str, health: Health, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tieline.chassis.postgres._ACQUIRE_TIMEOUT_S", 1.0)
    port = urlsplit(empty_database).port
    assert port is not None
    async with network_to(port) as network:
        dsn = empty_database.replace(f":{port}/", f":{network.port}/")
        async with create_pool(dsn, service="test", max_size=1, health=health) as pool:
            async with pool.acquire() as connection:
                one = await connection.fetchval("SELECT 1")
                network.swallow()

            assert one == 1
            await run(pool, "SELECT 1")


async def test_connection_that_is_being_returned_at_the_end_leaves_no_error(
    empty_database: str, health: Health, caplog: pytest.LogCaptureFixture
) -> None:
    port = urlsplit(empty_database).port
    assert port is not None

    async def borrow(pool: Pool, network: Network, has_done: asyncio.Event) -> None:
        async with pool.acquire() as connection:
            await connection.execute("SELECT 1")
            network.pause()
            has_done.set()

    async with network_to(port) as network:
        dsn = empty_database.replace(f":{port}/", f":{network.port}/")
        async with create_pool(dsn, service="test", max_size=1, health=health) as pool:
            has_done = asyncio.Event()
            borrower = asyncio.create_task(borrow(pool, network, has_done))
            await has_done.wait()
            borrower.cancel()
            await asyncio.wait([borrower])
            network.go_on()

    gc.collect()
    assert borrower.cancelled()
    assert [record.getMessage() for record in caplog.records] == []


@pytest.mark.parametrize("spares_reset", [False, True])
async def test_session_is_reset_unless_the_transaction_spares_it(
    empty_database: str, health: Health, spares_reset: bool
) -> None:
    async with create_pool(empty_database, service="test", max_size=1, health=health) as pool:
        async with transaction(pool, spares_reset=spares_reset) as connection:
            await connection.execute("SET application_name = 'changed'")

        async with pool.acquire() as connection:
            name = await connection.fetchval("SHOW application_name")

    assert name == ("changed" if spares_reset else "tieline-test")


@pytest.mark.parametrize("is_wait_for", [True, False], ids=["wait_for", "timeout"])
async def test_own_timeout_of_a_block_is_no_outage(
    accounts: Pool, health: Health, is_wait_for: bool
) -> None:
    async def sleep(connection: Connection) -> None:
        statement = connection.execute("SELECT pg_sleep(30)")
        if is_wait_for:
            await asyncio.wait_for(statement, 0.05)
        else:
            async with asyncio.timeout(0.05):
                await statement

    async def inside() -> None:
        async with transaction(accounts) as connection:
            await sleep(connection)

    async def outside() -> None:
        async with asyncio.timeout(0.05), transaction(accounts) as connection:
            await connection.execute("SELECT pg_sleep(30)")

    for act in (inside, outside):
        with pytest.raises(TimeoutError):
            await act()

    assert health.is_ready
    await run(accounts, "SELECT 1")


async def test_server_notices_soon_that_a_client_is_gone_whoever_connects(
    accounts: Pool, empty_database: str
) -> None:
    async def read_settings(connection: Connection) -> dict[str, str]:
        return {name: await connection.fetchval(f"SHOW {name}") for name in TCP_SETTINGS}

    async with accounts.acquire() as lent:
        of_pool = await read_settings(lent)
    async with accounts.connect() as own:
        of_lock_holder = await read_settings(own)
        idle_session_timeout = await own.fetchval("SHOW idle_session_timeout")
    async with migrations._connect(empty_database) as migrating:
        of_migrations = await read_settings(migrating)

    assert of_pool == of_lock_holder == of_migrations == dict(TCP_SETTINGS)
    assert idle_session_timeout == "30s"


async def test_a_connection_that_ends_alone_is_no_outage(
    empty_database: str, health: Health
) -> None:
    changes: list[frozenset[str]] = []
    async with create_pool(empty_database, service="test", max_size=3, health=health) as pool:
        health.listen(lambda: changes.append(health.down))
        async with pool.acquire() as administrator:
            with pytest.raises(UnavailableError):
                await _end_own_connection(pool, administrator)

            # Asked at once, on a new connection, and not at the next regular time.
            await pool.probe.wait()
            await pool.probe.ask()

    assert changes == []


async def _end_own_connection(pool: Pool, administrator: Connection) -> None:
    async with pool.connect() as connection:
        process_id = await connection.fetchval("SELECT pg_backend_pid()")
        await administrator.execute("SELECT pg_terminate_backend($1)", process_id)
        await connection.execute("SELECT 1")


async def test_relay_is_woken_behind_the_block_that_inserted_events_unless_it_fails(
    pool: Pool,
) -> None:
    woken: list[str] = []
    pool.listen_for_wakes("outbox", lambda: woken.append("outbox"))

    async with statements(pool) as connection:
        await connection.execute("SELECT 1")
        wake_after_commit("outbox")
        assert not woken
    assert woken == ["outbox"]
    with pytest.raises(asyncpg.DivisionByZeroError):
        await _wake_and_fail(pool)

    assert woken == ["outbox"]


async def _wake_and_fail(pool: Pool) -> None:
    async with statements(pool) as connection:
        wake_after_commit("outbox")
        await connection.execute("SELECT 1 / 0")
