"""Blobs in a folder of this machine or in S3-compatible storage, by obstore.

A folder is for one machine, or for one that all replicas share. Both kinds write a blob beside its
place and put it there as a whole; a folder's is also forced to the disk, which obstore leaves to
the system.
"""

import asyncio
import datetime as dt
import logging
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from tieline.chassis.errors import ResourceExhaustedError, UnavailableError
from tieline.chassis.process import StartError
from tieline.messaging.media.blob_store import BlobMissingError, BlobStore, MissingStore
from tieline.messaging.settings import MessagingSettings

# 20 MiB at 1.4 MB/s; far less where the store is near.
_REQUEST_TIMEOUT = dt.timedelta(seconds=15)
_RETRY_TIMEOUT = dt.timedelta(seconds=30)
_MAX_RETRIES = 3
_RETRY_AFTER_S = 2.0
_FULL_RETRY_AFTER_S = 30.0

# How object_store tells of ENOSPC and EDQUOT, which has no exception of its own.
_FULL_TEXTS = ("StorageFull", "os error 28", "QuotaExceeded", "os error 122")

# Of a bucket that is not there the same exception comes as of a blob: an operator's mistake is not
# to pass for a blob that somebody deleted.
_NO_BUCKET_TEXT = "NoSuchBucket"

logger = logging.getLogger(__name__)


class ObjectStore:
    """BlobStore over obstore."""

    def __init__(self, store: LocalStore | S3Store, folder: Path | None) -> None:
        self._store = store
        self._folder = folder

    async def put(self, key: str, content: bytes) -> None:
        """Keep the content under the key for good."""
        async with _translated("put"):
            await obstore.put_async(self._store, key, content, use_multipart=False)
            if self._folder is not None:
                await asyncio.to_thread(_force_to_disk, self._folder / key)

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return bytes of a blob."""
        async with _translated("get"):
            content = await obstore.get_range_async(self._store, key, start=start, length=length)
        return content.to_bytes()

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove blobs."""
        for key in keys:
            try:
                async with _translated("delete"):
                    await obstore.delete_async(self._store, key)
            except BlobMissingError:
                continue

    async def list_keys(self, prefix: str) -> Sequence[str]:
        """Return the keys within a folder."""
        async with _translated("list"):
            listed = await obstore.list(self._store, prefix=prefix).collect_async()
        return [str(meta["path"]) for meta in listed]


def open_store(settings: MessagingSettings) -> BlobStore:
    """Return the store that the settings name; StartError where they name none that could be."""
    url = settings.media_store_url
    if not url:
        return MissingStore()
    parts = urlsplit(url)
    try:
        if url.startswith("file:///") and not parts.netloc and len(parts.path) > 1:
            folder = Path(unquote(parts.path))
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return ObjectStore(LocalStore(folder, automatic_cleanup=True), folder)
        if parts.scheme == "s3" and parts.netloc:
            return ObjectStore(_open_s3(settings, parts.netloc, parts.path.strip("/")), None)
    except (OSError, ValueError, BaseError) as error:
        raise StartError(
            f"can't open the store of media: {error}; correct TIELINE_MEDIA_STORE_URL"
        ) from None
    raise StartError(
        "TIELINE_MEDIA_STORE_URL must be file:///a/folder or s3://bucket or s3://bucket/folder"
    )


def _open_s3(settings: MessagingSettings, bucket: str, prefix: str) -> S3Store:
    endpoint = settings.media_store_endpoint
    return S3Store(
        bucket,
        prefix=prefix or None,
        region=settings.media_store_region,
        access_key_id=settings.media_store_access_key_id.get_secret_value() or None,
        secret_access_key=settings.media_store_secret_access_key.get_secret_value() or None,
        endpoint=endpoint or None,
        client_options={
            "timeout": _REQUEST_TIMEOUT,
            "allow_http": endpoint.startswith("http://"),
        },
        retry_config={"max_retries": _MAX_RETRIES, "retry_timeout": _RETRY_TIMEOUT},
    )


@asynccontextmanager
async def _translated(operation: str) -> AsyncIterator[None]:
    try:
        yield
    except (OSError, BaseError) as error:
        if isinstance(error, FileNotFoundError) and _NO_BUCKET_TEXT not in str(error):
            raise BlobMissingError from error
        # Its text has the address and the key, which are the operator's to read alone.
        logger.warning("the store of media failed at %s: %s", operation, _first_line(error))
        if any(text in str(error) for text in _FULL_TEXTS):
            raise ResourceExhaustedError(
                "MEDIA_STORE_FULL",
                "the store of media is full",
                retry_after_s=_FULL_RETRY_AFTER_S,
            ) from error
        raise UnavailableError(
            "MEDIA_STORE_UNAVAILABLE",
            "the store of media does not answer",
            retry_after_s=_RETRY_AFTER_S,
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _force_to_disk(path: Path) -> None:
    for target in (path, path.parent):
        descriptor = os.open(target, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
