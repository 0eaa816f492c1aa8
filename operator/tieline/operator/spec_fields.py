"""Reads the spec of a custom resource and says by path what is wrong with each field.

The schema of the custom resource definition refuses most of it before; a file that a person gives
to the simulator, and an object that was stored before a schema was tightened, come without it.
Pure.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

_Choice = TypeVar("_Choice", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field that cannot be used."""

    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"


class InvalidSpecError(ValueError):
    """A spec that cannot be used; names every bad field at once."""

    def __init__(self, violations: Sequence[FieldViolation]) -> None:
        super().__init__("; ".join(map(str, violations)))
        self.violations = tuple(violations)


class SpecFields:
    """One mapping of a spec. A bad field is noted, and its reader goes on with a usable value."""

    def __init__(
        self, values: object, path: str = "spec", violations: list[FieldViolation] | None = None
    ) -> None:
        self._path = path
        self._violations: list[FieldViolation] = [] if violations is None else violations
        self._known: set[str] = set()
        if isinstance(values, Mapping):
            self._values: Mapping[object, object] = values
        else:
            self._values = {}
            self._violations.append(FieldViolation(path, "must be an object"))

    def has(self, name: str) -> bool:
        """Tell whether a field is given."""
        return self._value(name) is not None

    def integer(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """Read a whole number; without a default the field is required."""
        value = self._value(name)
        if value is None:
            if default is None:
                self.refuse(name, "is required")
            return low if default is None else default
        if not isinstance(value, int) or isinstance(value, bool):
            self.refuse(name, "must be a whole number")
            return low
        if not low <= value <= high:
            self.refuse(name, f"must be from {low} to {high}")
        return min(max(value, low), high)

    def optional_integer(self, name: str, low: int, high: int) -> int | None:
        """Read a whole number that may be absent."""
        if self._value(name) is None:
            return None
        return self.integer(name, low, high)

    def choice(self, name: str, choices: type[_Choice], default: _Choice | None = None) -> _Choice:
        """Read one of some words."""
        value = self._value(name)
        if value is None and default is not None:
            return default
        for choice in choices:
            if value == choice.value:
                return choice
        self.refuse(name, "must be one of " + ", ".join(choice.value for choice in choices))
        return next(iter(choices))

    def text(self, name: str, max_length: int, default: str | None = None) -> str:
        """Read a text that is not empty; without a default the field is required."""
        value = self._value(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or not 1 <= len(value) <= max_length:
            self.refuse(name, f"must be a text of 1 to {max_length} characters")
            return ""
        return value

    def moment(self, name: str) -> float:
        """Read a time with its offset (RFC 3339); return seconds since the epoch."""
        value = self._value(name)
        try:
            # YAML turns an unquoted time into a datetime by itself.
            parsed = (
                value
                if isinstance(value, dt.datetime)
                else dt.datetime.fromisoformat(value if isinstance(value, str) else "")
            )
        except ValueError:
            self.refuse(name, "must be a time such as 2027-02-15T08:00:00+08:00")
            return 0.0
        if parsed.tzinfo is None:
            self.refuse(name, "must say its offset from UTC, such as Z or +08:00")
            return 0.0
        return parsed.timestamp()

    def nested(self, name: str) -> "SpecFields":
        """Read an object; an absent one has only absent fields."""
        value = self._value(name)
        return SpecFields({} if value is None else value, f"{self._path}.{name}", self._violations)

    def items(self, name: str, max_items: int) -> list["SpecFields"]:
        """Read a list of objects."""
        return [
            SpecFields(item, f"{self._path}.{name}[{index}]", self._violations)
            for index, item in enumerate(self._list(name, max_items))
        ]

    def texts(self, name: str, max_items: int, max_length: int) -> tuple[str, ...]:
        """Read a list of texts."""
        values = self._list(name, max_items)
        if any(not isinstance(item, str) or not 1 <= len(item) <= max_length for item in values):
            self.refuse(name, f"must be texts of 1 to {max_length} characters")
            return ()
        return tuple(str(item) for item in values)

    def labels(self, name: str) -> tuple[tuple[str, str], ...]:
        """Read a mapping of labels, in the order of their keys."""
        value = self._value(name)
        if value is None:
            return ()
        if not isinstance(value, Mapping) or not all(
            isinstance(part, str) for pair in value.items() for part in pair
        ):
            self.refuse(name, "must be labels with their values")
            return ()
        return tuple(sorted((str(key), str(label)) for key, label in value.items()))

    def refuse(self, name: str, text: str) -> None:
        """Note that a field cannot be used."""
        self._violations.append(
            FieldViolation(f"{self._path}.{name}" if name else self._path, text)
        )

    def is_refused(self, name: str) -> bool:
        """Tell whether a field was noted already."""
        return any(one.path == f"{self._path}.{name}" for one in self._violations)

    def check(self) -> None:
        """Note every field that is not known; a misspelled one would else do nothing."""
        for name in self._values:
            if name not in self._known:
                self.refuse(str(name), "is not known")

    def finish(self) -> None:
        """Raise InvalidSpecError if anything was noted."""
        self.check()
        if self._violations:
            raise InvalidSpecError(self._violations)

    def _value(self, name: str) -> object:
        self._known.add(name)
        return self._values.get(name)

    def _list(self, name: str, max_items: int) -> Sequence[object]:
        value = self._value(name)
        if value is None:
            return ()
        if not isinstance(value, Sequence) or isinstance(value, str):
            self.refuse(name, "must be a list")
            return ()
        if len(value) > max_items:
            self.refuse(name, f"must have at most {max_items} items")
            return ()
        return value
