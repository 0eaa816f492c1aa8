"""The replacement of all departments by a file's, in one transaction.

In one, and not in batches: on the way from one tree to another there are trees that nobody meant.
The corp's lock is held for some 2 s where all of 30,000 departments change.
"""

from contextlib import aclosing
from typing import BinaryIO

from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.directory.corp_writes import CorpWrite
from tieline.directory.departments.changes import set_leaders
from tieline.directory.departments.rules import MAX_DEPARTMENTS
from tieline.directory.imports.csv_rows import CsvRecord
from tieline.directory.imports.department_replacement import Replacement, plan_replacement
from tieline.directory.imports.department_rows import DepartmentFile, keep_leaders, read_departments
from tieline.directory.imports.member_rows import RowError
from tieline.directory.imports.options import Options, check_removals, is_mass_delete
from tieline.directory.imports.progress import Keeper, Progress
from tieline.directory.imports.record_files import FileTooLargeError, read_records
from tieline.directory.imports.totals import Totals
from tieline.directory.repositories import department_replacement as repository
from tieline.directory.repositories import tags


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
            plan, total = await _plan(connection, corp_id, file)
        totals.confirmation_needed = is_mass_delete(len(plan.removed_ids), total)
        return Progress(totals, _count(plan, totals))
    async with transaction(pool) as connection:
        write = await CorpWrite.begin(connection, corp_id)
        plan, total = await _plan(connection, corp_id, file)
        check_removals(len(plan.removed_ids), total, options.confirmed_removals)
        await _write(write, plan)
        await write.finish()
        errors = _count(plan, totals)
        await keeper.keep(connection, totals, errors)
    return Progress(totals, errors)


async def _plan(
    connection: Connection, corp_id: str, file: DepartmentFile
) -> tuple[Replacement, int]:
    """Return what is to be done, and how many departments there are."""
    stored = await repository.list_stored(connection, corp_id)
    leaders = [(row.department_id, each) for row in file.rows for each in row.leaders or ()]
    inside = await repository.find_inside(connection, corp_id, leaders) if leaders else set()
    return plan_replacement(keep_leaders(file, inside), stored), len(stored)


def _count(plan: Replacement, totals: Totals) -> list[RowError]:
    totals.departments_added = len(plan.added)
    totals.departments_updated = len(plan.updated)
    totals.removed = len(plan.removed_ids)
    totals.refused = plan.refused
    totals.unchanged = plan.unchanged
    return totals.take_errors(plan.errors)


async def _write(write: CorpWrite, plan: Replacement) -> None:
    connection, corp_id = write.connection, write.corp_id
    updated_ids = [each.department_id for each in plan.updated]
    await repository.take_paths_away(connection, corp_id, [*updated_ids, *plan.removed_ids])
    if plan.added:
        number = await write.take_numbers(len(plan.added))
        await repository.insert_placed(connection, corp_id, plan.added, number)
    if plan.updated:
        number = await write.take_numbers(len(plan.updated))
        await repository.update_placed(connection, corp_id, plan.updated, number)
    if plan.leaders:
        await set_leaders(write, plan.leaders)
    # Last, since what was below them may have moved away.
    if plan.removed_ids:
        untagged = await tags.untag_departments(connection, corp_id, plan.removed_ids)
        await write.record_removals("tag_department", [f"{tag}/{id_}" for tag, id_ in untagged])
        write.note_tags(tag for tag, _ in untagged)
        await repository.delete_departments(connection, corp_id, plan.removed_ids)
        await write.record_removals("department", [str(each) for each in plan.removed_ids])
    write.note_departments(each.department_id for each in (*plan.added, *plan.updated))
    write.note_departments(plan.removed_ids)
