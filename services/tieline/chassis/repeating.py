"""Work that a replica does again and again beside its calls: purges, upkeep, indexes."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from tieline.chassis.errors import ServiceError
from tieline.chassis.tasks import end_task

logger = logging.getLogger(__name__)


@asynccontextmanager
async def repeating(
    name: str,
    work: Callable[[], Awaitable[object]],
    *,
    interval_s: float,
    at_once: bool = False,
    wake: asyncio.Event | None = None,
) -> AsyncIterator[None]:
    """Do the work with ``interval_s`` between two turns until the block is left.

    The first turn comes after the interval, or ``at_once``, where intervals are longer than some
    replicas live. A turn that fails is logged, and the next one comes all the same: a fault must
    not end the work for the life of the process. ``wake`` brings the next turn at once when it is
    set, and is cleared before that begins.
    """
    pause = _Pause(interval_s, wake or asyncio.Event())
    task = asyncio.create_task(_repeat(name, work, pause, at_once=at_once), name=name)
    try:
        yield
    finally:
        await end_task(task)


class _Pause:
    """The time between two turns."""

    def __init__(self, interval_s: float, wake: asyncio.Event) -> None:
        self.interval_s = interval_s
        self._wake = wake

    async def take(self) -> None:
        try:
            async with asyncio.timeout(self.interval_s):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()


async def _repeat(
    name: str, work: Callable[[], Awaitable[object]], pause: _Pause, *, at_once: bool
) -> None:
    if not at_once:
        await pause.take()
    while True:
        try:
            await work()
        except ServiceError as error:
            # What is away is told by health; here it is only put off.
            logger.info("%s is put off for %g s: %s", name, pause.interval_s, error.text)
        except Exception:
            logger.exception("%s failed and comes again in %g s", name, pause.interval_s)
        await pause.take()
