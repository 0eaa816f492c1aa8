"""Deletes what is kept of corps that are gone, some thousand rows at a time."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tieline.chassis.postgres import Pool, transaction
from tieline.chassis.repeating import repeating
from tieline.contacts.repository import delete_rows, lock_deleted_corp, mark_purged

_PURGE_INTERVAL_S = 60.0

# About 50 ms of PostgreSQL's time.
_PURGE_ROWS = 5000

logger = logging.getLogger(__name__)


@asynccontextmanager
async def purging_corps(pool: Pool) -> AsyncIterator[None]:
    """Delete the rows of corps that are gone, now and then, within the block.

    Every replica does; they keep out of each other's way.
    """

    async def purge_all() -> None:
        while await purge(pool, maximum_rows=_PURGE_ROWS):
            pass

    async with repeating(
        "the purge of deleted corps", purge_all, interval_s=_PURGE_INTERVAL_S, at_once=True
    ):
        yield


async def purge(pool: Pool, *, maximum_rows: int) -> bool:
    """Delete so many rows of one corp at most; tell whether there was such a corp."""
    async with transaction(pool) as connection:
        corp_id = await lock_deleted_corp(connection)
        if corp_id is None:
            return False
        deleted = await delete_rows(connection, corp_id, maximum_rows=maximum_rows)
        if deleted < maximum_rows:
            await mark_purged(connection, corp_id)
            logger.info("nothing is left of corp %s", corp_id)
        return True
