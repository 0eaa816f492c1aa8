"""Which lines of the engines a person gets to see."""

import pytest

from tieline.cli.platform import is_nats_line_shown, is_postgres_line_shown


@pytest.mark.parametrize(
    ("line", "is_shown"),
    [
        ("LOG:  database system is ready to accept connections", False),
        ("FATAL:  the database system is starting up", False),
        ("FATAL:  could not write lock file: No space left on device", True),
        ("PANIC:  could not write to file", True),
        ("ERROR:  out of memory", True),
    ],
)
def test_postgres_is_heard_when_something_is_wrong(line: str, is_shown: bool) -> None:
    assert is_postgres_line_shown(line) is is_shown


@pytest.mark.parametrize(
    ("line", "is_shown"),
    [
        ("[1] [INF] Server is ready", False),
        ("[1] [WRN] Plaintext passwords detected, use nkeys or bcrypt", False),
        ("[1] [WRN] JetStream resource limits exceeded", True),
        ("[1] [ERR] Error writing message: no space left on device", True),
        ("panic: runtime error", True),
    ],
)
def test_nats_is_heard_when_something_is_wrong(line: str, is_shown: bool) -> None:
    assert is_nats_line_shown(line) is is_shown
