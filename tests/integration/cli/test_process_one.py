"""Number 1 of its own processes, as in a container: a signal without a handler is no signal."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from e2e.platform_process import environment, tieline_command
from fakes.eventually import eventually

ENDED_BY_SIGTERM = 128 + signal.SIGTERM
# SIGTERM is answered at once or never.
STOP_TIMEOUT_S = 10

MAY_MAKE_NAMESPACES = (
    subprocess.run(
        ["unshare", "--pid", "--fork", "true"], check=False, stderr=subprocess.DEVNULL
    ).returncode
    == 0
)


@contextmanager
def as_process_one(
    output: Path, *command: str, **settings: str
) -> Iterator[subprocess.Popen[bytes]]:
    with output.open("wb") as file:
        outside = subprocess.Popen(
            ["unshare", "--pid", "--fork", "--kill-child", *tieline_command(*command)],
            env=environment(**settings),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    try:
        yield outside
    finally:
        outside.kill()
        outside.wait()


async def terminate(outside: subprocess.Popen[bytes]) -> int:
    """Tell number 1 to stop, and return its exit status."""
    (inside,) = psutil.Process(outside.pid).children()
    inside.terminate()
    return await asyncio.to_thread(outside.wait, STOP_TIMEOUT_S)


if MAY_MAKE_NAMESPACES:

    async def test_migrations_end_at_sigterm(tmp_path: Path) -> None:
        was_called = asyncio.Event()

        async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            was_called.set()
            await reader.read()
            writer.close()

        server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        settings = {
            "TIELINE_DATABASE_ADMIN_DSN": f"postgresql://postgres@127.0.0.1:{port}/tieline",
            "TIELINE_NATS_ADMIN_URL": "nats://127.0.0.1:1",
        }
        async with server:
            with as_process_one(tmp_path / "output", "migrate", **settings) as outside:
                # It waits for the database's answer, which never comes.
                await eventually(was_called.is_set)

                assert await terminate(outside) == ENDED_BY_SIGTERM

    async def test_a_role_that_is_still_importing_ends_at_sigterm(tmp_path: Path) -> None:
        # An import that takes for ever, in the place of one that a role needs.
        gate = tmp_path / "gate"
        os.mkfifo(gate)
        (tmp_path / "uvloop.py").write_text(f"open({str(gate)!r}).read()\n")
        settings = {"PYTHONPATH": str(tmp_path)}
        with as_process_one(tmp_path / "output", "serve", "contacts", **settings) as outside:
            # A way to write exists once somebody reads, and while it does, reading does not end.
            writing: list[int] = []
            await eventually(lambda: begin_to_write(gate, writing))

            assert await terminate(outside) == ENDED_BY_SIGTERM
        os.close(*writing)


def begin_to_write(fifo: Path, writing: list[int]) -> bool:
    try:
        writing.append(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True
