"""Departments: their names and paths, and which ones an import makes. Pure.

A path names a department from the root's child down, joined by ``/``; the root's is empty.
"""

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tieline.chassis.errors import NotFoundError

ROOT_DEPARTMENT_ID = 1
ROOT_PATH = ""

MAX_NAME_CHARACTERS = 64

# The open API's.
MAX_DEPARTMENTS = 30_000
MAX_NODES = 30_000
MAX_ORDER = 2**32 - 1

# An id beyond 32 bits is nothing that the open API's clients can read.
MAX_DEPARTMENT_ID = 2**31 - 1

# A leader is one of the department's members, and everybody is told of each.
MAX_LEADERS = 100

# The open API's limit on the depth of the tree.
MAX_LEVELS = 15

# Four bytes a character make 2,048: with the corp's id still within an index entry's 2,704 bytes.
MAX_PATH_CHARACTERS = 512

_FORBIDDEN_IN_NAME = re.compile(r'[\\:*?"<>|\x00-\x1f\x7f]')


@dataclass(frozen=True, slots=True)
class Department:
    """A node of a corp's tree."""

    department_id: int
    name: str
    parent_department_id: int
    """0 for the root."""

    path: str
    member_count: int
    """Members whose main department this is, those below not counted."""

    name_en: str
    order: int
    leader_user_ids: tuple[str, ...]
    ancestor_ids: tuple[int, ...]
    """From the root down to the department itself."""

    change_number: int
    create_time: dt.datetime
    update_time: dt.datetime


@dataclass(frozen=True, slots=True)
class NewDepartment:
    """A department to make."""

    department_id: int
    parent_department_id: int
    name: str
    path: str
    ancestor_ids: tuple[int, ...]
    """From the root down to the department itself."""


def check_name(value: str, field: str, violations: dict[str, str], *, minimum: int = 1) -> None:
    """Refuse what can't be a department's name; ``value`` is without spaces around it."""
    if not minimum <= len(value) <= MAX_NAME_CHARACTERS:
        violations[field] = f"must have {minimum} to {MAX_NAME_CHARACTERS} characters"
    elif "/" in value or _FORBIDDEN_IN_NAME.search(value):
        violations[field] = 'must not contain any of \\ : * ? " < > | / or control characters'


def department_not_found_error(department_id: int) -> NotFoundError:
    """Return the error of a department that the corp does not have."""
    return NotFoundError(
        "DEPARTMENT_NOT_FOUND", "no such department", {"departmentId": str(department_id)}
    )


def normalise_path(text: str) -> str:
    """Return the path without spaces around its names, or raise ValueError with its rule."""
    if not text:
        return ROOT_PATH
    # As it was written: whoever keeps the texts of paths keeps no longer ones.
    if len(text) > MAX_PATH_CHARACTERS:
        raise ValueError(f"must have at most {MAX_PATH_CHARACTERS} characters")
    names = [name.strip() for name in text.split("/")]
    path = "/".join(names)
    if len(names) > MAX_LEVELS:
        raise ValueError(f"must have at most {MAX_LEVELS} levels")
    if not all(1 <= len(name) <= MAX_NAME_CHARACTERS for name in names):
        raise ValueError(f"must have names of 1 to {MAX_NAME_CHARACTERS} characters between its /")
    if _FORBIDDEN_IN_NAME.search(path):
        raise ValueError('must not contain any of \\ : * ? " < > | or control characters')
    return path


def list_with_ancestors(paths: Iterable[str]) -> set[str]:
    """Return the paths and those of all departments above them, the root's included."""
    found = {ROOT_PATH}
    for path in paths:
        while path not in found:
            found.add(path)
            path = path.rpartition("/")[0]
    return found


def plan_departments(
    paths: Iterable[str], known: Mapping[str, int], new_ids: Iterable[int]
) -> list[NewDepartment]:
    """Return the departments to make so that all of ``paths`` exist, parents first.

    ``known`` has the ids of those that exist among ``paths`` and above them, the root's included;
    ``new_ids`` at least as many as are missing.
    """
    planned: dict[str, NewDepartment] = {}
    ids = dict(known)
    # A parent's path is the beginning of its child's, and so sorts before it.
    missing = sorted(list_with_ancestors(paths) - known.keys())
    for path, department_id in zip(missing, new_ids, strict=False):
        parent_path, _, name = path.rpartition("/")
        ids[path] = department_id
        planned[path] = NewDepartment(
            department_id,
            ids[parent_path],
            name,
            path,
            tuple(ids[above] for above in _list_from_root(path)),
        )
    return list(planned.values())


def _list_from_root(path: str) -> list[str]:
    above = [path]
    while above[-1]:
        above.append(above[-1].rpartition("/")[0])
    return above[::-1]
