"""Writes states of frozen dataclasses as JSON and reads them back, equal to the last bit. Pure.

For what outlives the operator (`memory`), and for recorded seconds that are replayed.
"""

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

_State = TypeVar("_State")

_SCALARS = (float, int, str, bool)


def to_json(state: object) -> str:
    """Write a state; equal states give equal texts."""
    return json.dumps(_plain(state), sort_keys=True, separators=(",", ":"), allow_nan=False)


def from_json(kind: type[_State], text: str) -> _State:
    """Read a state; raise ValueError for what is none."""
    try:
        value = _typed(kind, json.loads(text))
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a {kind.__name__}: {error}") from error
    assert isinstance(value, kind), "the values of a dataclass make one"
    return value


def _plain(value: object) -> object:
    if type(value) in _SCALARS:
        # First: four weeks of a policy are 8,000 of them.
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {field.name: _plain(getattr(value, field.name)) for field in fields}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value.value if isinstance(value, Enum) else value


def _typed(kind: Any, value: Any) -> Any:
    if kind is float:
        return float(value)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = _hints(kind)
        return kind(**{name: _typed(hint, value[name]) for name, hint in hints.items()})
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        inner = next(one for one in arguments if one is not type(None))
        return None if value is None else _typed(inner, value)
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return tuple(_typed(arguments[0], item) for item in value)
        return tuple(_typed(one, item) for one, item in zip(arguments, value, strict=True))
    if origin is not None and issubclass(origin, Mapping):
        return {key: _typed(arguments[1], item) for key, item in value.items()}
    return kind(value) if issubclass(kind, Enum) else value


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)
