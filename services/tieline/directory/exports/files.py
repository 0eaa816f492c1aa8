"""An export: the corp at one moment, written to a file on disk, and the file read back in pieces.

To disk first: the snapshot lasts as long as the database takes and not as long as the caller reads,
and an export that fails fails before its first byte.
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell

from tieline.chassis.bulkheads import EXPORTS
from tieline.chassis.postgres import Connection, Pool
from tieline.directory.exports.rows import (
    CsvWriter,
    Table,
    department_header,
    department_row,
    member_header,
    member_row,
)
from tieline.directory.imports.csv_rows import Encoding
from tieline.directory.imports.options import Format
from tieline.directory.imports.record_files import temporary_file
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
        writer = _find_writer(file, options)
        # One snapshot for all that is read, and nothing that waits for it.
        async with (
            pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            async for rows in read_rows(connection, corp_id, table):
                writer.write(rows)
                await asyncio.sleep(0)
        await writer.finish()
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
    header = member_header(await imports.find_attribute_kinds(connection, corp_id))
    paths = await exports.list_paths(connection, corp_id)
    yield [header]
    async for members in exports.list_members(connection, corp_id):
        yield [member_row(member, paths, header) for member in members]


class _Writer(Protocol):
    """Puts rows into a file."""

    def write(self, rows: Rows) -> None:
        """Add the rows."""

    async def finish(self) -> None:
        """Have all of them be in the file."""


class _CsvFile:
    """Rows as lines."""

    def __init__(self, file: BinaryIO, options: ExportOptions) -> None:
        self._file = file
        self._writer = CsvWriter(options.encoding, has_mark=options.has_mark)

    def write(self, rows: Rows) -> None:
        self._file.write(self._writer.encode(rows))

    async def finish(self) -> None:
        self._file.flush()


class _Workbook:
    """Rows of a sheet; they go to a temporary file of openpyxl's own until it is packed."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._workbook = Workbook(write_only=True)
        self._sheet: Any = self._workbook.create_sheet("tieline")

    def write(self, rows: Rows) -> None:
        for row in rows:
            self._sheet.append([self._to_cell(value) for value in row])

    def _to_cell(self, value: str) -> object:
        if not value.startswith("="):
            return value
        # What would be taken for a formula is marked as text.
        cell = WriteOnlyCell(self._sheet, value)
        cell.data_type = "s"
        return cell

    async def finish(self) -> None:
        # Packing takes seconds for a large corp.
        await EXPORTS.run(self._workbook.save, self._file)


def _find_writer(file: BinaryIO, options: ExportOptions) -> _Writer:
    return _Workbook(file) if options.format is Format.XLSX else _CsvFile(file, options)
