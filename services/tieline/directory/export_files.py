"""An export: the corp at one moment, written to a file on disk, and the file read back in pieces.

To disk first: the snapshot lasts as long as the database takes and not as long as the caller reads,
and an export that fails fails before its first byte.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell

from tieline.chassis.postgres import Connection, Pool
from tieline.directory.csv_rows import Encoding
from tieline.directory.exports import (
    CsvWriter,
    Table,
    department_header,
    department_row,
    member_header,
    member_row,
)
from tieline.directory.import_options import Format
from tieline.directory.record_files import temporary_file
from tieline.directory.repositories import department_replacement, exports, imports

CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What file is wanted."""

    format: Format
    encoding: Encoding
    has_mark: bool


Rows = list[list[str]]


async def export(
    pool: Pool, corp_id: str, table: Table, options: ExportOptions
) -> AsyncGenerator[bytes, None]:
    """Yield the file in pieces."""
    with temporary_file() as file:
        async with pool.acquire() as connection:
            rows = read_rows(connection, corp_id, table)
            # One snapshot for all that is read, and nothing that waits for it.
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                await _write(file, rows, options)
        file.seek(0)
        while piece := file.read(CHUNK_BYTES):
            yield piece


async def read_rows(
    connection: Connection, corp_id: str, table: Table
) -> AsyncGenerator[Rows, None]:
    """Yield the header, and then the rows some at a time."""
    if table is Table.DEPARTMENTS:
        stored = await department_replacement.list_stored(connection, corp_id)
        # Parents first, as people read a tree.
        ordered = sorted(stored.values(), key=lambda each: (each.path.split("/"), each.path))
        yield [department_header(), *map(department_row, ordered)]
        return
    header = member_header(await imports.list_text_attributes(connection, corp_id))
    paths = await exports.list_paths(connection, corp_id)
    yield [header]
    async for members in exports.list_members(connection, corp_id):
        yield [member_row(member, paths, header) for member in members]


async def _write(file: BinaryIO, rows: AsyncIterator[Rows], options: ExportOptions) -> None:
    if options.format is Format.XLSX:
        await _write_workbook(file, rows)
        return
    writer = CsvWriter(options.encoding, has_mark=options.has_mark)
    async for some in rows:
        file.write(writer.encode(some))


async def _write_workbook(file: BinaryIO, rows: AsyncIterator[Rows]) -> None:
    # Rows go to a temporary file of openpyxl's own as they are appended.
    workbook = Workbook(write_only=True)
    sheet = workbook.create_sheet("tieline")
    async for some in rows:
        for row in some:
            sheet.append(_text_cells(sheet, row))
        await asyncio.sleep(0)
    # Packing takes seconds for a large corp.
    await asyncio.to_thread(workbook.save, file)


def _text_cells(sheet: Any, row: Sequence[str]) -> list[object]:
    """Return the row's cells; what would be taken for a formula is marked as text."""
    return [_text_cell(sheet, value) if value.startswith("=") else value for value in row]


def _text_cell(sheet: Any, value: str) -> object:
    cell = WriteOnlyCell(sheet, value)
    cell.data_type = "s"
    return cell
