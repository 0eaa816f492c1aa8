"""From records to members: each column's rule. Pure.

A batch is checked a column at a time, by one expression over all its values; only where that finds
something wrong is the batch read row by row, to tell which.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from types import MappingProxyType
from typing import NamedTuple

from tieline.chassis.fields import CONTROL_CHARACTER_PATTERN, USER_ID_PATTERN
from tieline.directory.imports.attribute_cells import (
    CELL_KINDS,
    MAX_TEXT_CHARACTERS,
    PROFILE_RULE,
    Value,
    read_profile,
)
from tieline.directory.imports.columns import (
    DEPARTMENT,
    DEPARTMENT_ORDER,
    FIELD_COLUMNS,
    IS_LEADER,
    MEMBER_HEADERS,
    REQUIRED_MEMBER_COLUMNS,
    STATE,
    USER_ID,
    Header,
)
from tieline.directory.imports.csv_rows import CsvRecord
from tieline.directory.imports.department_lists import DepartmentLists
from tieline.directory.members.rules import (
    EMAIL_PATTERN,
    EMAIL_RULE,
    MAX_NAME_CHARACTERS,
    MAX_POSITION_CHARACTERS,
    MEDIA_ID_PATTERN,
    MEDIA_ID_RULE,
    MOBILE_PATTERN,
    MOBILE_RULE,
)

MAX_ALIAS_CHARACTERS = 64
MAX_ADDRESS_CHARACTERS = 128
MAX_EXTERNAL_POSITION_CHARACTERS = 12

USER_ID_RULE = "must be 1 to 64 of 0-9 A-Z a-z _ - @ . and begin with a letter or digit"
TELEPHONE_RULE = "must be at most 32 of digits - + , and spaces"
GENDER_RULE = "must be male, female or empty"
STATE_RULE = "must be active, invited, disabled or empty"

# A value -> what is stored.
_GENDERS: Mapping[str, str] = {
    **dict.fromkeys(("", "0", "unknown", "未知"), "unknown"),
    **dict.fromkeys(("1", "m", "male", "男"), "male"),
    **dict.fromkeys(("2", "f", "female", "女"), "female"),
}

# A value -> whether the member is disabled; None leaves it. Who is active tells the member alone.
_STATES: Mapping[str, bool | None] = {
    "": None,
    **dict.fromkeys(("active", "invited", "已激活", "未激活"), False),
    **dict.fromkeys(("disabled", "已禁用", "禁用"), True),
}


NO_ATTRIBUTES: Mapping[str, str] = MappingProxyType({})
"""Kinds of attributes by name: of a corp without any."""


class RowError(NamedTuple):
    """Why a row is refused."""

    line: int
    column: str
    """By its name in the header; empty if the row as a whole is wrong."""

    reason: str


class MemberRow(NamedTuple):
    """A row that keeps every rule that concerns it alone."""

    line: int
    user_id: str
    fields: tuple[str | None, ...]
    """In the order of FIELD_COLUMNS; None for columns that the file leaves out."""

    departments: tuple[str, ...]
    """Paths, the main one first."""

    orders: tuple[int, ...] | None = None
    """In the order of ``departments``; None if the file leaves the column out."""

    leaders: tuple[bool, ...] | None = None
    """In the order of ``departments``; None if the file leaves the column out."""

    attributes: tuple[tuple[str, Value | None], ...] = ()
    """Names and values of the attributes that the file has columns for; None for no value."""

    is_disabled: bool | None = None
    """Whether the member can't sign in; None to leave it."""


@dataclass(slots=True)
class ReadRows:
    """What a batch of records says."""

    rows: list[MemberRow] = field(default_factory=list)
    errors: list[RowError] = field(default_factory=list)
    refused: int = 0
    refused_user_ids: set[str] = field(default_factory=set)
    """Of the refused rows, where they can be read: these members are named by the file."""

    column_names: Mapping[str, str] = field(default_factory=dict)
    """What this file's header calls the columns."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """What a column's values must be."""

    column: re.Pattern[str]
    """Matches all values of a column, each with a line break behind it."""

    is_right: Callable[[str], object]
    text: str


def _text_rule(minimum: int, maximum: int) -> _Rule:
    return _Rule(
        re.compile(rf"(?:[^\x00-\x1f\x7f]{{{minimum},{maximum}}}\n)*"),
        lambda value: (
            minimum <= len(value) <= maximum and not CONTROL_CHARACTER_PATTERN.search(value)
        ),
        f"must have {f'{minimum} to' if minimum else 'at most'} {maximum} characters, "
        "no control characters",
    )


def _pattern_rule(one: str, text: str) -> _Rule:
    return _Rule(re.compile(rf"(?:{one}\n)*"), re.compile(one).fullmatch, text)


_USER_ID = _pattern_rule(USER_ID_PATTERN.pattern, USER_ID_RULE)
_EMAIL = _Rule(
    re.compile(r"(?:(?:(?=[^\n]{6,64}\n)[!-?A-~]+@[0-9A-Za-z.-]+)?\n)*"),
    lambda value: not value or EMAIL_PATTERN.fullmatch(value),
    EMAIL_RULE,
)
# A column without any value is right; every other one is looked at value by value.
_EMPTY_COLUMN = re.compile(r"\n*")
_RULES: Mapping[str, _Rule] = {
    USER_ID: _USER_ID,
    "name": _text_rule(1, MAX_NAME_CHARACTERS),
    "alias": _text_rule(0, MAX_ALIAS_CHARACTERS),
    "gender": _Rule(
        re.compile(rf"(?i:(?:{'|'.join(_GENDERS)})\n)*"),
        lambda value: value.lower() in _GENDERS,
        GENDER_RULE,
    ),
    "position": _text_rule(0, MAX_POSITION_CHARACTERS),
    "mobile": _Rule(
        re.compile(r"(?:(?:\+[0-9]{4,19}|[0-9]{5,20})?\n)*"),
        lambda value: not value or MOBILE_PATTERN.fullmatch(value),
        MOBILE_RULE,
    ),
    "telephone": _pattern_rule(r"[0-9+, -]{0,32}", TELEPHONE_RULE),
    "email": _EMAIL,
    "biz_email": _EMAIL,
    "address": _text_rule(0, MAX_ADDRESS_CHARACTERS),
    "direct_leader": _pattern_rule(
        rf"(?:{USER_ID_PATTERN.pattern})?", f"{USER_ID_RULE}; or be empty"
    ),
    "external_position": _text_rule(0, MAX_EXTERNAL_POSITION_CHARACTERS),
    "avatar_media_id": _pattern_rule(MEDIA_ID_PATTERN.pattern, MEDIA_ID_RULE),
    STATE: _Rule(
        re.compile(rf"(?i:(?:{'|'.join(_STATES)})\n)*"),
        lambda value: value.lower() in _STATES,
        STATE_RULE,
    ),
    "external_profile": _Rule(
        _EMPTY_COLUMN, lambda value: read_profile(value) is not None, PROFILE_RULE
    ),
}
_ATTRIBUTE_RULES: Mapping[str, _Rule] = {
    name: _text_rule(0, MAX_TEXT_CHARACTERS)
    if name == "text"
    else _Rule(_EMPTY_COLUMN, lambda value, kind=kind: not value or kind.read(value), kind.rule)  # type: ignore[misc]
    for name, kind in CELL_KINDS.items()
}

# What is stored differs from what is written.
_NORMALISE: Mapping[str, Callable[[str], str]] = {
    "gender": lambda value: _GENDERS[value.lower()],
    "direct_leader": str.lower,
    "external_profile": lambda value: read_profile(value) or "",
}


class RowReader:
    """Reads the records below one header."""

    def __init__(
        self, header: CsvRecord, attribute_kinds: Mapping[str, str] = NO_ATTRIBUTES
    ) -> None:
        """Take the columns from the header, or raise CsvMalformedError."""
        self._attribute_kinds = attribute_kinds
        self._header = Header(header, MEMBER_HEADERS, REQUIRED_MEMBER_COLUMNS, attribute_kinds)
        places = self._header.places
        self._checks = [(places[name], rule) for name, rule in _RULES.items() if name in places]
        self._checks += [
            (at, _ATTRIBUTE_RULES[attribute_kinds[name]])
            for name, at in self._header.attribute_places.items()
        ]
        self._column_names = {column: self._header.names[at] for column, at in places.items()}
        self._lists = DepartmentLists()

    def read(self, records: Sequence[CsvRecord]) -> ReadRows:
        """Return the records' members, and everything that is wrong with the others."""
        width = self._header.width
        if records and all(len(record.values) == width for record in records):
            given = zip(*(record.values for record in records), strict=True)
            columns = [list(map(str.strip, values)) for values in given]
            if all(_matches(rule, columns[at]) for at, rule in self._checks):
                departments = self._read_departments(columns)
                if departments is not None:
                    lines = [record.line for record in records]
                    rows = list(self._build_rows(lines, columns, departments))
                    return ReadRows(rows, column_names=self._column_names)
        return self._read_one_by_one(records)

    def _read_departments(
        self, columns: Sequence[Sequence[str]]
    ) -> Sequence[Iterable[object]] | None:
        """Return paths, orders and leaders of all rows; None if any is wrong."""
        places = self._header.places
        paths = [self._lists.find_paths(value) for value in columns[places[DEPARTMENT]]]
        if None in paths:
            return None
        orders: Iterable[object] | None = repeat(None)
        leaders: Iterable[object] | None = repeat(None)
        if DEPARTMENT_ORDER in places:
            orders = self._lists.read_orders(columns[places[DEPARTMENT_ORDER]], paths)
        if IS_LEADER in places:
            leaders = self._lists.read_leaders(columns[places[IS_LEADER]], paths)
        return None if orders is None or leaders is None else (paths, orders, leaders)

    def _build_rows(
        self,
        lines: Sequence[int],
        columns: Sequence[Sequence[str]],
        departments: Sequence[Iterable[object]],
    ) -> Iterable[MemberRow]:
        places = self._header.places
        fields = zip(
            *(
                self._normalised(name, columns[places[name]]) if name in places else repeat(None)
                for name in FIELD_COLUMNS
            ),
            strict=False,
        )
        user_ids = [value.lower() for value in columns[places[USER_ID]]]
        attributes: Iterable[object] = repeat(())
        if self._header.attribute_places:
            named = self._header.attribute_places.items()
            attributes = zip(
                *(self._read_attribute(name, columns[at]) for name, at in named), strict=True
            )
        states: Iterable[object] = repeat(None)
        if STATE in places:
            states = [_STATES[value.lower()] for value in columns[places[STATE]]]
        return map(MemberRow, lines, user_ids, fields, *departments, attributes, states)

    def _read_attribute(self, name: str, values: Sequence[str]) -> list[tuple[str, Value | None]]:
        read = CELL_KINDS[self._attribute_kinds[name]].read
        return [(name, read(value) if value else None) for value in values]

    def _normalised(self, name: str, values: Sequence[str]) -> Iterable[str]:
        normalise = _NORMALISE.get(name)
        return values if normalise is None else map(normalise, values)

    def _read_one_by_one(self, records: Sequence[CsvRecord]) -> ReadRows:
        read = ReadRows(column_names=self._column_names)
        for record in records:
            values = [value.strip() for value in record.values]
            errors = self._find_errors(record, values)
            if errors:
                read.errors += errors
                read.refused += 1
                self._note_refused(values, read)
                continue
            columns = [(value,) for value in values]
            departments = self._read_departments(columns)
            assert departments is not None, "nothing is wrong with this row's departments"
            read.rows += self._build_rows([record.line], columns, departments)
        return read

    def _note_refused(self, values: Sequence[str], read: ReadRows) -> None:
        at = self._header.places[USER_ID]
        if at < len(values) and USER_ID_PATTERN.fullmatch(values[at]):
            read.refused_user_ids.add(values[at].lower())

    def _find_errors(self, record: CsvRecord, values: Sequence[str]) -> list[RowError]:
        line, header = record.line, self._header
        if len(values) != header.width:
            problem = record.problem or (
                f"has {len(values)} columns; the header has {header.width}"
            )
            return [RowError(line, "", problem)]
        errors = [
            RowError(line, header.names[at], rule.text)
            for at, rule in self._checks
            if not rule.is_right(values[at])
        ]
        # In the order in which a reader of the file meets them.
        errors += self._find_department_errors(line, values)
        errors.sort(key=lambda error: header.names.index(error.column))
        return errors

    def _find_department_errors(self, line: int, values: Sequence[str]) -> list[RowError]:
        places, lists = self._header.places, self._lists
        text = values[places[DEPARTMENT]]
        paths = lists.find_paths(text)
        if paths is None:
            return [RowError(line, self._header.name_of(DEPARTMENT), lists.explain(text))]
        errors = []
        if DEPARTMENT_ORDER in places:
            one = (values[places[DEPARTMENT_ORDER]],)
            if lists.read_orders(one, (paths,)) is None:
                name = self._header.name_of(DEPARTMENT_ORDER)
                errors.append(RowError(line, name, lists.ORDER_RULE))
        if IS_LEADER in places:
            one = (values[places[IS_LEADER]],)
            if lists.read_leaders(one, (paths,)) is None:
                errors.append(RowError(line, self._header.name_of(IS_LEADER), lists.LEADER_RULE))
        return errors


def _matches(rule: _Rule, values: Sequence[str]) -> bool:
    joined = "\n".join(values) + "\n"
    # A line break within a value would make two of it.
    return joined.count("\n") == len(values) and rule.column.fullmatch(joined) is not None
