"""Deletes what is kept of corps that are gone, some thousand rows at a time."""

import logging

from tieline.chassis.postgres import Pool, transaction
from tieline.messaging.repositories.corps import CorpRepository

logger = logging.getLogger(__name__)


async def purge(pool: Pool, *, maximum_rows: int) -> bool:
    """Delete so many rows of one corp at most; tell whether there was such a corp."""
    async with transaction(pool) as connection:
        repository = CorpRepository(connection)
        corp_id = await repository.lock_deleted_corp()
        if corp_id is None:
            return False
        deleted = await repository.delete_rows(corp_id, maximum_rows=maximum_rows)
        await repository.expire_media(corp_id)
        if deleted < maximum_rows:
            await repository.mark_purged(corp_id)
            logger.info("nothing is left of corp %s", corp_id)
        return True
