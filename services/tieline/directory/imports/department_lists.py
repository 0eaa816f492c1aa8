"""The departments of one row: several paths in one value, and what the row says of each. Pure.

``;`` stands between paths; in a name it is written ``\\;``, which is unambiguous because no name
has a backslash.
"""

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from tieline.directory.departments.rules import MAX_ORDER, MAX_PATH_CHARACTERS, normalise_path

# The open API's limit.
MAX_DEPARTMENTS_OF_MEMBER = 100

_SEPARATOR = re.compile(r"(?<!\\);")

_LEADERS = {"0": False, "1": True, "否": False, "是": True}

# Every member of a corp of 30,000 departments, the open API's limit, finds its path here.
_MAX_CACHED_LISTS = 30_000

# A list that is longer is read each time: the cache holds a few megabytes at most.
_MAX_CACHED_CHARACTERS = MAX_PATH_CHARACTERS

Paths = tuple[str, ...]

T = TypeVar("T", int, bool)


def join_paths(paths: Sequence[str]) -> str:
    """Return the value that names these departments."""
    return ";".join(path.replace(";", r"\;") for path in paths)


class DepartmentLists:
    """Reads the values of one file; most of them are the same few."""

    ORDER_RULE = f"must have one number from 0 to {MAX_ORDER} for each department, or be empty"
    LEADER_RULE = "must have 0 or 1 for each department, or be empty"

    def __init__(self) -> None:
        self._known: dict[str, Paths] = {}

    def find_paths(self, text: str) -> Paths | None:
        """Return the departments' paths, the main one's first; None if the value is wrong."""
        paths = self._known.get(text)
        if paths is not None:
            return paths
        try:
            paths = _read_paths(text)
        except ValueError:
            return None
        if len(text) <= _MAX_CACHED_CHARACTERS:
            if len(self._known) >= _MAX_CACHED_LISTS:
                self._known.clear()
            self._known[text] = paths
        return paths

    def explain(self, text: str) -> str:
        """Return what is wrong with a value that has no paths."""
        try:
            _read_paths(text)
        except ValueError as error:
            return str(error)
        raise AssertionError("nothing is wrong with it")

    def read_orders(
        self, values: Sequence[str], paths: Sequence[Paths | None]
    ) -> list[tuple[int, ...]] | None:
        """Return each row's places in its departments' lists; None if any value is wrong."""
        read = [_read_list(value, of, _to_order) for value, of in zip(values, paths, strict=True)]
        return None if None in read else [one for one in read if one is not None]

    def read_leaders(
        self, values: Sequence[str], paths: Sequence[Paths | None]
    ) -> list[tuple[bool, ...]] | None:
        """Return for each row which of its departments it leads; None if any value is wrong."""
        read = [
            _read_list(value, of, _LEADERS.__getitem__)
            for value, of in zip(values, paths, strict=True)
        ]
        return None if None in read else [one for one in read if one is not None]


def _read_paths(text: str) -> Paths:
    if ";" not in text:
        return (normalise_path(text),)
    parts = [part.replace(r"\;", ";").strip() for part in _SEPARATOR.split(text)]
    if len(parts) > MAX_DEPARTMENTS_OF_MEMBER:
        raise ValueError(f"must name at most {MAX_DEPARTMENTS_OF_MEMBER} departments")
    paths = tuple(normalise_path(part) for part in parts)
    if len(set(paths)) < len(paths):
        raise ValueError("must not name a department twice")
    return paths


def _read_list(value: str, paths: Paths | None, read: Callable[[str], T]) -> tuple[T, ...] | None:
    assert paths is not None, "rows whose departments are wrong are refused before"
    try:
        values = tuple(read(part.strip()) for part in value.split(";")) if value else ()
    except (KeyError, ValueError):
        return None
    if not values:
        return (read("0"),) * len(paths)
    return values if len(values) == len(paths) else None


def _to_order(text: str) -> int:
    # int() takes more than digits: signs, underscores, other scripts'.
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_ORDER))):
        raise ValueError(text)
    order = int(text)
    if order > MAX_ORDER:
        raise ValueError(text)
    return order
