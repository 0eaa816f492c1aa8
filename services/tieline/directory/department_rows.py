"""From records to departments: the file of mode REPLACE_DEPARTMENTS. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tieline.directory.csv_rows import CsvMalformedError, CsvRecord
from tieline.directory.departments import (
    MAX_DEPARTMENT_ID,
    MAX_ORDER,
    ROOT_DEPARTMENT_ID,
    normalise_path,
)
from tieline.directory.import_columns import (
    DEPARTMENT_HEADERS,
    REQUIRED_DEPARTMENT_COLUMNS,
    Header,
)
from tieline.directory.member_rows import RowError

_NAME_RULE = 'must have 1 to 64 characters, none of \\ : * ? " < > | / or control characters'
_ID_RULE = f"must be a number from 1 to {MAX_DEPARTMENT_ID}"


class DepartmentRow(NamedTuple):
    """A row that keeps every rule that concerns it alone."""

    line: int
    department_id: int
    name: str
    parent_department_id: int
    """0 for the root."""

    order: int
    """0 leaves the department where it is among its siblings."""


@dataclass(slots=True)
class DepartmentFile:
    """What a file of departments says."""

    rows: list[DepartmentRow] = field(default_factory=list)
    errors: list[RowError] = field(default_factory=list)
    refused: int = 0
    named_ids: set[int] = field(default_factory=set)
    """Of all rows, good and bad, where they can be read: these departments stay."""


def read_departments(records: Sequence[CsvRecord]) -> DepartmentFile:
    """Return what the records say, the header first; a wrong header is CsvMalformedError."""
    if not records:
        raise CsvMalformedError(1, "the file is empty; it must begin with a header")
    header = Header(records[0], DEPARTMENT_HEADERS, REQUIRED_DEPARTMENT_COLUMNS)
    read = DepartmentFile()
    for record in records[1:]:
        row = _read_row(header, record, read)
        if isinstance(row, DepartmentRow):
            read.rows.append(row)
        else:
            read.errors += row
            read.refused += 1
    return read


def _read_row(
    header: Header, record: CsvRecord, read: DepartmentFile
) -> DepartmentRow | list[RowError]:
    line = record.line
    if len(record.values) != header.width:
        problem = record.problem or (
            f"has {len(record.values)} columns; the header has {header.width}"
        )
        return [RowError(line, "", problem)]
    values = {column: record.values[at].strip() for column, at in header.places.items()}
    department_id = _to_number(values["id"], MAX_DEPARTMENT_ID)
    is_root = department_id == ROOT_DEPARTMENT_ID
    parent_id = _to_number(values["parent_id"] or "0", MAX_DEPARTMENT_ID)
    order = _to_number(values.get("order") or "0", MAX_ORDER)
    problems: list[tuple[str, str]] = []
    if not _is_name(values["name"]):
        problems.append(("name", _NAME_RULE))
    if not department_id:
        problems.append(("id", _ID_RULE))
    elif department_id in read.named_ids:
        problems.append(("id", "is on an earlier line of this file already"))
    if parent_id is None or (parent_id == 0) is not is_root:
        problems.append(("parent_id", f"{_ID_RULE}; 0 or empty for the root (id 1) alone"))
    if order is None:
        problems.append(("order", f"must be a number from 0 to {MAX_ORDER}, or empty"))
    if department_id:
        read.named_ids.add(department_id)
    if problems:
        return [RowError(line, header.name_of(column), text) for column, text in problems]
    assert department_id is not None, "problems name it"
    assert parent_id is not None, "problems name it"
    assert order is not None, "problems name it"
    return DepartmentRow(line, department_id, values["name"], parent_id, order)


def _to_number(text: str, maximum: int) -> int | None:
    # int() takes more than digits: signs, underscores, other scripts'.
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(maximum))):
        return None
    number = int(text)
    return number if number <= maximum else None


def _is_name(text: str) -> bool:
    try:
        return bool(normalise_path(text)) and "/" not in text
    except ValueError:
        return False
