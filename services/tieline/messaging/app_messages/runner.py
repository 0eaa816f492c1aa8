"""Works on apps' jobs in the background, beside what people send.

Every replica takes one job at a time, the one whose turn was longest ago, does one piece of it and
looks again: no job waits for the end of another one, however large that is. It works for at most
half of the time, on a connection of its own, and not at all while the replica refuses what can
wait.
"""

import asyncio
import datetime as dt
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from tieline.chassis.errors import ServiceError
from tieline.chassis.postgres import Pool, transaction
from tieline.chassis.repeating import repeating
from tieline.messaging.app_messages.rules import Job
from tieline.messaging.app_messages.turns import Turns
from tieline.messaging.repositories.app_messages import AppMessageRepository

# A replica hears at once of a job that began at itself; of others', and of lost ones, like this.
INTERVAL_S = 1.0

# What a turn does is one transaction after the other.
JOB_CONNECTIONS = 1

# Far above a turn's time; as long does a job wait whose replica ended.
LEASE = dt.timedelta(seconds=30)

# What a turn met that may pass: directory, identity or the database is away or busy.
_PASSING_DELAY = dt.timedelta(seconds=5)

# A fault of ours meets the next turn too.
_FAULT_DELAY = dt.timedelta(minutes=1)

_GIVE_BACK_TIMEOUT_S = 3.0

logger = logging.getLogger(__name__)


class AppMessageRunner:
    """Takes jobs in turns."""

    def __init__(self, pool: Pool, turns: Turns, has_room: Callable[[], bool]) -> None:
        self._pool = pool
        self._turns = turns
        self._has_room = has_room
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Look for jobs at once."""
        self._wake.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Work on jobs within the block."""
        async with repeating(
            "the sending of apps' messages", self.work, interval_s=INTERVAL_S, wake=self._wake
        ):
            yield

    async def work(self) -> None:
        """Take turns until nothing is left to do."""
        while self._has_room():
            async with transaction(self._pool) as connection:
                job = await AppMessageRepository(connection).claim(lease=LEASE)
            if job is None:
                return
            began = time.monotonic()
            await self._take_turn(job)
            # As long as it worked: the other half of the time is for what people send.
            await asyncio.sleep(time.monotonic() - began)

    async def _take_turn(self, job: Job) -> None:
        delay = dt.timedelta()
        try:
            await self._turns.take(job)
        except asyncio.CancelledError:
            await self._give_back(job)
            raise
        except ServiceError as error:
            logger.info("job %s of app %s is put off: %s", job.job_id, job.app_id, error)
            delay = _PASSING_DELAY
        except Exception:
            logger.exception("a turn of job %s of app %s failed", job.job_id, job.app_id)
            delay = _FAULT_DELAY
        await self._put_off(job, delay)

    async def _put_off(self, job: Job, delay: dt.timedelta) -> None:
        async with self._pool.acquire() as connection:
            await AppMessageRepository(connection).put_off(job.key, delay)

    async def _give_back(self, job: Job) -> None:
        try:
            async with asyncio.timeout(_GIVE_BACK_TIMEOUT_S):
                await self._put_off(job, dt.timedelta())
        except (ServiceError, TimeoutError):
            logger.warning("job %s could not be given back; its lease ends", job.job_id)
