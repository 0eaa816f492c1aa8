"""ArchiveService: all that was said, for auditors."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass

from tieline.api.messaging.v1 import archive_service_pb2, archive_service_pb2_grpc
from tieline.chassis.audit import record_act
from tieline.chassis.authorization import Right
from tieline.chassis.calls import current_principal
from tieline.chassis.errors import InvalidArgumentError, ResourceExhaustedError
from tieline.chassis.fields import raise_violations, read_timestamp, to_timestamp
from tieline.chassis.grpc_context import Context
from tieline.chassis.page_tokens import PageTokens, page_size
from tieline.chassis.postgres import Pool, transaction
from tieline.messaging.compliance.archive import (
    CHUNK_BYTES,
    MAX_CONSUMERS,
    ArchivedMessage,
    ArchivePosition,
    check_consumer_id,
    entry_to_proto,
    write_line,
)
from tieline.messaging.compliance.servicer import require_corp
from tieline.messaging.live.open_streams import MAX_MEDIA_STREAMS, OpenStreams
from tieline.messaging.media.blob_store import BlobStore
from tieline.messaging.media.downloading import find_range, read_chunks
from tieline.messaging.media.rules import check_media_id, media_not_found_error, media_to_proto
from tieline.messaging.media.uploading import content_key
from tieline.messaging.repositories import SCHEMA
from tieline.messaging.repositories.archive import ArchiveRepository
from tieline.messaging.repositories.media import MediaRepository

MAX_PAGE_ENTRIES = 500

# An entry may have 32 KiB, and some that were replaced: two such fit into the 4 MiB of a response
# beside it.
_MAX_PAGE_BYTES = 1024 * 1024

# What one look reads of a corp in which nobody talks; the index by time makes it cheap.
_WINDOW = dt.timedelta(days=1)
_MAX_LOOK_S = 3.0

# What cursors belong to: a place in any corp's archive, which says nothing of what is there.
_CURSORS = archive_service_pb2.ListArchiveEntriesRequest()


@dataclass(frozen=True, slots=True)
class _Page:
    entries: Sequence[ArchivedMessage]
    position: ArchivePosition
    settled_time: dt.datetime | None
    """Where there is nothing behind the position before this time; None if there may be."""


class ArchiveServicer(archive_service_pb2_grpc.ArchiveServiceServicer):
    """Reads the archive."""

    def __init__(self, pool: Pool, store: BlobStore, page_tokens: PageTokens) -> None:
        self._pool = pool
        self._store = store
        self._downloads = OpenStreams(
            MAX_MEDIA_STREAMS, "TOO_MANY_MEDIA_STREAMS", "downloads from the archive"
        )
        self._page_tokens = page_tokens
        self._settled_time = dt.datetime.min.replace(tzinfo=dt.UTC)

    async def ListArchiveEntries(
        self, request: archive_service_pb2.ListArchiveEntriesRequest, context: Context
    ) -> archive_service_pb2.ListArchiveEntriesResponse:
        """Return what was stored behind a cursor."""
        corp_id = require_corp(request.corp_id, Right.READ_COMPLIANCE)
        if request.consumer_id:
            violations: dict[str, str] = {}
            check_consumer_id(request.consumer_id, violations)
            raise_violations(violations)
        size = page_size(request.page_size, default=100, maximum=MAX_PAGE_ENTRIES)
        if request.cursor:
            position = self._read_cursor(request.cursor)
        else:
            position = await self._begin(corp_id, request.consumer_id)
        page = await self._read_page(corp_id, position, size, None)
        settled = page.settled_time
        return archive_service_pb2.ListArchiveEntriesResponse(
            entries=map(entry_to_proto, page.entries),
            next_cursor=self._page_tokens.encode_cursor(page.position.to_values(), _CURSORS),
            caught_up=settled is not None,
            settled_time=None if settled is None else to_timestamp(settled),
        )

    async def AcknowledgeArchive(
        self, request: archive_service_pb2.AcknowledgeArchiveRequest, context: Context
    ) -> archive_service_pb2.AcknowledgeArchiveResponse:
        """Keep where a consumer stands; a repeat changes nothing."""
        corp_id = require_corp(request.corp_id, Right.READ_COMPLIANCE)
        violations: dict[str, str] = {}
        check_consumer_id(request.consumer_id, violations)
        if not request.cursor:
            violations["cursor"] = "must be the next_cursor of a response"
        raise_violations(violations)
        position = self._read_cursor(request.cursor)
        async with transaction(self._pool) as connection:
            repository = ArchiveRepository(connection)
            if await repository.count_consumers(corp_id, but=request.consumer_id) >= MAX_CONSUMERS:
                raise ResourceExhaustedError(
                    "TOO_MANY_ARCHIVE_CONSUMERS", f"{MAX_CONSUMERS} consumers read the archive"
                )
            await repository.acknowledge(corp_id, request.consumer_id, position)
        return archive_service_pb2.AcknowledgeArchiveResponse()

    async def ExportArchive(
        self, request: archive_service_pb2.ExportArchiveRequest, context: Context
    ) -> AsyncGenerator[archive_service_pb2.ExportArchiveResponse, None]:
        """Send a span of the archive as JSON lines, as fast as it is read."""
        corp_id = require_corp(request.corp_id, Right.READ_COMPLIANCE)
        start, end = _read_span(request)
        details = {"startTime": _show(start), "endTime": _show(end)}
        async with transaction(self._pool) as connection:
            first = await ArchiveRepository(connection).find_first_time(corp_id)
            settled = await self._find_settled_time(ArchiveRepository(connection))
            await record_act(
                connection,
                SCHEMA,
                corp_id=corp_id,
                action="messaging.archive.export",
                resource="archive",
                details=details,
            )
        # Not beyond what there is now, or an export of a busy corp would never end.
        until = settled if end is None else min(end, settled)
        begin = max(filter(None, (start, first or settled)))
        position = ArchivePosition.at(min(begin, until))
        buffer = bytearray()
        async for archived in self._read_all(corp_id, position, until):
            buffer += write_line(archived)
            if len(buffer) >= CHUNK_BYTES:
                yield archive_service_pb2.ExportArchiveResponse(chunk=bytes(buffer))
                buffer.clear()
        if buffer:
            yield archive_service_pb2.ExportArchiveResponse(chunk=bytes(buffer))

    async def DownloadArchivedMedia(
        self, request: archive_service_pb2.DownloadArchivedMediaRequest, context: Context
    ) -> AsyncGenerator[archive_service_pb2.DownloadArchivedMediaResponse, None]:
        """Send a medium that a message refers to, as fast as it is read."""
        corp_id = require_corp(request.corp_id, Right.READ_COMPLIANCE)
        key = (corp_id, check_media_id(request.media_id))
        with self._downloads.entered(current_principal()):
            async with transaction(self._pool) as connection:
                media = await MediaRepository(connection).find_archived(key)
                if media is None:
                    raise media_not_found_error(request.media_id)
                span = find_range(
                    media.medium.size_bytes, request.offset_bytes, request.length_bytes
                )
                # By its own name: an id may be written in several ways.
                resource = f"media/{media.media_id}"
                await record_act(
                    connection,
                    SCHEMA,
                    corp_id=corp_id,
                    action="messaging.archive.download",
                    resource=resource,
                )
            yield archive_service_pb2.DownloadArchivedMediaResponse(media=media_to_proto(media))
            blob = content_key((corp_id, media.media_id))
            async for chunk in read_chunks(self._store, media.media_id, blob, span):
                yield archive_service_pb2.DownloadArchivedMediaResponse(chunk=chunk)

    async def _begin(self, corp_id: str, consumer_id: str) -> ArchivePosition:
        async with transaction(self._pool) as connection:
            repository = ArchiveRepository(connection)
            await record_act(
                connection,
                SCHEMA,
                corp_id=corp_id,
                action="messaging.archive.read",
                resource="archive",
                details={"consumerId": consumer_id},
            )
            known = await repository.find_acknowledged(corp_id, consumer_id)
            if known is not None:
                return known
            first = await repository.find_first_time(corp_id)
            return ArchivePosition.at(first or await self._find_settled_time(repository))

    async def _read_all(
        self, corp_id: str, position: ArchivePosition, until: dt.datetime
    ) -> AsyncIterator[ArchivedMessage]:
        while True:
            page = await self._read_page(corp_id, position, MAX_PAGE_ENTRIES, until)
            for archived in page.entries:
                yield archived
            if page.settled_time is not None:
                return
            position = page.position

    async def _read_page(
        self, corp_id: str, position: ArchivePosition, size: int, until: dt.datetime | None
    ) -> _Page:
        """Read from a position on: a page, or as far as one look goes."""
        give_up = time.monotonic() + _MAX_LOOK_S
        async with self._pool.acquire() as connection:
            repository = ArchiveRepository(connection)
            end = until or await self._find_settled_time(repository)
            while True:
                window_end = min(position.message_time + _WINDOW, end)
                entries = await repository.list_entries(corp_id, position, window_end, limit=size)
                if entries:
                    kept = _within_bytes(entries)
                    return _Page(kept, kept[-1].position, None)
                if window_end >= end:
                    return _Page([], position, end)
                position = ArchivePosition.at(window_end)
                if time.monotonic() > give_up:
                    return _Page([], position, None)

    async def _find_settled_time(self, repository: ArchiveRepository) -> dt.datetime:
        """Return the time before which no message will be added any more, never less than before.

        A transaction may show itself a moment after it began, when that is no news: its messages
        are younger than its showing.
        """
        found = await repository.find_settled_time()
        self._settled_time = max(self._settled_time, found)
        return self._settled_time

    def _read_cursor(self, cursor: str) -> ArchivePosition:
        values = self._page_tokens.decode(cursor, _CURSORS)
        assert values is not None, "empty cursors are not read"
        return ArchivePosition.from_values(values)


def _read_span(
    request: archive_service_pb2.ExportArchiveRequest,
) -> tuple[dt.datetime | None, dt.datetime | None]:
    start, end = (
        read_timestamp(getattr(request, field), field) if request.HasField(field) else None
        for field in ("start_time", "end_time")
    )
    if start is not None and end is not None and end < start:
        raise InvalidArgumentError({"end_time": "must not be before start_time"})
    return start, end


def _within_bytes(entries: Sequence[ArchivedMessage]) -> Sequence[ArchivedMessage]:
    """Return the first entries, one at least, as far as a response has room."""
    size_bytes = 0
    for count, entry in enumerate(entries):
        size_bytes += len(entry.message.content)
        size_bytes += sum(len(content) for content, _ in entry.replaced)
        if count and size_bytes > _MAX_PAGE_BYTES:
            return entries[:count]
    return entries


def _show(moment: dt.datetime | None) -> str:
    return "" if moment is None else moment.isoformat()
