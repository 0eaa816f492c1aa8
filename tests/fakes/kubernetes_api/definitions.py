"""Custom resource definitions: defaults, pruning, the schema and its CEL rules."""

import copy
import datetime as dt
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import celpy
import celpy.adapter
import jsonschema
import yaml

Schema = Mapping[str, Any]

_FORMATS = jsonschema.FormatChecker(formats=())
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


@_FORMATS.checks("date-time", raises=ValueError)
def _is_time(value: object) -> bool:
    """RFC 3339, as the API takes it: with an offset, and a day that there is."""
    if not isinstance(value, str):
        return True
    return bool(_TIME.fullmatch(value)) and bool(dt.datetime.fromisoformat(value))


class Definition:
    """One version of one kind."""

    def __init__(self, manifest: Mapping[str, Any]) -> None:
        spec = manifest["spec"]
        (version,) = spec["versions"]
        self.group: str = spec["group"]
        self.version: str = version["name"]
        self.kind: str = spec["names"]["kind"]
        self.plural: str = spec["names"]["plural"]
        self.short_names: list[str] = spec["names"]["shortNames"]
        self.columns: list[Mapping[str, Any]] = version["additionalPrinterColumns"]
        self.schema: Schema = version["schema"]["openAPIV3Schema"]

    def complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the object with its defaults and without what the schema does not know."""
        completed = _complete(copy.deepcopy(dict(body)), self.schema)
        # The metadata is the API's own and stands in no schema.
        return {**completed, "metadata": body.get("metadata", {})}

    def find_problems(
        self, body: Mapping[str, Any], before: Mapping[str, Any] | None = None
    ) -> list[str]:
        """Return what the schema and its rules have against the object."""
        validator = jsonschema.Draft202012Validator(
            _to_json_schema(self.schema), format_checker=_FORMATS
        )
        problems = [
            f"{'.'.join(map(str, error.absolute_path))}: {error.message}"
            for error in validator.iter_errors(body)
        ]
        if problems:
            return problems
        return list(_check_rules(self.schema, body, before, ""))


def load_definitions(folder: Path) -> list[Definition]:
    """Return the definitions of the chart's templates, which have nothing to render."""
    return [
        Definition(yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader))
        for path in sorted(folder.glob("*.yaml"))
    ]


def publish(definitions: Iterable[Definition], group: str, version: str) -> dict[str, Any]:
    """Return the OpenAPI document of a group's version, as the API server publishes it."""
    prefix = ".".join(reversed(group.split(".")))
    return {
        "openapi": "3.0.0",
        "components": {
            "schemas": {
                f"{prefix}.{version}.{one.kind}": {
                    **one.schema,
                    "x-kubernetes-group-version-kind": [
                        {"group": group, "kind": one.kind, "version": version}
                    ],
                }
                for one in definitions
                if (one.group, one.version) == (group, version)
            }
        },
    }


def walk(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Yield every part of a schema with its path."""
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from walk(part, f"{path}.{name}")
    if isinstance(items := schema.get("items"), Mapping):
        yield from walk(items, f"{path}[]")
    if isinstance(values := schema.get("additionalProperties"), Mapping):
        yield from walk(values, f"{path}{{}}")


def _complete(value: Any, schema: Schema) -> Any:
    if isinstance(value, dict) and "properties" in schema:
        completed = {}
        for name, part in schema["properties"].items():
            if value.get(name) is not None:
                completed[name] = _complete(value[name], part)
            elif "default" in part:
                completed[name] = _complete(copy.deepcopy(part["default"]), part)
        return completed
    if isinstance(value, list) and "items" in schema:
        return [_complete(item, schema["items"]) for item in value]
    return value


def _to_json_schema(schema: Schema) -> dict[str, Any]:
    """Return what a JSON schema knows of a structural one; int32 is a bound there."""
    known = {key: value for key, value in schema.items() if not key.startswith("x-")}
    if "properties" in known:
        known["properties"] = {
            name: _to_json_schema(part) for name, part in known["properties"].items()
        }
    if "items" in known:
        known["items"] = _to_json_schema(known["items"])
    return known


@cache
def _program(rule: str) -> celpy.Runner:
    environment = celpy.Environment()
    return environment.program(environment.compile(rule))


def _check_rules(schema: Schema, value: Any, before: Any, path: str) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", ()):
        if "oldSelf" in rule["rule"] and before is None:
            continue
        given = {"self": _to_cel(value, schema)}
        if before is not None:
            given["oldSelf"] = _to_cel(before, schema)
        if not _program(rule["rule"]).evaluate(given):
            yield f"{path}{rule.get('fieldPath', '')}: {rule['message']}"
    if isinstance(value, Mapping):
        for name, part in schema.get("properties", {}).items():
            if name in value:
                old = before.get(name) if isinstance(before, Mapping) else None
                yield from _check_rules(part, value[name], old, f"{path}.{name}")


def _to_cel(value: Any, schema: Schema) -> Any:
    """Return a value as the API gives it to rules: times are times there, not texts."""
    if schema.get("format") == "date-time" and isinstance(value, str):
        return celpy.celtypes.TimestampType(value)
    if isinstance(value, Mapping):
        parts = schema.get("properties", {})
        others = schema.get("additionalProperties", {})
        return celpy.celtypes.MapType(
            {
                celpy.celtypes.StringType(name): _to_cel(part, parts.get(name, others))
                for name, part in value.items()
            }
        )
    if isinstance(value, list):
        return celpy.celtypes.ListType([_to_cel(one, schema.get("items", {})) for one in value])
    return celpy.adapter.json_to_cel(value)
