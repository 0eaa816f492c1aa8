"""Work that comes again and again, whatever becomes of one turn."""

import asyncio
import logging

import pytest

from tieline.chassis.errors import UnavailableError
from tieline.chassis.repeating import repeating


class Work:
    """Fails in its first turns as it is told to, and tells when a later one came."""

    def __init__(self, *failures: Exception) -> None:
        self._failures = list(failures)
        self.came_again = asyncio.Event()

    async def __call__(self) -> None:
        if self._failures:
            raise self._failures.pop(0)
        self.came_again.set()


async def test_a_turn_that_fails_is_not_the_last_one(caplog: pytest.LogCaptureFixture) -> None:
    away = UnavailableError("DATABASE_UNAVAILABLE", "the database can't be reached")
    work = Work(away, ValueError("a fault"))

    with caplog.at_level(logging.INFO):
        async with repeating("the purge", work, interval_s=0.001), asyncio.timeout(10):
            await work.came_again.wait()

    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "the purge is put off for 0.001 s: the database can't be reached"),
        ("ERROR", "the purge failed and comes again in 0.001 s"),
    ]


async def test_the_first_turn_need_not_wait_for_the_interval() -> None:
    work = Work()

    async with repeating("the purge", work, interval_s=3600.0, at_once=True), asyncio.timeout(10):
        await work.came_again.wait()


async def test_the_work_ends_with_the_block() -> None:
    async with repeating("the purge", Work(), interval_s=3600.0):
        assert "the purge" in names_of_tasks()

    assert "the purge" not in names_of_tasks()


def names_of_tasks() -> set[str]:
    # Of this loop, on which services of other tests run as well.
    return {task.get_name() for task in asyncio.all_tasks()}
