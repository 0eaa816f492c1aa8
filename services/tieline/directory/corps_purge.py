"""Deleting what is kept of corps that are gone, some thousand rows at a time."""

import logging

from tieline.chassis.postgres import Pool, transaction
from tieline.directory.repositories import corp_purge

logger = logging.getLogger(__name__)


async def purge(pool: Pool, *, maximum_rows: int) -> bool:
    """Delete so many rows of one corp at most; tell whether there was such a corp."""
    async with transaction(pool) as connection:
        corp_id = await corp_purge.lock_deleted_corp(connection)
        if corp_id is None:
            return False
        deleted = await corp_purge.delete_rows(connection, corp_id, maximum_rows=maximum_rows)
        if deleted < maximum_rows:
            await corp_purge.mark_purged(connection, corp_id)
            logger.info("nothing is left of corp %s", corp_id)
        return True
