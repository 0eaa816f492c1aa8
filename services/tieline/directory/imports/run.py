"""The import of a whole file: what can be decided only when its last row is known.

    UPSERT               batches, as they are read
    REPLACE_MEMBERS      a first pass counts who would leave and asks the guard; then batches; then
                         those whom the file does not name leave, a batch at a time
    REPLACE_DEPARTMENTS  see ``department_replacement``: one transaction

A dry run goes the same way and writes nothing. An import that was ended anywhere goes on behind
the rows that are done; a pass that writes nothing is simply made again.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import BinaryIO

from tieline.chassis.postgres import Pool, transaction
from tieline.directory.corp_writes import CorpWrite
from tieline.directory.imports.batch_builder import BATCH_RECORDS, Batch, BatchBuilder
from tieline.directory.imports.options import Options, check_removals, is_mass_delete
from tieline.directory.imports.prefetch import prefetched
from tieline.directory.imports.preview import Preview
from tieline.directory.imports.progress import Keeper, Progress
from tieline.directory.imports.record_files import read_records
from tieline.directory.imports.totals import Totals
from tieline.directory.imports.writes import MemberWriter
from tieline.directory.members.changes import leave
from tieline.directory.repositories import removals


@dataclass(slots=True)
class RunState:
    """How far an import is."""

    totals: Totals = field(default_factory=Totals)
    total_rows: int = 0
    """Rows of the file; 0 until it was read once."""

    checked_change_number: int | None = None
    """The corp's last change when the guard let the replacement pass; None before."""


class MemberFileImport:
    """One file of members on its way into one corp."""

    def __init__(
        self,
        pool: Pool,
        corp_id: str,
        writer: MemberWriter,
        keeper: Keeper,
        options: Options,
        attribute_kinds: Mapping[str, str],
    ) -> None:
        self._pool = pool
        self._corp_id = corp_id
        self._writer = writer
        self._keeper = keeper
        self._options = options
        self._attribute_kinds = attribute_kinds

    async def upsert(self, file: BinaryIO, state: RunState) -> AsyncGenerator[Progress, None]:
        """Store the rows behind those that are done, a batch in each transaction."""
        batches = prefetched(self._read_batches(file, skip=state.totals.done_rows))
        preview = Preview() if self._options.is_dry_run else None
        async with aclosing(batches):
            async for batch in batches:
                yield await self._store(batch, state.totals, preview)

    async def _store(self, batch: Batch, totals: Totals, preview: Preview | None) -> Progress:
        if preview is not None:
            async with self._pool.acquire() as connection:
                outcome = await self._writer.preview(connection, batch, preview)
            errors = totals.add(outcome)
            await self._keeper.tell_alive()
            return Progress(totals, errors, batch.end_byte)
        async with transaction(self._pool) as connection:
            outcome = await self._writer.write(connection, batch)
            errors = totals.add(outcome)
            await self._keeper.keep(connection, totals, errors)
        return Progress(totals, errors, batch.end_byte)

    async def find_present(self, file: BinaryIO, state: RunState) -> set[str]:
        """Return the members whom the file names, good row or not."""
        present: set[str] = set()
        state.total_rows = 0
        async with aclosing(self._read_batches(file)) as batches:
            async for batch in batches:
                state.total_rows += batch.record_count
                user_ids = {row.user_id for row in batch.read.rows} | batch.read.refused_user_ids
                async with self._pool.acquire() as connection:
                    present |= await removals.find_listed(connection, self._corp_id, user_ids)
                await self._keeper.tell_alive()
        return present

    async def check_removals(self, present: set[str], kept: set[str], state: RunState) -> int:
        """Ask the guard how many may leave; return how many will."""
        async with self._pool.acquire() as connection:
            number = await removals.find_last_change_number(connection, self._corp_id)
            total = await removals.count_listed(connection, self._corp_id)
            staying = present | await removals.find_listed(connection, self._corp_id, kept)
        count = max(0, total - len(staying))
        if self._options.is_dry_run:
            state.totals.confirmation_needed = is_mass_delete(count, total)
        else:
            check_removals(count, total, self._options.confirmed_removals)
        state.checked_change_number = number
        return count

    async def remove_absent(
        self, staying: set[str], state: RunState
    ) -> AsyncGenerator[Progress, None]:
        """Let those leave who are not staying and were not changed since the guard was asked."""
        number = state.checked_change_number
        assert number is not None, "the guard comes first"
        after = ""
        while True:
            async with self._pool.acquire() as connection:
                listed = await removals.list_unchanged(
                    connection, self._corp_id, number, after, BATCH_RECORDS
                )
            if not listed:
                return
            after = listed[-1]
            absent = [user_id for user_id in listed if user_id not in staying]
            if absent:
                await self._remove(absent, number, state.totals)
                yield Progress(state.totals, [])

    async def _remove(self, user_ids: list[str], change_number: int, totals: Totals) -> None:
        async with transaction(self._pool) as connection:
            write = await CorpWrite.begin(connection, self._corp_id)
            # Again, under the lock: the corp may have been given on since the import began.
            leavers = [user_id for user_id in user_ids if user_id != write.corp.owner_user_id]
            leaving = await removals.list_still_unchanged(
                connection, self._corp_id, leavers, change_number
            )
            if leaving:
                await leave(write, leaving)
                await write.finish()
            totals.removed += len(leaving)
            await self._keeper.keep(connection, totals, [])

    async def _read_batches(self, file: BinaryIO, *, skip: int = 0) -> AsyncGenerator[Batch, None]:
        """Yield the file's batches without the first ``skip`` rows."""
        builder = BatchBuilder(self._attribute_kinds)
        # The header is no row.
        position = -1
        async with aclosing(read_records(file, self._options)) as slices:
            async for records in slices:
                for record in records:
                    if position < 0 or position >= skip:
                        batch = builder.add(record)
                        if batch is not None:
                            yield batch
                    position += 1
        rest = builder.finish()
        if rest is not None:
            yield rest
