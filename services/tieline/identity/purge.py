"""Deletes what no request can ask for any more: used assertions, ended sessions and secrets.

Every replica does; they keep out of each other's way.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from tieline.chassis.errors import ServiceError
from tieline.chassis.postgres import Pool, transaction
from tieline.identity.app_tokens import FAILURE_WINDOW
from tieline.identity.repositories import app_token_failures, apps, customers, sessions

# Ten thousand customers signing in a second make 600,000 assertions a minute: 120 batches.
_INTERVAL_S = 60.0
_BATCH_ROWS = 5000

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
    deletions = (
        customers.delete_expired_assertions,
        sessions.delete_over,
        apps.delete_expired_secrets,
        partial(app_token_failures.delete_over, window=FAILURE_WINDOW),
    )
    for delete in deletions:
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
