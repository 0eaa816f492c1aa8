"""From CSV records to members: the header's columns and each column's rule. Pure."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from tieline.chassis.fields import CONTROL_CHARACTER_PATTERN, USER_ID_PATTERN
from tieline.directory.csv_rows import CsvMalformedError, CsvRecord
from tieline.directory.departments import normalise_path
from tieline.directory.members import (
    EMAIL_PATTERN,
    EMAIL_RULE,
    MAX_NAME_CHARACTERS,
    MAX_POSITION_CHARACTERS,
    MOBILE_PATTERN,
    MOBILE_RULE,
)

REQUIRED_COLUMNS = ("user_id", "name", "department")
OPTIONAL_COLUMNS = ("position", "mobile", "email")
COLUMNS = REQUIRED_COLUMNS + OPTIONAL_COLUMNS

# Far more than there are columns to know: beyond it the file is something else.
MAX_COLUMNS = 64

USER_ID_RULE = "must be 1 to 64 of 0-9 A-Z a-z _ - @ . and begin with a letter or digit"

# Every member of a corp of 30,000 departments, the open API's limit, finds its path here.
_MAX_CACHED_PATHS = 30_000


class RowError(NamedTuple):
    """Why a row is refused."""

    line: int
    column: str
    """By its name in the header; empty if the row as a whole is wrong."""

    reason: str


class MemberRow(NamedTuple):
    """A row that keeps every rule that concerns it alone. Left-out columns are empty."""

    line: int
    user_id: str
    name: str
    department_path: str
    position: str
    mobile: str
    email: str


class RowReader:
    """Reads the records below one header."""

    def __init__(self, header: CsvRecord) -> None:
        """Take the columns from the header, or raise CsvMalformedError."""
        names = [value.strip() for value in header.values]
        _check_header(header, names)
        self.columns = frozenset(names)
        self._width = len(names)
        # A row gets one empty value after its last, where left-out columns point.
        self._places = [names.index(name) if name in names else len(names) for name in COLUMNS]
        self._paths: dict[str, str] = {}

    def read(self, record: CsvRecord) -> MemberRow | list[RowError]:
        """Return the record's member, or everything that is wrong with it."""
        line, _, values, problem = record
        if len(values) != self._width:
            problem = problem or f"has {len(values)} columns; the header has {self._width}"
            return [RowError(line, "", problem)]
        fields = [value.strip() for value in values]
        fields.append("")
        user_id, name, department, position, mobile, email = [fields[at] for at in self._places]
        path = self._paths.get(department)
        if (
            path is None
            or not USER_ID_PATTERN.fullmatch(user_id)
            or not _is_text(name, 1, MAX_NAME_CHARACTERS)
            or not _is_text(position, 0, MAX_POSITION_CHARACTERS)
            or (mobile and not MOBILE_PATTERN.fullmatch(mobile))
            or (email and not EMAIL_PATTERN.fullmatch(email))
        ):
            errors = self._find_errors(line, user_id, name, department, position, mobile, email)
            if errors:
                return errors
            path = self._paths[department]
        return MemberRow(line, user_id.lower(), name, path, position, mobile, email)

    def _find_errors(self, line: int, *values: str) -> list[RowError]:
        checks: Sequence[Callable[[str], str]] = (
            _check_user_id,
            _check_name,
            self._check_department,
            _check_position,
            _check_mobile,
            _check_email,
        )
        return [
            RowError(line, column, reason)
            for column, check, value in zip(COLUMNS, checks, values, strict=True)
            if (reason := check(value))
        ]

    def _check_department(self, value: str) -> str:
        try:
            path = normalise_path(value)
        except ValueError as error:
            return str(error)
        if len(self._paths) >= _MAX_CACHED_PATHS:
            self._paths.clear()
        self._paths[value] = path
        return ""


def _check_header(header: CsvRecord, names: Sequence[str]) -> None:
    problem = header.problem
    if not problem and len(names) > MAX_COLUMNS:
        problem = f"must have at most {MAX_COLUMNS} columns"
    unknown = [name for name in names if name not in COLUMNS]
    missing = [name for name in REQUIRED_COLUMNS if name not in names]
    if not problem and missing:
        problem = f"lacks {', '.join(missing)}"
    if not problem and unknown:
        # Of something that is no header, not more than tells what it is.
        problem = f"has the unknown column {unknown[0][:64]!r}; known are {', '.join(COLUMNS)}"
    if not problem and len(set(names)) < len(names):
        problem = "has a column twice"
    if problem:
        raise CsvMalformedError(header.line, f"the header {problem}")


def _is_text(value: str, minimum: int, maximum: int) -> bool:
    # isprintable is quick and refuses some spaces that the expression lets pass.
    return minimum <= len(value) <= maximum and (
        value.isprintable() or not CONTROL_CHARACTER_PATTERN.search(value)
    )


def _check_user_id(value: str) -> str:
    return "" if USER_ID_PATTERN.fullmatch(value) else USER_ID_RULE


def _check_name(value: str) -> str:
    if _is_text(value, 1, MAX_NAME_CHARACTERS):
        return ""
    return f"must have 1 to {MAX_NAME_CHARACTERS} characters, no control characters"


def _check_position(value: str) -> str:
    if _is_text(value, 0, MAX_POSITION_CHARACTERS):
        return ""
    return f"must have at most {MAX_POSITION_CHARACTERS} characters, no control characters"


def _check_mobile(value: str) -> str:
    return "" if not value or MOBILE_PATTERN.fullmatch(value) else MOBILE_RULE


def _check_email(value: str) -> str:
    return "" if not value or EMAIL_PATTERN.fullmatch(value) else EMAIL_RULE
