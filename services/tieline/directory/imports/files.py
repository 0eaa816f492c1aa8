"""The import of a whole file, whatever its mode: the one way for calls and for jobs."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import BinaryIO

from tieline.chassis.postgres import Pool
from tieline.directory.imports.department_import import read_file, replace_departments
from tieline.directory.imports.options import Mode, Options
from tieline.directory.imports.progress import Keeper, Progress
from tieline.directory.imports.run import MemberFileImport, RunState
from tieline.directory.imports.writes import Importer, MemberWriter
from tieline.directory.repositories import imports, removals


@dataclass(frozen=True, slots=True)
class FileImport:
    """An import of one file into one corp."""

    pool: Pool
    corp_id: str
    import_id: str
    options: Options
    importer: Importer
    caller_user_id: str
    """Who stays, whatever the file says; empty for nobody."""

    async def run(
        self, file: BinaryIO, keeper: Keeper, state: RunState
    ) -> AsyncGenerator[Progress, None]:
        """Go on behind what ``state`` tells; yield progress, the whole at the end."""
        if self.options.mode is Mode.REPLACE_DEPARTMENTS:
            read = await read_file(file, self.options)
            state.total_rows = len(read.rows) + read.refused
            yield await replace_departments(
                self.pool, self.corp_id, read, self.options, keeper, state.totals
            )
        else:
            async with aclosing(self._import_members(file, keeper, state)) as steps:
                async for progress in steps:
                    yield progress
        yield Progress(state.totals, [], is_last=True)

    async def _import_members(
        self, file: BinaryIO, keeper: Keeper, state: RunState
    ) -> AsyncGenerator[Progress, None]:
        async with self.pool.acquire() as connection:
            attribute_kinds = await imports.find_attribute_kinds(connection, self.corp_id)
        writer = MemberWriter(self.corp_id, self.import_id, self.importer)
        members = MemberFileImport(
            self.pool, self.corp_id, writer, keeper, self.options, attribute_kinds
        )
        replaces = self.options.mode is Mode.REPLACE_MEMBERS
        staying: set[str] = set()
        leaving = 0
        if replaces:
            staying = await members.find_present(file, state)
            async with self.pool.acquire() as connection:
                owner = await removals.find_owner(connection, self.corp_id)
            kept = {self.caller_user_id, owner} - {""}
            if state.checked_change_number is None:
                leaving = await members.check_removals(staying, kept, state)
            staying |= kept
        async with aclosing(members.upsert(file, state)) as steps:
            async for progress in steps:
                yield progress
        if replaces and self.options.is_dry_run:
            state.totals.removed = leaving
        elif replaces:
            async with aclosing(members.remove_absent(staying, state)) as steps:
                async for progress in steps:
                    yield progress
