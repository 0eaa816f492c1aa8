"""An import that its caller waits for."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from functools import partial

from tieline.api.directory.v1 import directory_service_pb2
from tieline.chassis.calls import current_principal
from tieline.chassis.ids import new_uuid7
from tieline.chassis.postgres import Pool
from tieline.directory.imports.csv_rows import Encoding
from tieline.directory.imports.files import FileImport
from tieline.directory.imports.messages import check_range, find_caller_user_id, read_options
from tieline.directory.imports.progress import ImportAudit, Progress, StreamKeeper
from tieline.directory.imports.record_files import take_in, temporary_file
from tieline.directory.imports.run import RunState
from tieline.directory.imports.stream import import_stream
from tieline.directory.imports.writes import Importer, MemberWriter
from tieline.directory.repositories import corps, imports
from tieline.directory.visibility.viewers import Viewers
from tieline.directory.writers import find_writer


class ImportCall:
    """One call of ImportMembers, whose file begins behind the config."""

    def __init__(
        self,
        pool: Pool,
        viewers: Viewers,
        config: directory_service_pb2.ImportMembersConfig,
        max_bytes: int,
    ) -> None:
        """``max_bytes`` bounds files that must be here before they are imported."""
        self._pool = pool
        self._viewers = viewers
        self._config = config
        self._max_bytes = max_bytes

    async def run(self, chunks: AsyncIterator[bytes]) -> AsyncGenerator[Progress, None]:
        """Import the file; yield progress after each transaction, the whole at the end."""
        principal = current_principal()
        corp_id = principal.require_corp(self._config.corp_id)
        options = read_options(self._config.options, "options")
        writing = await find_writer(self._pool, self._viewers, principal, corp_id)
        check_range(writing.principal, corp_id, options.mode)
        async with self._pool.acquire() as connection:
            if not await corps.has_corp(connection, corp_id):
                raise corps.corp_not_ready_error()
            attribute_kinds = await imports.find_attribute_kinds(connection, corp_id)
        import_id = new_uuid7()
        importer = Importer(
            writing.principal.department_ids,
            partial(self._viewers.of, principal, corp_id, app_range=writing.visible_range),
        )
        audit = ImportAudit(corp_id, import_id, options)
        if not options.needs_whole_file and options.encoding is Encoding.UTF_8:
            writer = MemberWriter(corp_id, import_id, importer)
            steps = import_stream(self._pool, writer, audit, attribute_kinds, chunks)
        else:
            file_import = FileImport(
                self._pool,
                corp_id,
                import_id,
                options,
                importer,
                find_caller_user_id(principal),
            )
            steps = self._import_file(file_import, StreamKeeper(audit), chunks)
        async with aclosing(steps):
            async for progress in steps:
                yield progress

    async def _import_file(
        self, file_import: FileImport, keeper: StreamKeeper, chunks: AsyncIterator[bytes]
    ) -> AsyncGenerator[Progress, None]:
        with temporary_file() as file:
            await take_in(chunks, file, self._max_bytes)
            async with aclosing(file_import.run(file, keeper, RunState())) as steps:
                async for progress in steps:
                    yield progress
