r"""Attributes and external profiles in the cells of files. Pure.

    text           the text
    web            ``title|https://…``
    mini_program   ``title|app id|page path``, the path may be empty

A ``|`` or ``\`` in a title has a ``\`` before it. Profiles are JSON, as the API's have it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from google.protobuf import json_format

from tieline.api.directory.v1 import directory_pb2
from tieline.directory.members.fields import read_external_profile

MAX_TEXT_CHARACTERS = 128
MAX_TITLE_CHARACTERS = 16

Value = Mapping[str, object]
"""As it is stored: an object with the kind of the value and the value."""

_TITLE = rf"(?P<title>(?:[^|\\\x00-\x1f\x7f]|\\[|\\]){{1,{MAX_TITLE_CHARACTERS}}})"
_WEB = re.compile(rf"{_TITLE}\|(?P<url>(?=[!-~]{{8,512}}\Z)https?://[!-~]+)")
_MINI_PROGRAM = re.compile(
    rf"{_TITLE}\|(?P<app_id>[0-9A-Za-z_-]{{1,64}})\|(?P<page_path>[!-~]{{0,256}})"
)
_ESCAPED = re.compile(r"\\(.)")

PROFILE_RULE = "must be an external profile in JSON, or empty"


@dataclass(frozen=True, slots=True)
class CellKind:
    """How values of one kind of attribute are written."""

    read: Callable[[str], Value | None]
    """Returns the value of a cell that is not empty; None if it is none."""

    rule: str


def _read_text(text: str) -> Value:
    return {"text": text}


def _read_web(text: str) -> Value | None:
    match = _WEB.fullmatch(text)
    return match and {"web": {"url": match["url"], "title": _unescape(match["title"])}}


def _read_mini_program(text: str) -> Value | None:
    match = _MINI_PROGRAM.fullmatch(text)
    if match is None:
        return None
    program = {"app_id": match["app_id"], "page_path": match["page_path"]}
    program["title"] = _unescape(match["title"])
    # What is empty is not stored.
    return {"mini_program": {name: value for name, value in program.items() if value}}


CELL_KINDS: Mapping[str, CellKind] = {
    # Any text is one: what it may have in it is a rule of the column.
    "text": CellKind(_read_text, ""),
    "web": CellKind(_read_web, "must be title|address, the title of at most 16 characters"),
    "mini_program": CellKind(
        _read_mini_program, "must be title|app id|page path, the title of at most 16 characters"
    ),
}


def write_cell(value: Mapping[str, object]) -> str:
    """Return a stored value as `CELL_KINDS` reads it."""
    [(kind, content)] = value.items()
    if not isinstance(content, dict):
        return str(content)
    title = content["title"].replace("\\", "\\\\").replace("|", "\\|")
    if kind == "web":
        return f"{title}|{content['url']}"
    return f"{title}|{content['app_id']}|{content.get('page_path', '')}"


def read_profile(text: str) -> str | None:
    """Return a profile as hexadecimal digits of its message; None for what is none."""
    if not text:
        return ""
    profile = directory_pb2.ExternalProfile()
    violations: dict[str, str] = {}
    try:
        json_format.Parse(text, profile, max_recursion_depth=8)
    except (json_format.ParseError, RecursionError):
        return None
    content = read_external_profile(profile, "external_profile", violations)
    return None if violations else content.hex()


def write_profile(stored: str) -> str:
    """Return what `read_profile` reads."""
    if not stored:
        return ""
    profile = directory_pb2.ExternalProfile.FromString(bytes.fromhex(stored))
    return json_format.MessageToJson(
        profile, preserving_proto_field_name=True, indent=None, ensure_ascii=False
    )


def _unescape(title: str) -> str:
    return _ESCAPED.sub(r"\1", title)
