"""One stream of an upload: chunks become parts in the store, and the last one makes the medium.

A part is stored, then counted, and only what was counted is there: a stream that breaks leaves at
most a part that nobody knows of, which goes with the upload. The whole is put together, checked and
stored under the medium's key before the row that makes it readable is committed.

    <corp>/uploads/<upload>/<offset>-<claim>    parts
    <corp>/media/<media>/content, thumbnail     media
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Callable

from tieline.api.messaging.v1 import media_service_pb2
from tieline.chassis.errors import (
    AbortedError,
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    ServiceError,
    UnavailableError,
)
from tieline.chassis.ids import new_uuid7
from tieline.chassis.postgres import Pool, transaction
from tieline.messaging.conversations.rules import Participant
from tieline.messaging.media.blob_store import BlobMissingError, BlobStore
from tieline.messaging.media.images import ImageWorkers
from tieline.messaging.media.rules import (
    MAX_CHUNK_BYTES,
    Media,
    MediaFacts,
    MediaKind,
    Upload,
    completed_to_proto,
    upload_not_found_error,
    upload_to_proto,
)
from tieline.messaging.media.types import look_at_file, look_at_video, look_at_voice
from tieline.messaging.media.upload_pace import UploadPace
from tieline.messaging.repositories.media import MediaKey, MediaRepository
from tieline.messaging.repositories.uploads import UploadRepository

# What a break costs at most. 20 MiB are 80 of them.
PART_BYTES = 256 * 1024

# Each holds 20 MiB and the image that it makes of them.
_MAX_COMPLETING = 4

Requests = AsyncIterator[media_service_pb2.UploadMediaRequest]

logger = logging.getLogger(__name__)


class Uploader:
    """Continues and completes uploads."""

    def __init__(
        self,
        pool: Pool,
        store: BlobStore,
        images: ImageWorkers,
        *,
        start_pace: Callable[[float], UploadPace] = UploadPace,
    ) -> None:
        self._pool = pool
        self._store = store
        self._images = images
        self._start_pace = start_pace
        self._completing = asyncio.Semaphore(_MAX_COMPLETING)

    async def find(self, key: MediaKey, owner: Participant) -> media_service_pb2.Upload:
        """Return how far an upload is; NotFoundError for what is not this person's."""
        async with self._pool.acquire() as connection:
            upload = await UploadRepository(connection).find_upload(key, owner)
            if upload is not None:
                return upload_to_proto(upload)
            media = await MediaRepository(connection).find_owned(key, owner)
        if media is None:
            raise upload_not_found_error(key[1])
        return completed_to_proto(media)

    async def continue_upload(
        self, key: MediaKey, owner: Participant, offset_bytes: int, requests: Requests
    ) -> media_service_pb2.Upload:
        """Take the stream's chunks from that offset on; return how far it came."""
        found = await self.find(key, owner)
        if found.HasField("media"):
            return found
        claim_id = new_uuid7()
        async with self._pool.acquire() as connection:
            repository = UploadRepository(connection)
            claimed = await repository.claim_upload(key, owner, claim_id, offset_bytes)
            upload = await repository.find_upload(key, owner)
        if upload is None:
            raise upload_not_found_error(key[1])
        if not claimed:
            raise FailedPreconditionError(
                "UPLOAD_OFFSET_WRONG",
                f"the upload stands at {upload.offset_bytes}",
                {"offsetBytes": str(upload.offset_bytes)},
            )
        chunks = _read_chunks(requests, self._start_pace(time.monotonic()))
        async for part in _read_parts(chunks, upload.medium.size_bytes - offset_bytes):
            upload = await self._add_part(upload, claim_id, part)
        if upload.offset_bytes < upload.medium.size_bytes:
            return upload_to_proto(upload)
        return completed_to_proto(await self._complete(upload, claim_id))

    async def _add_part(self, upload: Upload, claim_id: str, part: bytes) -> Upload:
        key = (upload.corp_id, upload.upload_id)
        part_key = f"{uploads_folder(key)}/{upload.offset_bytes}-{claim_id}"
        await self._store.put(part_key, part)
        async with transaction(self._pool) as connection:
            added = await UploadRepository(connection).add_part(key, claim_id, part_key, len(part))
        if added is None:
            await self._store.delete([part_key])
            raise taken_over_error()
        return added

    async def _complete(self, upload: Upload, claim_id: str) -> Media:
        key = (upload.corp_id, upload.upload_id)
        async with self._completing:
            content = await self._read_whole(upload)
            try:
                facts = await self._check(upload, content)
            except FailedPreconditionError:
                # What arrived is settled, so that sending it again would end the same way.
                await self._give_up(upload, claim_id)
                raise
            await self._store.put(content_key(key), content)
        if facts.thumbnail:
            await self._store.put(thumbnail_key(key), facts.thumbnail)
        async with transaction(self._pool) as connection:
            if not await UploadRepository(connection).delete_upload(key, claim_id):
                raise taken_over_error()
            repository = MediaRepository(connection)
            await repository.insert_media(upload, facts)
            media = await repository.find_owned(key, upload.owner)
        assert media is not None, "it was inserted in this transaction"
        await self._forget_parts(upload)
        return media

    async def _read_whole(self, upload: Upload) -> bytes:
        parts = []
        position = 0
        for index, part_key in enumerate(upload.part_keys):
            following = upload.part_keys[index + 1 : index + 2]
            end = _offset_of(following[0]) if following else upload.medium.size_bytes
            try:
                parts.append(await self._store.get_range(part_key, 0, end - position))
            except BlobMissingError as error:
                logger.error("a part of an upload is gone from the store")
                raise UnavailableError(
                    "MEDIA_STORE_UNAVAILABLE", "a part of the upload is gone; begin anew"
                ) from error
            position = end
        return b"".join(parts)

    async def _check(self, upload: Upload, content: bytes) -> MediaFacts:
        medium = upload.medium
        digest = await asyncio.to_thread(lambda: hashlib.sha256(content).digest())
        if digest != medium.sha256:
            raise FailedPreconditionError(
                "MEDIA_CHECKSUM_WRONG", "what arrived has another SHA-256 than was announced"
            )
        match medium.kind:
            case MediaKind.IMAGE:
                return await self._images.look(content)
            case MediaKind.VOICE:
                return await asyncio.to_thread(look_at_voice, content)
            case MediaKind.VIDEO:
                return look_at_video(content)
            case MediaKind.FILE:
                return look_at_file(medium, content)

    async def _give_up(self, upload: Upload, claim_id: str) -> None:
        async with transaction(self._pool) as connection:
            key = (upload.corp_id, upload.upload_id)
            if not await UploadRepository(connection).delete_upload(key, claim_id):
                return
        await self._forget_parts(upload)

    async def _forget_parts(self, upload: Upload) -> None:
        """Delete the parts of an upload that has ended; what stays is waste and no fault."""
        try:
            await self._store.delete(upload.part_keys)
        except ServiceError:
            logger.warning("the parts of an upload stay in the store: %s", upload.upload_id)


async def read_header(requests: Requests) -> media_service_pb2.UploadHeader:
    """Return the first message of a stream."""
    first = await _read_one(requests, UploadPace(time.monotonic()))
    if first is None or first.WhichOneof("content") != "header":
        raise InvalidArgumentError({"header": "must be in the first message"})
    return first.header


def uploads_folder(key: MediaKey) -> str:
    """Return where the parts of an upload lie."""
    return f"{key[0]}/uploads/{key[1]}"


def content_key(key: MediaKey) -> str:
    """Return where a medium lies."""
    return f"{key[0]}/media/{key[1]}/content"


def thumbnail_key(key: MediaKey) -> str:
    """Return where its thumbnail lies."""
    return f"{key[0]}/media/{key[1]}/thumbnail"


def taken_over_error() -> AbortedError:
    """Return the error for a stream that came before another one of the same upload."""
    return AbortedError("UPLOAD_TAKEN_OVER", "another stream goes on with this upload")


def _offset_of(part_key: str) -> int:
    return int(part_key.rpartition("/")[2].partition("-")[0])


async def _read_parts(chunks: AsyncIterator[bytes], remaining: int) -> AsyncIterator[bytes]:
    """Yield what arrives in parts of one size, the rest at the end; refuse more than is to come."""
    buffer = bytearray()
    async for chunk in chunks:
        remaining -= len(chunk)
        if remaining < 0:
            raise InvalidArgumentError({"chunk": "goes beyond the size that was announced"})
        buffer += chunk
        while len(buffer) >= PART_BYTES:
            yield bytes(buffer[:PART_BYTES])
            del buffer[:PART_BYTES]
    if buffer:
        yield bytes(buffer)


async def _read_chunks(requests: Requests, pace: UploadPace) -> AsyncIterator[bytes]:
    while True:
        request = await _read_one(requests, pace)
        if request is None:
            return
        if request.WhichOneof("content") != "chunk":
            raise InvalidArgumentError({"chunk": "must be in every message after the first"})
        if not 1 <= len(request.chunk) <= MAX_CHUNK_BYTES:
            raise InvalidArgumentError({"chunk": f"must have 1 to {MAX_CHUNK_BYTES} bytes"})
        if not pace.note(len(request.chunk), time.monotonic()):
            raise _too_slow_error()
        yield request.chunk


async def _read_one(
    requests: Requests, pace: UploadPace
) -> media_service_pb2.UploadMediaRequest | None:
    # One read for as long as it takes: a read that is broken off ends the stream that it reads.
    reading = asyncio.ensure_future(_next(requests))
    try:
        while not reading.done():
            await asyncio.wait([reading], timeout=max(0.0, pace.deadline - time.monotonic()))
            if not reading.done() and not pace.note(0, time.monotonic()):
                raise _too_slow_error()
        return reading.result()
    finally:
        reading.cancel()


async def _next(requests: Requests) -> media_service_pb2.UploadMediaRequest | None:
    return await anext(requests, None)


def _too_slow_error() -> DeadlineExceededError:
    return DeadlineExceededError(
        "UPLOAD_TOO_SLOW", "too few bytes arrive; go on at a better time", retry_after_s=1.0
    )
