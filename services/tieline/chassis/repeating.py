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
) -> AsyncIterator[None]:
    """Do the work with ``interval_s`` between two turns until the block is left.

    The first turn comes after the interval, or ``at_once``, where intervals are longer than some
    replicas live. A turn that fails is logged, and the next one comes all the same: a fault must
    not end the work for the life of the process.
    """
    task = asyncio.create_task(_repeat(name, work, interval_s, at_once=at_once), name=name)
    try:
        yield
    finally:
        await end_task(task)


async def _repeat(
    name: str, work: Callable[[], Awaitable[object]], interval_s: float, *, at_once: bool
) -> None:
    if not at_once:
        await asyncio.sleep(interval_s)
    while True:
        try:
            await work()
        except ServiceError as error:
            # What is away is told by health; here it is only put off.
            logger.info("%s is put off for %g s: %s", name, interval_s, error.text)
        except Exception:
            logger.exception("%s failed and comes again in %g s", name, interval_s)
        await asyncio.sleep(interval_s)
