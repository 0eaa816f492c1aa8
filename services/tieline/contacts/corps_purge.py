"""Deletes what is kept of corps that are gone, some thousand rows at a time."""

import logging

from tieline.chassis.postgres import Pool, transaction
from tieline.contacts.repositories.deleted_corps import delete_rows, lock_deleted_corp, mark_purged

logger = logging.getLogger(__name__)


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
