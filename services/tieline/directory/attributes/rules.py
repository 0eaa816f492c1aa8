"""Attributes of a corp and the texts and links that members have of them. Pure.

Values are stored as JSON, an object of one key by the attribute's name:
``{"Badge": {"text": "A-17"}, "Blog": {"web": {"url": "https://…", "title": "…"}}}``.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from tieline.api.directory.v1 import attribute_pb2
from tieline.chassis.errors import InvalidArgumentError, NotFoundError
from tieline.chassis.fields import check_text

# What people can still fill in; the open API's clients know about as many.
MAX_ATTRIBUTES = 20

# A value is at most 0.7 KiB with these, and what a member has of them 14 KiB.
MAX_NAME_CHARACTERS = 32
_MAX_TEXT_CHARACTERS = 128
_MAX_TITLE_CHARACTERS = 16

_URL_PATTERN = re.compile(r"(?=.{8,512}\Z)https?://[!-~]+")
_PAGE_PATH_PATTERN = re.compile(r"[!-~]{0,256}")
_APP_ID_PATTERN = re.compile(r"[0-9A-Za-z_-]{1,64}")

# The names of the oneof's fields, which are the kinds' in the table.
KINDS: Mapping[str, "attribute_pb2.AttributeKind.ValueType"] = {
    "text": attribute_pb2.ATTRIBUTE_KIND_TEXT,
    "web": attribute_pb2.ATTRIBUTE_KIND_WEB,
    "mini_program": attribute_pb2.ATTRIBUTE_KIND_MINI_PROGRAM,
}


@dataclass(frozen=True, slots=True)
class Attribute:
    """What a corp's members may have a value of."""

    name: str
    kind: str
    order: int
    is_external: bool


def attribute_not_found_error(name: str) -> NotFoundError:
    """Return the error of an attribute that the corp does not have."""
    return NotFoundError("ATTRIBUTE_NOT_FOUND", "the corp has no such attribute", {"name": name})


def check_values(
    values: Iterable[attribute_pb2.AttributeValue], field: str, violations: dict[str, str]
) -> None:
    """Refuse values that break a rule of their own, and names that come twice."""
    names: set[str] = set()
    for index, value in enumerate(values):
        at = f"{field}[{index}]"
        if index == MAX_ATTRIBUTES:
            violations[field] = f"must be at most {MAX_ATTRIBUTES}"
            return
        check_text(value.name, f"{at}.name", violations, minimum=1, maximum=MAX_NAME_CHARACTERS)
        if value.name in names:
            violations[f"{at}.name"] = "is there already"
        names.add(value.name)
        _check_value(value, at, violations)


def check_kinds(values: str, attributes: Mapping[str, Attribute], field: str) -> None:
    """Refuse stored values whose attribute the corp lacks, or has of another kind."""
    for name, value in json.loads(values).items():
        attribute = attributes.get(name)
        if attribute is None:
            raise attribute_not_found_error(name)
        if attribute.kind not in value:
            raise InvalidArgumentError({field: f"must give {name!r} a value of {attribute.kind}"})


def to_json(values: Iterable[attribute_pb2.AttributeValue]) -> str:
    """Return checked values as they are stored."""
    return json.dumps({value.name: _to_object(value) for value in values}, ensure_ascii=False)


def to_values(stored: str) -> list[attribute_pb2.AttributeValue]:
    """Return stored values as the API shows them, by name."""
    if stored == "{}":
        return []
    return [
        attribute_pb2.AttributeValue(name=name, **value)
        for name, value in sorted(json.loads(stored).items())
    ]


def _to_object(value: attribute_pb2.AttributeValue) -> dict[str, Any]:
    kind = value.WhichOneof("value")
    assert kind is not None, "it was checked"
    content = getattr(value, kind)
    if isinstance(content, Message):
        return {kind: {field.name: part for field, part in content.ListFields()}}
    return {kind: content}


def _check_value(value: attribute_pb2.AttributeValue, at: str, violations: dict[str, str]) -> None:
    match value.WhichOneof("value"):
        case "text":
            check_text(
                value.text, f"{at}.text", violations, minimum=1, maximum=_MAX_TEXT_CHARACTERS
            )
        case "web":
            if not _URL_PATTERN.fullmatch(value.web.url):
                violations[f"{at}.web.url"] = (
                    "must be an http or https address of at most 512 characters, in ASCII"
                )
            _check_title(value.web.title, f"{at}.web.title", violations)
        case "mini_program":
            program = value.mini_program
            if not _APP_ID_PATTERN.fullmatch(program.app_id):
                violations[f"{at}.mini_program.app_id"] = "must be 1 to 64 of 0-9 A-Z a-z _ -"
            if not _PAGE_PATH_PATTERN.fullmatch(program.page_path):
                violations[f"{at}.mini_program.page_path"] = (
                    "must be a path of at most 256 characters, in ASCII"
                )
            _check_title(program.title, f"{at}.mini_program.title", violations)
        case _:
            violations[at] = "must have a value"


def _check_title(title: str, field: str, violations: dict[str, str]) -> None:
    check_text(title, field, violations, minimum=1, maximum=_MAX_TITLE_CHARACTERS)
