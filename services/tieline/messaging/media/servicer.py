"""MediaService: between the wire and the uploads and blobs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

from tieline.api.messaging.v1 import media_service_pb2, media_service_pb2_grpc
from tieline.chassis.calls import current_principal
from tieline.chassis.errors import FailedPreconditionError, ResourceExhaustedError
from tieline.chassis.grpc_context import Context
from tieline.chassis.idempotency import answered_once
from tieline.chassis.ids import new_uuid7
from tieline.chassis.postgres import Connection, Pool
from tieline.messaging.callers import require_user
from tieline.messaging.conversations.rules import Participant
from tieline.messaging.known_people import check_known
from tieline.messaging.live.open_streams import MAX_MEDIA_STREAMS, OpenStreams
from tieline.messaging.media.blob_store import (
    BlobStore,
    MissingStore,
    missing_store_error,
)
from tieline.messaging.media.downloading import find_range, read_chunks
from tieline.messaging.media.rules import (
    MAX_OPEN_UPLOADS,
    UPLOAD_LIFETIME,
    Media,
    NewMedium,
    Upload,
    check_media_id,
    check_upload_id,
    check_upload_request,
    media_not_found_error,
    media_to_proto,
    upload_to_proto,
)
from tieline.messaging.media.uploading import Uploader, content_key, read_header, thumbnail_key
from tieline.messaging.repositories import SCHEMA
from tieline.messaging.repositories.media import MediaRepository
from tieline.messaging.repositories.uploads import UploadRepository


class MediaServicer(media_service_pb2_grpc.MediaServiceServicer):
    """Takes media in and gives them out."""

    def __init__(self, pool: Pool, store: BlobStore, uploader: Uploader) -> None:
        self._pool = pool
        self._store = store
        self._uploader = uploader
        self._streams = OpenStreams(
            MAX_MEDIA_STREAMS, "TOO_MANY_MEDIA_STREAMS", "uploads and downloads"
        )

    async def BeginUpload(
        self, request: media_service_pb2.BeginUploadRequest, context: Context
    ) -> media_service_pb2.BeginUploadResponse:
        """Note what will come, at most once per ``request_id``."""
        corp_id, owner = require_user(request.corp_id)
        medium = check_upload_request(request)
        if isinstance(self._store, MissingStore):
            raise missing_store_error()
        return await answered_once(
            self._pool,
            SCHEMA,
            request,
            media_service_pb2.BeginUploadResponse,
            lambda connection: _begin(connection, corp_id, owner, medium),
            corp_id=corp_id,
        )

    async def GetUpload(
        self, request: media_service_pb2.GetUploadRequest, context: Context
    ) -> media_service_pb2.GetUploadResponse:
        """Return how far an upload of the caller's is."""
        corp_id, owner = require_user(request.corp_id)
        upload_id = check_upload_id(request.upload_id)
        upload = await self._uploader.find((corp_id, upload_id), owner)
        return media_service_pb2.GetUploadResponse(upload=upload)

    async def UploadMedia(
        self,
        request_iterator: AsyncIterator[media_service_pb2.UploadMediaRequest],
        context: Context,
    ) -> media_service_pb2.UploadMediaResponse:
        """Go on with an upload by the stream's chunks."""
        with self._streams.entered(current_principal()):
            header = await read_header(request_iterator)
            corp_id, owner = require_user(header.corp_id)
            upload_id = check_upload_id(header.upload_id)
            upload = await self._uploader.continue_upload(
                (corp_id, upload_id), owner, header.offset_bytes, request_iterator
            )
        return media_service_pb2.UploadMediaResponse(upload=upload)

    async def GetMedia(
        self, request: media_service_pb2.GetMediaRequest, context: Context
    ) -> media_service_pb2.GetMediaResponse:
        """Describe a medium that the caller may read."""
        media = await self._find_readable(request.corp_id, request.media_id)
        return media_service_pb2.GetMediaResponse(media=media_to_proto(media))

    async def DownloadMedia(
        self, request: media_service_pb2.DownloadMediaRequest, context: Context
    ) -> AsyncGenerator[media_service_pb2.DownloadMediaResponse, None]:
        """Send a medium that the caller may read, as fast as it is read."""
        with self._streams.entered(current_principal()):
            media = await self._find_readable(request.corp_id, request.media_id)
            span = _find_span(request, media)
            yield media_service_pb2.DownloadMediaResponse(media=media_to_proto(media))
            key = (media.corp_id, media.media_id)
            blob = thumbnail_key(key) if request.thumbnail else content_key(key)
            async for chunk in read_chunks(self._store, media.media_id, blob, span):
                yield media_service_pb2.DownloadMediaResponse(chunk=chunk)

    async def _find_readable(self, corp_id: str, media_id: str) -> Media:
        corp_id, reader = require_user(corp_id)
        key = (corp_id, check_media_id(media_id))
        async with self._pool.acquire() as connection:
            media = await MediaRepository(connection).find_readable(key, reader)
        if media is None:
            raise media_not_found_error(media_id)
        return media


async def _begin(
    connection: Connection, corp_id: str, owner: Participant, medium: NewMedium
) -> media_service_pb2.BeginUploadResponse:
    await check_known(connection, (corp_id, owner))
    repository = UploadRepository(connection)
    # Several at the same time may all count 19; what it bounds is the waste, not the number.
    if await repository.count_of(corp_id, owner) >= MAX_OPEN_UPLOADS:
        raise ResourceExhaustedError(
            "TOO_MANY_UPLOADS", f"{MAX_OPEN_UPLOADS} uploads are not complete; complete one first"
        )
    upload_id = new_uuid7()
    expire_time = await repository.insert_upload(
        (corp_id, upload_id), owner, medium, lifetime=UPLOAD_LIFETIME
    )
    upload = Upload(corp_id, upload_id, owner, medium, 0, (), expire_time)
    return media_service_pb2.BeginUploadResponse(upload=upload_to_proto(upload))


def _find_span(request: media_service_pb2.DownloadMediaRequest, media: Media) -> tuple[int, int]:
    """Return where to begin and end within what is asked for."""
    size_bytes = media.medium.size_bytes
    if request.thumbnail:
        size_bytes = media.thumbnail_size_bytes
        if not size_bytes:
            raise FailedPreconditionError(
                "THUMBNAIL_MISSING", "the medium has no thumbnail", {"mediaId": media.media_id}
            )
    return find_range(size_bytes, request.offset_bytes, request.length_bytes)
