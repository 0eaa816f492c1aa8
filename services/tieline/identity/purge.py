"""Deletes what no request can ask for any more: used assertions, sessions that are over, old codes.

Every replica does; they keep out of each other's way.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tieline.chassis.errors import ServiceError
from tieline.chassis.postgres import Pool, transaction
from tieline.identity.repositories import (
    customers,
    one_time_codes,
    providers,
    qr_sign_ins,
    sessions,
    tallies,
)

# Ten thousand customers signing in a second make 600,000 assertions a minute: 120 batches.
_INTERVAL_S = 60.0
_BATCH_ROWS = 5000

_DELETIONS = (
    customers.delete_expired_assertions,
    sessions.delete_over,
    one_time_codes.delete_ended,
    providers.delete_ended_flows,
    qr_sign_ins.delete_ended,
    tallies.delete_decayed,
    tallies.delete_forgotten_addresses,
)

logger = logging.getLogger(__name__)


@asynccontextmanager
async def purging(pool: Pool) -> AsyncIterator[None]:
    """Purge now and then within the block."""
    task = asyncio.create_task(_purge_forever(pool), name="identity-purge")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def purge(pool: Pool) -> None:
    """Delete everything that is over, in transactions of bounded size."""
    for delete in _DELETIONS:
        while True:
            async with transaction(pool) as connection:
                deleted = await delete(connection, maximum_rows=_BATCH_ROWS)
            if deleted < _BATCH_ROWS:
                break


async def _purge_forever(pool: Pool) -> None:
    while True:
        await asyncio.sleep(_INTERVAL_S)
        try:
            await purge(pool)
        except ServiceError as error:
            logger.warning("the purge failed and is tried again in a minute: %s", error)
        except Exception:
            # A fault here must not end the purging for the life of the process.
            logger.exception("the purge failed and is tried again in a minute")
