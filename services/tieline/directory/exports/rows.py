"""Rows of export files: what an import reads back as it was. Pure."""

import csv
import io
from collections.abc import Iterable, Sequence
from enum import StrEnum

from tieline.directory.imports.attribute_cells import write_cell, write_profile
from tieline.directory.imports.batches import StoredMember
from tieline.directory.imports.columns import (
    DEPARTMENT,
    DEPARTMENT_COLUMNS,
    DEPARTMENT_ORDER,
    FIELD_COLUMNS,
    IS_LEADER,
    MEMBER_COLUMNS,
    MEMBER_HEADERS,
    STATE,
    USER_ID,
)
from tieline.directory.imports.csv_rows import BYTE_ORDER_MARK, Encoding, guard_formula
from tieline.directory.imports.department_lists import join_paths
from tieline.directory.imports.department_replacement import StoredDepartment


class Table(StrEnum):
    """What is exported."""

    MEMBERS = "members"
    DEPARTMENTS = "departments"


def member_header(attribute_names: Iterable[str]) -> list[str]:
    """Return the columns of a file of members.

    An attribute that is called like a column has none: in an import the column would be meant.
    """
    return [
        *MEMBER_COLUMNS,
        *(name for name in attribute_names if name.lower() not in MEMBER_HEADERS),
    ]


def member_row(member: StoredMember, paths: dict[int, str], header: Sequence[str]) -> list[str]:
    """Return the values of a member below the header."""
    values = dict(zip(FIELD_COLUMNS, member.fields, strict=True))
    values["external_profile"] = write_profile(values["external_profile"])
    values["gender"] = values["gender"].replace("unknown", "")
    values[USER_ID] = member.user_id
    values[STATE] = member.state
    values[DEPARTMENT] = join_paths([paths[place[0]] for place in member.places])
    values[DEPARTMENT_ORDER] = ";".join(str(place[1]) for place in member.places)
    values[IS_LEADER] = ";".join(str(int(place[2])) for place in member.places)
    own = len(MEMBER_COLUMNS)
    attributes = member.attributes
    return [values[column] for column in header[:own]] + [
        write_cell(attributes[name]) if name in attributes else "" for name in header[own:]
    ]


def department_header() -> list[str]:
    """Return the columns of a file of departments."""
    return list(DEPARTMENT_COLUMNS)


def department_row(department: StoredDepartment) -> list[str]:
    """Return the values of a department."""
    return [
        department.name,
        str(department.department_id),
        str(department.parent_department_id or ""),
        str(department.order),
        department.name_en,
        ";".join(department.leaders),
    ]


class CsvWriter:
    """Turns rows into bytes."""

    def __init__(self, encoding: Encoding, *, has_mark: bool) -> None:
        self._encoding = encoding
        self._mark = BYTE_ORDER_MARK if has_mark and encoding is Encoding.UTF_8 else b""

    def encode(self, rows: Iterable[Sequence[str]]) -> bytes:
        """Return the rows as lines."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\r\n")
        writer.writerows([guard_formula(value) for value in row] for row in rows)
        mark, self._mark = self._mark, b""
        return mark + text.getvalue().encode(self._encoding)
