"""The form of log lines."""

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from tieline.chassis.calls import Call, entered
from tieline.chassis.logs import (
    MAX_EXCEPTION_LENGTH,
    MAX_FIELD_LENGTH,
    MAX_MESSAGE_LENGTH,
    LogFormat,
    configure_logging,
)

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


class Terminal(io.StringIO):
    """A stream that people read."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored_root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def log_to(stream: io.StringIO, log_format: LogFormat = "auto") -> logging.Logger:
    configure_logging("identity", log_format=log_format, stream=stream)
    return logging.getLogger("tieline.sample")


def test_json_line_has_the_context_of_its_call() -> None:
    stream = io.StringIO()
    log = log_to(stream)
    call = Call("/a.B/C", "request-1", traceparent=f"00-{TRACE_ID}-b7ad6b7169203331-00")

    with entered(call):
        log.warning("say %s", "hello", extra={"fields": {"attempts": 3, "corp_id": "wwacme"}})

    line = json.loads(stream.getvalue())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {
        "level": "warning",
        "logger": "tieline.sample",
        "message": "say hello",
        "service": "identity",
        "request_id": "request-1",
        "trace_id": TRACE_ID,
        "attempts": 3,
        "corp_id": "wwacme",
    }


def test_line_stays_one_line_and_of_bounded_length() -> None:
    stream = io.StringIO()
    log = log_to(stream)

    try:
        raise ValueError("e" * 100_000)
    except ValueError:
        log.exception("two\nlines %s", "m" * 100_000, extra={"fields": {"field": "f" * 9999}})

    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    line = json.loads(lines[0])
    assert len(line["message"]) == MAX_MESSAGE_LENGTH
    assert len(line["exception"]) == MAX_EXCEPTION_LENGTH
    assert len(line["field"]) == MAX_FIELD_LENGTH


def test_auto_writes_for_people_on_a_terminal_and_json_elsewhere() -> None:
    terminal, pipe = Terminal(), io.StringIO()

    log_to(terminal).info("hello")
    log_to(pipe).info("hello")

    assert "\x1b[" in log_and_read(Terminal(), logging.ERROR)
    assert terminal.getvalue().endswith("hello\n")
    assert json.loads(pipe.getvalue())["message"] == "hello"


def log_and_read(stream: io.StringIO, level: int) -> str:
    log_to(stream).log(level, "hello")
    return stream.getvalue()


def test_console_message_cannot_pretend_to_be_two_records() -> None:
    stream = io.StringIO()

    log_to(stream, "console").info("hello\n00:00:00.000 ERROR forged")

    assert len(stream.getvalue().splitlines()) == 1


def test_lower_levels_are_left_out() -> None:
    stream = io.StringIO()
    configure_logging("identity", log_level="warning", stream=stream)

    logging.getLogger("tieline.sample").info("hello")

    assert stream.getvalue() == ""
