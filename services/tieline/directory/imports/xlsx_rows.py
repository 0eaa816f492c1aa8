"""XLSX: the first sheet's rows as records, a few at a time.

``xlsx_safety`` checks the file first. Formulas give the values that the spreadsheet last computed.
"""

import datetime as dt
from collections.abc import Iterator
from itertools import islice
from typing import Any, BinaryIO
from xml.etree import ElementTree as ET

import openpyxl

from tieline.directory.imports.columns import MAX_COLUMNS
from tieline.directory.imports.csv_rows import CsvRecord
from tieline.directory.imports.xlsx_safety import FileMalformedError, check_workbook

# Rows that are missing between two are made up as empty ones, so that one cell in row 99,999,999
# would take minutes; and one cell far to the right as many cells in its row.
MAX_ROW_NUMBER = 500_001

# About 10 ms of reading: other calls wait no longer than that for the event loop.
_SLICE_ROWS = 100

# What openpyxl raises on parts that are XML and still no workbook: it documents none of them.
_READ_ERRORS = (
    ET.ParseError,
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    TypeError,
    ValueError,
)


def read_workbook(file: BinaryIO) -> Iterator[list[CsvRecord]]:
    """Yield the rows of the first sheet, a slice at a time; empty rows are no records.

    ``line`` is the row's number in the sheet. Rows are as wide as the first one; longer ones keep
    what stands behind its end, up to one column more than a file may have.
    """
    check_workbook(file)
    try:
        # Without keep_links no other workbook is looked for.
        workbook = openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
    except _READ_ERRORS as error:
        raise _unreadable(error) from None
    try:
        yield from _read_slices(workbook)
    except _READ_ERRORS as error:
        raise _unreadable(error) from None
    finally:
        workbook.close()


def _read_slices(workbook: Any) -> Iterator[list[CsvRecord]]:
    if not workbook.worksheets:
        raise FileMalformedError("the workbook has no sheet")
    sheet = workbook.worksheets[0]
    # What the sheet says of its size is not to be trusted: it would be padded to it.
    sheet.reset_dimensions()
    cells = sheet.iter_rows(values_only=True, max_row=MAX_ROW_NUMBER + 1, max_col=MAX_COLUMNS + 1)
    rows = enumerate(cells, start=1)
    width = 0
    while taken := list(islice(rows, _SLICE_ROWS)):
        records = []
        for number, cells in taken:
            if number > MAX_ROW_NUMBER:
                raise FileMalformedError(f"the sheet has rows beyond row {MAX_ROW_NUMBER}")
            if cells.count(None) == len(cells):
                continue
            values = _trim([_to_text(cell) for cell in cells], width)
            width = width or len(values)
            if any(values):
                records.append(CsvRecord(number, 0, values))
        yield records


def _trim(values: list[str], width: int) -> list[str]:
    """Drop empty values behind the width, and fill the row up to it."""
    while len(values) > width and not values[-1]:
        values.pop()
    values += [""] * (width - len(values))
    return values


def _to_text(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return "1" if cell else "0"
    # A spreadsheet has no other numbers: a mobile number typed as one is a float.
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, dt.datetime | dt.date | dt.time):
        return cell.isoformat()
    return str(cell)


def _unreadable(error: Exception) -> FileMalformedError:
    return FileMalformedError(f"the workbook can't be read ({type(error).__name__})")
