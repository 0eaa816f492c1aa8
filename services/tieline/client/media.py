"""Whole media up and down, whatever becomes of the connection meanwhile.

A stream that breaks is followed by another one from where the service, or the reader, stands. Both
ends compare the SHA-256 of the whole.
"""

import asyncio
import hashlib
import io
import random
import uuid
from collections.abc import AsyncIterator
from typing import BinaryIO

import grpc

from tieline.api.messaging.v1 import media_service_pb2, media_service_pb2_grpc
from tieline.client.errors import TielineError
from tieline.client.interruptions import is_passing

CHUNK_BYTES = 256 * 1024

# Of streams that bring nothing at all; one that brings something begins the count again.
MAX_VAIN_ATTEMPTS = 6
FIRST_DELAY_S = 0.1
MAX_DELAY_S = 5.0


async def upload_media(
    media: media_service_pb2_grpc.MediaServiceStub,
    source: bytes | BinaryIO,
    kind: media_service_pb2.MediaKind.ValueType,
    name: str,
    *,
    corp_id: str = "",
) -> media_service_pb2.Media:
    """Upload bytes, or a file that is open for reading and can be sought; return the medium.

    TielineError with the service's reason where it refuses them.
    """
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    size_bytes, sha256 = await asyncio.to_thread(_measure, file)
    begun = await media.BeginUpload(
        media_service_pb2.BeginUploadRequest(
            request_id=str(uuid.uuid4()),
            corp_id=corp_id,
            kind=kind,
            name=name,
            size_bytes=size_bytes,
            sha256=sha256,
        )
    )
    upload = begun.upload
    patience = _Patience()
    while not upload.HasField("media"):
        try:
            response = await media.UploadMedia(_requests(file, corp_id, upload))
            upload = response.upload
        except TielineError as error:
            if error.reason != "UPLOAD_OFFSET_WRONG" and not is_passing(error):
                raise
            upload = await _ask(media, corp_id, upload.upload_id)
            await patience.wait(upload.offset_bytes, error)
    return upload.media


async def download_media(
    media: media_service_pb2_grpc.MediaServiceStub,
    media_id: str,
    target: BinaryIO,
    *,
    corp_id: str = "",
) -> media_service_pb2.Media:
    """Write the medium into a file that is open for writing; return what it is.

    TielineError with the service's reason, or with DATA_LOSS where what came is not what it was.
    """
    digest = hashlib.sha256()
    received = 0
    patience = _Patience()
    while True:
        request = media_service_pb2.DownloadMediaRequest(
            corp_id=corp_id, media_id=media_id, offset_bytes=received
        )
        found = media_service_pb2.Media()
        try:
            async for response in media.DownloadMedia(request):
                if response.HasField("media"):
                    found = response.media
                    continue
                digest.update(response.chunk)
                await asyncio.to_thread(target.write, response.chunk)
                received += len(response.chunk)
        except TielineError as error:
            if not is_passing(error):
                raise
            await patience.wait(received, error)
            continue
        if received != found.size_bytes or digest.digest() != found.sha256:
            raise TielineError(grpc.StatusCode.DATA_LOSS, "the medium did not arrive as it was")
        return found


class _Patience:
    """How long streams that break are followed by others."""

    def __init__(self) -> None:
        self._position = 0
        self._attempt = 0

    async def wait(self, position: int, error: TielineError) -> None:
        """Wait before the next stream; raise the error after too many that brought nothing."""
        if position > self._position:
            self._position = position
            self._attempt = 0
        self._attempt += 1
        if self._attempt >= MAX_VAIN_ATTEMPTS:
            raise error
        delay_s = min(MAX_DELAY_S, FIRST_DELAY_S * 2**self._attempt) * random.random()
        await asyncio.sleep(delay_s + (error.retry_after_s or 0.0))


async def _ask(
    media: media_service_pb2_grpc.MediaServiceStub, corp_id: str, upload_id: str
) -> media_service_pb2.Upload:
    request = media_service_pb2.GetUploadRequest(corp_id=corp_id, upload_id=upload_id)
    return (await media.GetUpload(request)).upload


async def _requests(
    file: BinaryIO, corp_id: str, upload: media_service_pb2.Upload
) -> AsyncIterator[media_service_pb2.UploadMediaRequest]:
    yield media_service_pb2.UploadMediaRequest(
        header=media_service_pb2.UploadHeader(
            corp_id=corp_id, upload_id=upload.upload_id, offset_bytes=upload.offset_bytes
        )
    )
    await asyncio.to_thread(file.seek, upload.offset_bytes)
    while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
        yield media_service_pb2.UploadMediaRequest(chunk=chunk)


def _measure(file: BinaryIO) -> tuple[int, bytes]:
    file.seek(0)
    digest = hashlib.sha256()
    size_bytes = 0
    while chunk := file.read(CHUNK_BYTES):
        digest.update(chunk)
        size_bytes += len(chunk)
    return size_bytes, digest.digest()
