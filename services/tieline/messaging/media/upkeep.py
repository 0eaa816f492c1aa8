"""Removes media that have expired and uploads that were given up, from the store and the tables.

A medium is first taken out of use, which is committed, then its bytes go, then its row: whenever
this stops, the next turn goes on, and nothing refers to bytes that are gone.
"""

import datetime as dt
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tieline.chassis.postgres import Pool, transaction
from tieline.chassis.repeating import repeating
from tieline.messaging.media.blob_store import BlobStore
from tieline.messaging.media.uploading import content_key, thumbnail_key, uploads_folder
from tieline.messaging.repositories.media import MediaRepository
from tieline.messaging.repositories.uploads import UploadRepository

# A day's media of 36,000 people, ten each, are gone within two hours.
_INTERVAL_S = 60.0
_BATCH_ROWS = 500
_MAX_BATCHES = 8

# A stream that is completing an upload when it expires has long ended by then.
_UPLOAD_GRACE = dt.timedelta(hours=1)

logger = logging.getLogger(__name__)


@asynccontextmanager
async def purging_media(pool: Pool, store: BlobStore) -> AsyncIterator[None]:
    """Do it now and then within the block."""

    async def work() -> None:
        await purge_media(pool, store)
        await purge_uploads(pool, store)

    async with repeating("the purge of media", work, interval_s=_INTERVAL_S):
        yield


async def purge_media(pool: Pool, store: BlobStore) -> int:
    """Remove media that have expired and no message refers to; return how many."""
    removed = 0
    for _ in range(_MAX_BATCHES):
        async with transaction(pool) as connection:
            keys = await MediaRepository(connection).remove_expired(maximum_rows=_BATCH_ROWS)
        for key in keys:
            await store.delete([content_key(key), thumbnail_key(key)])
        async with transaction(pool) as connection:
            await MediaRepository(connection).delete_removed(keys)
        removed += len(keys)
        if len(keys) < _BATCH_ROWS:
            break
    return removed


async def purge_uploads(pool: Pool, store: BlobStore) -> int:
    """Remove uploads that were given up, with all that is in the store of them; return how many."""
    async with transaction(pool) as connection:
        keys = await UploadRepository(connection).list_expired(
            grace=_UPLOAD_GRACE, maximum_rows=_BATCH_ROWS
        )
    for key in keys:
        # Also parts that nobody counted, and a medium that was stored and never became one.
        parts = await store.list_keys(uploads_folder(key))
        await store.delete([*parts, content_key(key), thumbnail_key(key)])
    async with transaction(pool) as connection:
        await UploadRepository(connection).delete_expired(keys)
    return len(keys)
