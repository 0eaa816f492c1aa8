"""Deletes what is kept of corps that are gone once the law does not ask for it any more."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tieline.chassis.postgres import Pool, transaction
from tieline.chassis.repeating import repeating
from tieline.payments.repositories.deleted_corps import (
    delete_rows,
    lock_corp_to_purge,
    mark_purged,
)

# What is kept for years may stay an hour longer.
_PURGE_INTERVAL_S = 3600.0

# About 50 ms of PostgreSQL's time.
_PURGE_ROWS = 5000

logger = logging.getLogger(__name__)


@asynccontextmanager
async def purging_corps(pool: Pool, *, keep_days: int) -> AsyncIterator[None]:
    """Delete the rows of corps that are gone for longer, now and then, within the block.

    Every replica does; they keep out of each other's way.
    """

    async def purge_all() -> None:
        while await purge(pool, keep_days=keep_days, maximum_rows=_PURGE_ROWS):
            pass

    async with repeating(
        "the purge of deleted corps", purge_all, interval_s=_PURGE_INTERVAL_S, at_once=True
    ):
        yield


async def purge(pool: Pool, *, keep_days: int, maximum_rows: int) -> bool:
    """Delete so many rows of one corp at most; tell whether there was such a corp."""
    async with transaction(pool) as connection:
        corp_id = await lock_corp_to_purge(connection, keep_days=keep_days)
        if corp_id is None:
            return False
        deleted = await delete_rows(
            connection, corp_id, keep_days=keep_days, maximum_rows=maximum_rows
        )
        if deleted < maximum_rows:
            await mark_purged(connection, corp_id)
            logger.info("nothing is left of corp %s", corp_id)
        return True
