"""From records to departments: the file of mode REPLACE_DEPARTMENTS. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from tieline.chassis.fields import USER_ID_PATTERN
from tieline.directory.departments.rules import (
    MAX_DEPARTMENT_ID,
    MAX_LEADERS,
    MAX_ORDER,
    ROOT_DEPARTMENT_ID,
    normalise_path,
)
from tieline.directory.imports.columns import (
    DEPARTMENT_HEADERS,
    REQUIRED_DEPARTMENT_COLUMNS,
    Header,
)
from tieline.directory.imports.csv_rows import CsvMalformedError, CsvRecord
from tieline.directory.imports.member_rows import RowError

_NAME_RULE = 'must have 1 to 64 characters, none of \\ : * ? " < > | / or control characters'
_LEADERS_RULE = f"must be at most {MAX_LEADERS} user ids, each once, with ; between them"
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

    name_en: str | None = None
    """None if the file leaves the column out."""

    leaders: tuple[str, ...] | None = None
    """User ids, the first leader's first; None if the file leaves the column out."""


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


def keep_leaders(file: DepartmentFile, inside: Collection[tuple[int, str]]) -> DepartmentFile:
    """Return the file without leaders who are not members of the department.

    ``inside`` are the departments and user ids of those who are. Whoever brings a corp in brings
    departments first: nobody is in them then, and what members lead is told by their own file.
    """
    rows = [
        row
        if row.leaders is None
        else row._replace(
            leaders=tuple(each for each in row.leaders if (row.department_id, each) in inside)
        )
        for row in file.rows
    ]
    return replace(file, rows=rows)


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
    name_en = _read_name_en(values.get("name_en"), problems)
    leaders = _read_leaders(values.get("leaders"), problems)
    if department_id:
        read.named_ids.add(department_id)
    if problems:
        return [RowError(line, header.name_of(column), text) for column, text in problems]
    assert department_id is not None, "problems name it"
    assert parent_id is not None, "problems name it"
    assert order is not None, "problems name it"
    return DepartmentRow(line, department_id, values["name"], parent_id, order, name_en, leaders)


def _read_name_en(text: str | None, problems: list[tuple[str, str]]) -> str | None:
    if text and not _is_name(text):
        problems.append(("name_en", f"{_NAME_RULE}; or be empty"))
    return text


def _read_leaders(text: str | None, problems: list[tuple[str, str]]) -> tuple[str, ...] | None:
    if not text:
        return None if text is None else ()
    user_ids = tuple(each.strip().lower() for each in text.split(";"))
    are_right = all(map(USER_ID_PATTERN.fullmatch, user_ids))
    if not are_right or not len(set(user_ids)) == len(user_ids) <= MAX_LEADERS:
        problems.append(("leaders", _LEADERS_RULE))
    return user_ids


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
