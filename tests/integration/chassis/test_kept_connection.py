"""A connection that stays borrowed, against real ones: when it is kept and when it goes back."""

from collections.abc import AsyncIterator
from contextlib import suppress

import asyncpg
import pytest

from tieline.chassis.errors import AlreadyExistsError, UnavailableError
from tieline.chassis.health import Health
from tieline.chassis.postgres import KeptConnection, Pool, create_pool, statements, transaction


@pytest.fixture
async def small_pool(empty_database: str, health: Health) -> AsyncIterator[Pool]:
    errors = {"numbers_pkey": lambda: AlreadyExistsError("TAKEN", "taken")}
    async with create_pool(
        empty_database, service="test", max_size=2, health=health, constraint_errors=errors
    ) as pool:
        async with pool.acquire() as connection:
            await connection.execute(
                "CREATE TABLE numbers (n integer CONSTRAINT numbers_pkey PRIMARY KEY)"
            )
        yield pool


async def ask_process_id(kept: KeptConnection, *, spares_reset: bool = True) -> int:
    async with statements(kept, spares_reset=spares_reset) as connection:
        return int(await connection.fetchval("SELECT pg_backend_pid()"))


async def test_stays_borrowed_from_one_use_to_the_next_until_it_is_given_back(
    small_pool: Pool,
) -> None:
    kept = small_pool.keep()
    assert small_pool.used == 0

    process_ids = [await ask_process_id(kept) for _ in range(3)]

    assert len(set(process_ids)) == 1
    assert small_pool.used == 1
    await kept.give_back()
    assert small_pool.used == 0
    await kept.give_back()


async def test_goes_back_and_is_reset_where_the_reset_is_not_spared(small_pool: Pool) -> None:
    kept = small_pool.keep()

    async with transaction(kept) as connection:
        await connection.execute("SET application_name = 'changed'")

    assert small_pool.used == 0
    async with kept.acquire() as connection:
        assert await connection.fetchval("SHOW application_name") == "tieline-test"


async def test_goes_back_while_all_are_lent(small_pool: Pool) -> None:
    """Or whoever waits for one would wait for as long as nobody uses it."""
    kept = small_pool.keep()
    await ask_process_id(kept)

    async with small_pool.acquire():
        await ask_process_id(kept)

        assert small_pool.used == 1
        async with small_pool.acquire() as connection:
            assert await connection.fetchval("SELECT 1") == 1


async def test_statement_that_fails_has_its_meaning_and_ends_the_keeping(small_pool: Pool) -> None:
    kept = small_pool.keep()

    for error, sql in (
        (AlreadyExistsError, "INSERT INTO numbers VALUES (1), (1)"),
        (asyncpg.DivisionByZeroError, "SELECT 1 / 0"),
    ):
        with pytest.raises(error):
            async with transaction(kept, spares_reset=True) as connection:
                await connection.execute(sql)
        assert small_pool.used == 0

    async with transaction(kept, spares_reset=True) as connection:
        assert await connection.fetchval("SELECT count(*) FROM numbers") == 0


async def test_one_that_the_server_ended_is_replaced(small_pool: Pool, health: Health) -> None:
    kept = small_pool.keep()
    ended = await ask_process_id(kept)
    async with small_pool.acquire() as administrator:
        await administrator.execute("SELECT pg_terminate_backend($1, 5000)", ended)

    # Whether its end has arrived here is chance: otherwise the first use finds out.
    with suppress(UnavailableError):
        await ask_process_id(kept)

    assert await ask_process_id(kept) != ended
    assert health.is_ready
