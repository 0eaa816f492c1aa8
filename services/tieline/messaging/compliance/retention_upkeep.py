"""Removes messages that their corps no longer keep, a month's part at a time.

Every replica tries; the database lets one do it.
"""

import datetime as dt
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tieline.chassis.postgres import Pool, transaction
from tieline.chassis.repeating import repeating
from tieline.messaging.repositories.retention import RetentionRepository

# Parts become due once a month, policies a day after they were set.
_INTERVAL_S = 3600.0
_BATCH_ROWS = 1000

# Each with what was said about a month of messages.
_BATCH_CONVERSATIONS = 100

logger = logging.getLogger(__name__)


@asynccontextmanager
async def applying_retention(pool: Pool) -> AsyncIterator[None]:
    """Do it now and then within the block."""

    # What an earlier replica may have left is looked for once.
    may_be_left = True

    async def work() -> None:
        nonlocal may_be_left
        may_be_left = bool(await apply_retention(pool)) or may_be_left
        if may_be_left:
            await forget_terms(pool)
            may_be_left = False
        await forget_details(pool)
        await remove_released(pool)
        await forget_unread_media(pool)

    async with repeating("the removal of messages", work, interval_s=_INTERVAL_S):
        yield


async def apply_retention(pool: Pool, *, at: dt.datetime | None = None) -> int:
    """Remove what is due; return how many messages that were. Each part is a transaction."""
    removed = 0
    while True:
        # Not one of the pool's: those end a statement after 20 s.
        async with pool.connect() as connection, connection.transaction():
            done = await RetentionRepository(connection).apply_retention(at)
        if done is None:
            return removed
        removed += done["removed"]
        logger.info(
            "removed %d messages sent before %s; %d of them are held",
            done["removed"],
            done["part_end"].date(),
            done["held"],
        )


async def forget_terms(pool: Pool) -> int:
    """Forget by what messages that are gone were found; return how many rows that were."""
    forgotten = 0
    while True:
        async with transaction(pool) as connection:
            count = await RetentionRepository(connection).delete_search_rows(
                maximum_rows=_BATCH_ROWS
            )
        forgotten += count
        if count < _BATCH_ROWS:
            return forgotten


async def forget_details(pool: Pool) -> int:
    """Forget reactions, pins, answers and flags of messages that are gone.

    Returns of how many conversations.
    """
    forgotten = 0
    while True:
        async with transaction(pool) as connection:
            count = await RetentionRepository(connection).delete_details(
                maximum_conversations=_BATCH_CONVERSATIONS
            )
        forgotten += count
        if count < _BATCH_CONVERSATIONS:
            return forgotten


async def remove_released(pool: Pool) -> int:
    """Remove messages that were held and are no longer; return how many."""
    removed = 0
    while True:
        async with transaction(pool) as connection:
            count = await RetentionRepository(connection).delete_released(maximum_rows=_BATCH_ROWS)
        removed += count
        if count < _BATCH_ROWS:
            return removed


async def forget_unread_media(pool: Pool) -> int:
    """Let go of what recalled messages that no hold is on referred to; return how many uses."""
    forgotten = 0
    while True:
        async with transaction(pool) as connection:
            count = await RetentionRepository(connection).delete_unread_references(
                maximum_rows=_BATCH_ROWS
            )
        forgotten += count
        if count < _BATCH_ROWS:
            return forgotten
