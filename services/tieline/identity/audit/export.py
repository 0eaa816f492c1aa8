"""The audit log as a file: lines of JSON or CSV, in chunks of bounded size. Pure."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum, auto

from tieline.identity.audit.log import Entry

CHUNK_BYTES = 256 * 1024

_COLUMNS = (
    "eventId",
    "corpId",
    "actTime",
    "actorKind",
    "actorId",
    "action",
    "resource",
    "details",
    "address",
    "requestId",
)

# What a spreadsheet takes for the beginning of a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class ExportFormat(Enum):
    """How an export is written."""

    JSON_LINES = auto()
    CSV = auto()


def write_header(export_format: ExportFormat) -> bytes:
    """Return what the file begins with."""
    return _csv_line(_COLUMNS) if export_format is ExportFormat.CSV else b""


def write_lines(entries: Iterable[Entry], export_format: ExportFormat) -> Iterator[bytes]:
    """Yield a line for each entry."""
    write: Callable[[Entry], bytes]
    write = _write_csv if export_format is ExportFormat.CSV else _write_json
    for entry in entries:
        yield write(entry)


class Chunks:
    """Gathers lines into chunks; a chunk ends with a line."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def add(self, line: bytes) -> bytes | None:
        """Take a line in; return a chunk when one is full."""
        self._buffer += line
        return self.take() if len(self._buffer) >= CHUNK_BYTES else None

    def take(self) -> bytes:
        """Return what is there, which may be nothing."""
        chunk = bytes(self._buffer)
        self._buffer.clear()
        return chunk


def _write_json(entry: Entry) -> bytes:
    line = json.dumps(
        {
            "eventId": entry.event_id,
            "corpId": entry.corp_id,
            "actTime": _time(entry),
            "actor": {"kind": entry.actor_kind, "id": entry.actor_id},
            "action": entry.action,
            "resource": entry.resource,
            "details": entry.details,
            "address": entry.address,
            "requestId": entry.request_id,
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )
    return line.encode() + b"\n"


def _write_csv(entry: Entry) -> bytes:
    return _csv_line(
        (
            entry.event_id,
            entry.corp_id,
            _time(entry),
            entry.actor_kind,
            entry.actor_id,
            entry.action,
            entry.resource,
            json.dumps(entry.details, ensure_ascii=False, sort_keys=True),
            entry.address,
            entry.request_id,
        )
    )


def _csv_line(values: Sequence[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(
        f"'{value}" if value.startswith(_FORMULA_STARTS) else value for value in values
    )
    return text.getvalue().encode()


def _time(entry: Entry) -> str:
    return entry.act_time.isoformat(timespec="microseconds").replace("+00:00", "Z")
