"""AuditService: reads the log of a corp, or the platform's."""

from collections.abc import AsyncIterator

from tieline.api.identity.v1 import audit_service_pb2, audit_service_pb2_grpc
from tieline.chassis.audit import PLATFORM_LOG
from tieline.chassis.authorization import Resource, Right, require
from tieline.chassis.calls import current_principal
from tieline.chassis.errors import InvalidArgumentError
from tieline.chassis.grpc_context import Context
from tieline.chassis.page_tokens import PageTokens, page_size
from tieline.chassis.postgres import Pool, transaction
from tieline.chassis.principals import Principal, PrincipalKind
from tieline.identity.acts import record_act
from tieline.identity.audit.export import Chunks, ExportFormat, write_header, write_lines
from tieline.identity.audit.log import (
    AuditFilter,
    Entry,
    Position,
    build_filter,
    to_message,
)
from tieline.identity.corps.messages import from_position, to_position
from tieline.identity.corps.rules import corp_not_found_error
from tieline.identity.repositories import audit_entries

DEFAULT_PAGE_SIZE = 50

# An entry has about 300 bytes and never more than 12 KiB: a page fits into a message.
MAX_PAGE_SIZE = 200

# What an export reads at a time, in a transaction of its own: none is held while the caller reads.
_EXPORT_PAGE_SIZE = 1000

_FORMATS = {
    audit_service_pb2.AUDIT_EXPORT_FORMAT_UNSPECIFIED: ExportFormat.JSON_LINES,
    audit_service_pb2.AUDIT_EXPORT_FORMAT_JSON_LINES: ExportFormat.JSON_LINES,
    audit_service_pb2.AUDIT_EXPORT_FORMAT_CSV: ExportFormat.CSV,
}


class AuditServicer(audit_service_pb2_grpc.AuditServiceServicer):
    """Answers the calls about the audit log."""

    def __init__(self, pool: Pool, page_tokens: PageTokens) -> None:
        self._pool = pool
        self._page_tokens = page_tokens

    async def ListAuditEntries(
        self, request: audit_service_pb2.ListAuditEntriesRequest, context: Context
    ) -> audit_service_pb2.ListAuditEntriesResponse:
        """Return a page of the log."""
        corp_id = _require_log(current_principal(), request.corp_id)
        wanted = _read_filter(request.filter)
        size = page_size(request.page_size, default=DEFAULT_PAGE_SIZE, maximum=MAX_PAGE_SIZE)
        position = from_position(self._page_tokens.decode(request.page_token, request))
        before = Position.at(wanted.end_time) if position is None else Position(*position)
        async with self._pool.acquire() as connection:
            found = await audit_entries.list_entries(connection, corp_id, wanted, before, size + 1)
        page, next_page_token = self._page_tokens.cut(
            found, size, request, lambda entry: to_position(entry.act_time, entry.event_id)
        )
        return audit_service_pb2.ListAuditEntriesResponse(
            entries=map(to_message, page), next_page_token=next_page_token
        )

    async def ExportAuditEntries(
        self, request: audit_service_pb2.ExportAuditEntriesRequest, context: Context
    ) -> AsyncIterator[audit_service_pb2.ExportAuditEntriesResponse]:
        """Stream the log as a file, in chunks."""
        corp_id = _require_log(current_principal(), request.corp_id)
        wanted = _read_filter(request.filter)
        export_format = _FORMATS.get(request.format)
        if export_format is None:
            raise InvalidArgumentError({"format": "must be one of the formats"})
        before = await self._begin_export(corp_id, wanted)
        chunks = Chunks()
        chunks.add(write_header(export_format))
        async for page in self._pages(corp_id, wanted, before):
            for line in write_lines(page, export_format):
                chunk = chunks.add(line)
                if chunk is not None:
                    yield audit_service_pb2.ExportAuditEntriesResponse(chunk=chunk)
        rest = chunks.take()
        if rest:
            yield audit_service_pb2.ExportAuditEntriesResponse(chunk=rest)

    async def _begin_export(self, corp_id: str, wanted: AuditFilter) -> Position:
        """Write the export down and return where it begins."""
        async with transaction(self._pool) as connection:
            now = await audit_entries.find_now(connection)
            await record_act(
                connection, corp_id=corp_id, action="audit_log.export", resource="auditEntries"
            )
        return Position.at(min(wanted.end_time, now))

    async def _pages(
        self, corp_id: str, wanted: AuditFilter, before: Position
    ) -> AsyncIterator[list[Entry]]:
        while True:
            async with self._pool.acquire() as connection:
                page = await audit_entries.list_entries(
                    connection, corp_id, wanted, before, _EXPORT_PAGE_SIZE
                )
            yield page
            if len(page) < _EXPORT_PAGE_SIZE:
                return
            before = Position(page[-1].act_time, page[-1].event_id)


def _require_log(principal: Principal, corp_id: str) -> str:
    """Return the corp whose log the caller may read, or the platform's log."""
    if principal.kind is PrincipalKind.PLATFORM_ADMINISTRATOR:
        if corp_id:
            # Whoever runs the deployment has no business in a corp.
            raise corp_not_found_error(corp_id)
        return PLATFORM_LOG
    corp_id = principal.require_corp(corp_id)
    require(principal, Right.READ_AUDIT_LOG, Resource(corp_id))
    return corp_id


def _read_filter(message: audit_service_pb2.AuditFilter) -> AuditFilter:
    return build_filter(
        message.start_time if message.HasField("start_time") else None,
        message.end_time if message.HasField("end_time") else None,
        message.actor,
        message.action_prefix,
        message.resource,
    )
