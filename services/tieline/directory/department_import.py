"""The replacement of all departments by a file's, in one transaction.

In one, and not in batches: on the way from one tree to another there are trees that nobody meant.
The corp's lock is held for some 2 s where all of 30,000 departments change.
"""

from contextlib import aclosing
from typing import BinaryIO

from tieline.api.directory.v1 import directory_pb2
from tieline.chassis.outbox import build_event, insert_events
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.directory.csv_rows import CsvRecord
from tieline.directory.department_replacement import Replacement, plan_replacement
from tieline.directory.department_rows import MAX_DEPARTMENTS, DepartmentFile, read_departments
from tieline.directory.import_options import Options, check_removals, is_mass_delete
from tieline.directory.import_progress import Keeper, Progress
from tieline.directory.import_totals import Totals
from tieline.directory.member_rows import RowError
from tieline.directory.record_files import FileTooLargeError, read_records
from tieline.directory.repositories import SCHEMA, corps
from tieline.directory.repositories import department_replacement as repository

DEPARTMENTS_CHANGED = "tieline.directory.v1.departments_changed"

# Some bytes an id: a hundredth of what an event may have.
_EVENT_DEPARTMENT_IDS = 1000


async def read_file(file: BinaryIO, options: Options) -> DepartmentFile:
    """Return what the file says; it is held in memory."""
    records: list[CsvRecord] = []
    async with aclosing(read_records(file, options)) as slices:
        async for piece in slices:
            records += piece
            if len(records) > MAX_DEPARTMENTS + 1:
                raise FileTooLargeError(f"{MAX_DEPARTMENTS} departments")
    return read_departments(records)


async def replace_departments(
    pool: Pool, corp_id: str, file: DepartmentFile, options: Options, keeper: Keeper, totals: Totals
) -> Progress:
    """Carry the file out, or tell what it would do."""
    if options.is_dry_run:
        async with pool.acquire() as connection:
            stored = await repository.list_stored(connection, corp_id)
        plan = plan_replacement(file, stored)
        totals.confirmation_needed = is_mass_delete(len(plan.removed_ids), len(stored))
        return Progress(totals, _count(plan, totals))
    async with transaction(pool) as connection:
        await corps.lock_corp(connection, corp_id)
        stored = await repository.list_stored(connection, corp_id)
        plan = plan_replacement(file, stored)
        check_removals(len(plan.removed_ids), len(stored), options.confirmed_removals)
        await _write(connection, corp_id, plan)
        errors = _count(plan, totals)
        await keeper.keep(connection, totals, errors)
    return Progress(totals, errors)


def _count(plan: Replacement, totals: Totals) -> list[RowError]:
    totals.departments_added = len(plan.added)
    totals.departments_updated = len(plan.updated)
    totals.removed = len(plan.removed_ids)
    totals.refused = plan.refused
    totals.unchanged = plan.unchanged
    return totals.take_errors(plan.errors)


async def _write(connection: Connection, corp_id: str, plan: Replacement) -> None:
    changed = [each.department_id for each in (*plan.added, *plan.updated)] + plan.removed_ids
    if not changed:
        return
    await repository.take_paths_away(
        connection, corp_id, [each.department_id for each in plan.updated]
    )
    gone: list[tuple[str, str]] = []
    if plan.removed_ids:
        tagged = await repository.delete_departments(connection, corp_id, plan.removed_ids)
        gone = [("tag_department", each) for each in tagged]
        gone += [("department", str(each)) for each in plan.removed_ids]
    number = await corps.advance_change_number(
        connection, corp_id, len(plan.added) + len(plan.updated) + len(gone)
    )
    if plan.added:
        await repository.insert_placed(connection, corp_id, plan.added, number)
    number += len(plan.added)
    if plan.updated:
        await repository.update_placed(connection, corp_id, plan.updated, number)
    number += len(plan.updated)
    if gone:
        await repository.insert_removals(connection, corp_id, gone, number)
    await insert_events(
        connection,
        SCHEMA,
        [
            build_event(
                DEPARTMENTS_CHANGED,
                corp_id,
                corp_id,
                directory_pb2.DepartmentsChanged(
                    corp_id=corp_id, department_ids=changed[start : start + _EVENT_DEPARTMENT_IDS]
                ),
            )
            for start in range(0, len(changed), _EVENT_DEPARTMENT_IDS)
        ],
    )
