"""The flow of an import: chunks come in, batches are committed, progress goes out.

While one batch is being committed the next one is read and parsed; nothing further ahead, so memory
does not grow with the file. No transaction is open while this waits for the caller's bytes.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import aclosing
from dataclasses import dataclass

from tieline.api.directory.v1 import directory_pb2, directory_service_pb2
from tieline.chassis.ids import new_uuid7
from tieline.chassis.outbox import Event, build_event, insert_events
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.directory.csv_rows import CsvReader
from tieline.directory.departments import list_with_ancestors, plan_departments
from tieline.directory.import_batches import Batch, BatchBuilder, BatchPlan, plan_batch
from tieline.directory.member_rows import RowError
from tieline.directory.repositories import SCHEMA, corps, imports

MEMBERS_IMPORTED = "tieline.directory.v1.members_imported"

# 64 bytes a user id and a few for framing: an eighth of what an event may have.
EVENT_USER_IDS = 1000

# Enough for a person to see what is wrong with the file; more would not be read.
MAX_ERRORS = 1000

# Some 700 rows, 5 ms: other calls wait no longer than that for the event loop.
_SLICE_BYTES = 64 * 1024

# The open API's limit of a corp; a file that names more departments asks for them again.
_MAX_KNOWN_DEPARTMENTS = 30_000


@dataclass(slots=True)
class _Totals:
    added: int = 0
    updated: int = 0
    refused: int = 0
    departments_added: int = 0
    errors: int = 0
    end_byte: int = 0


class MemberImport:
    """One file on its way into one corp."""

    def __init__(self, pool: Pool, corp_id: str) -> None:
        self._pool = pool
        self._corp_id = corp_id
        self._import_id = new_uuid7()
        self._builder = BatchBuilder()
        # By path. Departments stay, and what fails to commit ends the import.
        self._department_ids: dict[str, int] = {}
        self._totals = _Totals()

    async def run(
        self, chunks: AsyncIterator[bytes]
    ) -> AsyncGenerator[directory_service_pb2.ImportMembersResponse, None]:
        """Commit the file's rows; yield progress after each transaction, the summary at the end.

        Raises CsvMalformedError where the file can't be read further; the batches before stay.
        """
        async with aclosing(self._read_batches(chunks)) as batches:
            reading = asyncio.create_task(_next(batches))
            try:
                while (batch := await reading) is not None:
                    reading = asyncio.create_task(_next(batches))
                    yield await self._commit(batch)
            finally:
                # The generator can't be closed while its next item is being made.
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
        yield self._summarise()

    async def _read_batches(self, chunks: AsyncIterator[bytes]) -> AsyncGenerator[Batch, None]:
        reader = CsvReader()
        async for chunk in chunks:
            for start in range(0, len(chunk), _SLICE_BYTES):
                for record in reader.feed(chunk[start : start + _SLICE_BYTES]):
                    batch = self._builder.add(record)
                    if batch is not None:
                        yield batch
                await asyncio.sleep(0)
        for record in reader.finish():
            batch = self._builder.add(record)
            if batch is not None:
                yield batch
        rest = self._builder.finish()
        if rest is not None:
            yield rest

    async def _commit(self, batch: Batch) -> directory_service_pb2.ImportMembersResponse:
        totals = self._totals
        if batch.rows:
            plan = await self._write(batch)
        else:
            plan = BatchPlan([], [], 0, batch.errors, batch.refused)
        totals.added += plan.added
        totals.updated += len(plan.rows) - plan.added
        totals.refused += plan.refused
        totals.end_byte = batch.end_byte
        errors = plan.errors[: MAX_ERRORS - totals.errors]
        totals.errors += len(errors)
        return directory_service_pb2.ImportMembersResponse(
            committed_rows=totals.added + totals.updated,
            committed_bytes=batch.end_byte,
            errors=[_to_proto(error) for error in errors],
        )

    async def _write(self, batch: Batch) -> BatchPlan:
        async with transaction(self._pool) as connection:
            corp = await corps.lock_corp(connection, self._corp_id)
            await self._find_departments(connection, {row.department_path for row in batch.rows})
            plan = plan_batch(
                batch,
                await imports.list_stored_members(connection, self._corp_id, batch.rows),
                import_id=self._import_id,
                columns=self._builder.columns,
                department_ids=self._department_ids,
            )
            await self._make_departments(connection, plan, corp.next_department_id)
            await imports.upsert_members(
                connection, self._corp_id, self._import_id, plan.rows, self._department_ids
            )
            await insert_events(connection, SCHEMA, self._build_events(plan.changed_user_ids))
        return plan

    async def _find_departments(self, connection: Connection, paths: Collection[str]) -> None:
        """Learn which of the paths, and of those above them, exist."""
        if len(self._department_ids) > _MAX_KNOWN_DEPARTMENTS:
            self._department_ids.clear()
        unknown = list_with_ancestors(paths) - self._department_ids.keys()
        if unknown:
            self._department_ids |= await imports.find_department_ids(
                connection, self._corp_id, unknown
            )

    async def _make_departments(
        self, connection: Connection, plan: BatchPlan, next_department_id: int
    ) -> None:
        departments = plan_departments(
            {row.department_path for row in plan.rows}, self._department_ids, next_department_id
        )
        if departments:
            await imports.insert_departments(connection, self._corp_id, departments)
            self._department_ids |= {new.path: new.department_id for new in departments}
            self._totals.departments_added += len(departments)

    def _build_events(self, user_ids: list[str]) -> list[Event]:
        return [
            build_event(
                MEMBERS_IMPORTED,
                self._corp_id,
                self._corp_id,
                directory_pb2.MembersImported(
                    corp_id=self._corp_id, user_ids=user_ids[start : start + EVENT_USER_IDS]
                ),
            )
            for start in range(0, len(user_ids), EVENT_USER_IDS)
        ]

    def _summarise(self) -> directory_service_pb2.ImportMembersResponse:
        totals = self._totals
        return directory_service_pb2.ImportMembersResponse(
            committed_rows=totals.added + totals.updated,
            committed_bytes=totals.end_byte,
            summary=directory_service_pb2.ImportMembersSummary(
                added=totals.added,
                updated=totals.updated,
                refused=totals.refused,
                departments_added=totals.departments_added,
            ),
        )


async def _next(batches: AsyncIterator[Batch]) -> Batch | None:
    return await anext(batches, None)


def _to_proto(error: RowError) -> directory_service_pb2.RowError:
    return directory_service_pb2.RowError(line=error.line, column=error.column, reason=error.reason)
