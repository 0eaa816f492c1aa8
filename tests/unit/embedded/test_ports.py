"""Whether a port is free, and that a free one is given to one caller only."""

import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tieline.embedded import ports
from tieline.embedded.ports import find_free_port, is_port_free


def test_port_with_a_listener_is_not_free_until_the_listener_is_gone() -> None:
    port = find_free_port()
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()

        assert not is_port_free(port)

    assert is_port_free(port)


def test_port_that_is_shared_by_its_listeners_is_not_free() -> None:
    port = find_free_port()
    with socket.socket() as listener:
        # As gRPC opens its ports.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()

        assert not is_port_free(port)


def test_no_two_processes_are_given_the_same_port() -> None:
    script = (
        "import sys; from tieline.embedded.ports import find_free_port\n"
        "print(*(find_free_port() for _ in range(64)), flush=True); sys.stdin.read()"
    )
    # By chance alone, two of 256 ports are the same in nine of ten runs.
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(4)
    ]
    found: list[bytes] = []
    for process in processes:
        assert process.stdout is not None
        found += process.stdout.readline().split()
    for process in processes:
        process.communicate()

    assert len(set(found)) == len(found) == 256


def test_a_port_that_another_caller_was_given_is_not_even_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its server may be opening it at this moment."""
    given, free = find_free_port(), 30_000
    looked: list[int] = []

    class Draws:
        def __init__(self, drawn: list[int]) -> None:
            self._drawn = iter(drawn)

        def choice(self, _: range) -> int:
            return next(self._drawn)

    def look(port: int) -> bool:
        looked.append(port)
        return True

    monkeypatch.setattr(ports, "_CHANCE", Draws([given, *range(free, free + 500)]))
    monkeypatch.setattr(ports, "is_port_free", look)
    assert find_free_port() != given
    assert given not in looked


def test_no_outgoing_connection_takes_a_port_that_was_found() -> None:
    settings = Path("/proc/sys/net/ipv4/ip_local_port_range")
    first, last = map(int, settings.read_text().split())

    assert not any(first <= find_free_port() <= last for _ in range(64))


def test_a_process_may_find_any_number_of_ports() -> None:
    open_before = psutil.Process().num_fds()
    found = [find_free_port() for _ in range(300)]

    assert all(is_port_free(port) for port in found[-64:])
    assert psutil.Process().num_fds() - open_before <= 64
