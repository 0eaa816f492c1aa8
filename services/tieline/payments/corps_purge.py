"""Deletes what is kept of corps that are gone once the law does not ask for it any more."""

import logging

from tieline.chassis.postgres import Pool, transaction
from tieline.payments.repositories.deleted_corps import (
    delete_rows,
    lock_corp_to_purge,
    mark_purged,
)

# What is kept for years may stay an hour longer.
PURGE_INTERVAL_S = 3600.0

logger = logging.getLogger(__name__)


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
