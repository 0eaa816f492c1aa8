"""ExportService: translates between protobuf and the files, nothing else."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from tieline.api.directory.v1 import export_service_pb2, export_service_pb2_grpc
from tieline.chassis.audit import build_audit_event
from tieline.chassis.authorization import Resource, Right, require
from tieline.chassis.calls import current_principal
from tieline.chassis.fields import raise_violations
from tieline.chassis.grpc_context import Context
from tieline.chassis.outbox import insert_events
from tieline.chassis.postgres import Pool, transaction
from tieline.directory.exports.files import ExportOptions, export
from tieline.directory.exports.rows import Table
from tieline.directory.imports.csv_rows import Encoding
from tieline.directory.imports.messages import ENCODINGS, FORMATS
from tieline.directory.imports.options import Format
from tieline.directory.places import Places
from tieline.directory.repositories import SCHEMA, corps
from tieline.directory.visibility.viewers import Viewers

# Each keeps a connection of its own from its first row to its last and half a core of PostgreSQL.
MAX_EXPORTS = 2

_Request = export_service_pb2.ExportMembersRequest | export_service_pb2.ExportDepartmentsRequest


class ExportServicer(export_service_pb2_grpc.ExportServiceServicer):
    """Sends files of the callers' corps."""

    def __init__(self, pool: Pool, exports: Pool, viewers: Viewers) -> None:
        """``exports`` has a connection for each of the exports that may run at once."""
        self._pool = pool
        self._exports = exports
        self._places = Places(MAX_EXPORTS, "TOO_MANY_EXPORTS", "exports")
        self._viewers = viewers

    async def ExportMembers(
        self,
        request: export_service_pb2.ExportMembersRequest,
        context: Context,
    ) -> AsyncGenerator[export_service_pb2.ExportMembersResponse, None]:
        """Send the members."""
        async with aclosing(self._export(request, Table.MEMBERS)) as pieces:
            async for piece in pieces:
                yield export_service_pb2.ExportMembersResponse(chunk=piece)

    async def ExportDepartments(
        self,
        request: export_service_pb2.ExportDepartmentsRequest,
        context: Context,
    ) -> AsyncGenerator[export_service_pb2.ExportDepartmentsResponse, None]:
        """Send the departments."""
        async with aclosing(self._export(request, Table.DEPARTMENTS)) as pieces:
            async for piece in pieces:
                yield export_service_pb2.ExportDepartmentsResponse(chunk=piece)

    async def _export(self, request: _Request, table: Table) -> AsyncGenerator[bytes, None]:
        principal = current_principal()
        corp_id = principal.require_corp(request.corp_id)
        options = _read_options(request)
        require(principal, Right.MANAGE_DIRECTORY, Resource(corp_id))
        await self._viewers.require_whole_corp(principal, corp_id)
        with self._places.one():
            await self._record(corp_id, options, table)
            async with aclosing(export(self._exports, corp_id, table, options)) as pieces:
                async for piece in pieces:
                    yield piece

    async def _record(self, corp_id: str, options: ExportOptions, table: Table) -> None:
        async with transaction(self._pool) as connection:
            if not await corps.has_corp(connection, corp_id):
                raise corps.corp_not_ready_error()
            event = await build_audit_event(
                connection,
                SCHEMA,
                corp_id=corp_id,
                action=f"{SCHEMA}.export",
                resource=table.value,
                details={"format": options.format.value},
            )
            await insert_events(connection, SCHEMA, [event])


def _read_options(request: _Request) -> ExportOptions:
    format_ = FORMATS.get(request.format)
    encoding = ENCODINGS.get(request.encoding)
    violations: dict[str, str] = {}
    if format_ is None:
        violations["format"] = "must be one of the formats"
    if encoding is None or encoding is Encoding.AUTO:
        violations["encoding"] = "must be UTF_8 or GB18030"
    if request.byte_order_mark and encoding is not Encoding.UTF_8:
        violations["byte_order_mark"] = "goes with UTF-8 alone"
    raise_violations(violations)
    return ExportOptions(format_ or Format.CSV, encoding or Encoding.UTF_8, request.byte_order_mark)
