"""Batches against PostgreSQL: bad rows and lost connections."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from fakes.eventually import eventually
from tieline.chassis.commit_batch import CommitBatcher
from tieline.chassis.errors import AbortedError, ServiceError, UnavailableError
from tieline.chassis.postgres import Connection, Pool, transaction


@pytest.fixture
async def numbers(pool: Pool) -> AsyncIterator[Pool]:
    """A table that takes numbers from 0 to 99, each once."""
    async with pool.acquire() as connection:
        await connection.execute(
            "CREATE TABLE public.numbers (n integer PRIMARY KEY CHECK (n BETWEEN 0 AND 99))"
        )
    yield pool
    async with pool.acquire() as connection:
        await connection.execute("DROP TABLE public.numbers")


async def insert(connection: Connection, items: Sequence[int]) -> list[int | ServiceError]:
    await connection.execute("INSERT INTO public.numbers SELECT unnest($1::int[])", list(items))
    return list(items)


async def stored(pool: Pool) -> list[int]:
    async with pool.acquire() as connection:
        rows = await connection.fetch("SELECT n FROM public.numbers ORDER BY n")
    return [row["n"] for row in rows]


async def test_rows_that_the_database_refuses_fail_alone(numbers: Pool) -> None:
    async with CommitBatcher(numbers, insert) as batches:
        outcomes = await asyncio.gather(
            *(batches.submit(n) for n in (1, 2, 100, 3, 2, 4)), return_exceptions=True
        )

    assert [isinstance(outcome, Exception) for outcome in outcomes] == [
        False,
        False,
        True,
        False,
        True,
        False,
    ]
    assert await stored(numbers) == [1, 2, 3, 4]


async def test_connection_that_dies_in_a_batch_fails_it_and_stores_nothing_of_it(
    numbers: Pool,
) -> None:
    process_ids: list[int] = []

    async def insert_then_wait(
        connection: Connection, items: Sequence[int]
    ) -> list[int | ServiceError]:
        outcomes = await insert(connection, items)
        if 1 in items:
            process_ids.append(await connection.fetchval("SELECT pg_backend_pid()"))
            await connection.execute("SELECT pg_sleep(30)")
        return outcomes

    async with CommitBatcher(numbers, insert_then_wait) as batches:
        waiting = [asyncio.create_task(batches.submit(n)) for n in (1, 2)]
        await eventually(lambda: process_ids)
        async with numbers.acquire() as connection:
            await connection.execute("SELECT pg_terminate_backend($1)", process_ids[0])
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        after = await batches.submit(3)

    assert [type(outcome) for outcome in outcomes] == [UnavailableError] * 2
    assert after == 3
    assert await stored(numbers) == [3]


async def test_every_acknowledged_item_is_stored(numbers: Pool) -> None:
    async with CommitBatcher(numbers, insert, max_batch=7, lanes=3, lane_of=str) as batches:
        outcomes = await asyncio.gather(*(batches.submit(n) for n in range(100)))

    assert outcomes == list(range(100))
    assert await stored(numbers) == list(range(100))


async def test_held_lock_fails_the_batch_once_and_not_each_item_for_itself(numbers: Pool) -> None:
    tried: list[int] = []

    async def insert_soon(connection: Connection, items: Sequence[int]) -> list[int | ServiceError]:
        tried.append(len(items))
        await connection.execute("SET LOCAL lock_timeout = '50ms'")
        return await insert(connection, items)

    async with CommitBatcher(numbers, insert_soon) as batches:
        async with transaction(numbers) as holder:
            await holder.execute("LOCK TABLE public.numbers")
            outcomes = await asyncio.gather(
                *(batches.submit(n) for n in range(5)), return_exceptions=True
            )
        after = await batches.submit(9)

    assert [type(outcome) for outcome in outcomes] == [AbortedError] * 5
    assert tried == [5, 1]
    assert after == 9
