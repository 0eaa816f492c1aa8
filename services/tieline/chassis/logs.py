"""Log records as JSON lines for a cluster or as readable lines for a person.

Nothing here looks for secrets to blot out: what is secret is not logged in the first place.
"""

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from opentelemetry.trace import get_current_span

from tieline.chassis.calls import find_call

LogFormat = Literal["auto", "json", "console"]

# One line must not fill a collector's buffer: most take 16 KiB a record or more.
MAX_MESSAGE_LENGTH = 4096
MAX_EXCEPTION_LENGTH = 8192
MAX_FIELD_LENGTH = 256

_COLOURS = {
    "DEBUG": "\x1b[2m",
    "WARNING": "\x1b[33m",
    "ERROR": "\x1b[31m",
    "CRITICAL": "\x1b[1;31m",
}
_DIM = "\x1b[2m"
_RESET = "\x1b[0m"


def configure_logging(
    service: str,
    *,
    log_format: LogFormat = "auto",
    log_level: str = "info",
    stream: TextIO | None = None,
) -> None:
    """Send everything that is logged in this process to ``stream`` (stderr), once per process.

    ``auto`` takes the readable form when the stream is a terminal.
    """
    stream = stream or sys.stderr
    is_console = log_format == "console" or (log_format == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        ConsoleFormatter(is_coloured=stream.isatty()) if is_console else JsonFormatter(service)
    )
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(log_level.upper())
    # Says "task took 0.1 s" and the like at warning level, for its own developers.
    logging.getLogger("asyncio").setLevel(logging.ERROR)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, message, context, fields."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        line: dict[str, Any] = {
            "time": _rfc3339(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": shorten(record.getMessage(), MAX_MESSAGE_LENGTH),
            "service": self._service,
            **read_context(),
            **read_fields(record),
        }
        if record.exc_info:
            line["exception"] = shorten_front(
                self.formatException(record.exc_info), MAX_EXCEPTION_LENGTH
            )
        return json.dumps(line, ensure_ascii=False)


class ConsoleFormatter(logging.Formatter):
    """Time, level, message, then what there is besides; the exception below.

    Fields that the message already tells are named by ``extra={"said": (…)}`` and left out.
    """

    def __init__(self, *, is_coloured: bool) -> None:
        super().__init__()
        self._is_coloured = is_coloured

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a line, with its exception on further lines."""
        # A message with line breaks in it could pretend to be several records.
        message = shorten(record.getMessage(), MAX_MESSAGE_LENGTH).replace("\n", "\\n")
        facts = {**read_fields(record), **read_context()}
        said = getattr(record, "said", ())
        rest = " ".join(
            f"{name}={value}" for name, value in facts.items() if value != "" and name not in said
        )
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S.%f")[:-3]
        line = (
            f"{time} {self._paint(f'{record.levelname:<7}', _COLOURS.get(record.levelname, ''))} "
            f"{message} {self._paint(rest, _DIM)}"
        ).rstrip()
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line

    def _paint(self, text: str, colour: str) -> str:
        return f"{colour}{text}{_RESET}" if self._is_coloured and colour and text else text


def read_context() -> Mapping[str, str]:
    """Return ``request_id``, ``trace_id`` and ``span_id`` of what runs now, as far as it has them.

    The trace of a call that is not sampled has an id too: services further down may log it.
    """
    context = {}
    call = find_call()
    if call is not None:
        context["request_id"] = call.request_id
        if call.traceparent:
            context["trace_id"] = call.traceparent.split("-")[1]
    span = get_current_span().get_span_context()
    if span.is_valid:
        context["trace_id"] = f"{span.trace_id:032x}"
        context["span_id"] = f"{span.span_id:016x}"
    return context


def read_fields(record: logging.LogRecord) -> Mapping[str, str | int | float | bool]:
    """Return what was logged as ``extra={"fields": {…}}``."""
    fields: Mapping[str, Any] = getattr(record, "fields", {})
    return {
        name: value
        if isinstance(value, bool | int | float)
        else shorten(str(value), MAX_FIELD_LENGTH)
        for name, value in fields.items()
    }


def shorten(text: str, max_length: int) -> str:
    """Return the text, cut at the end."""
    return text if len(text) <= max_length else text[: max_length - 1] + "…"


def shorten_front(text: str, max_length: int) -> str:
    """Return the text, cut at the front: a traceback's last lines say the most."""
    return text if len(text) <= max_length else "…" + text[1 - max_length :]


def _rfc3339(timestamp_s: float) -> str:
    instant = datetime.fromtimestamp(timestamp_s, UTC)
    return instant.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
