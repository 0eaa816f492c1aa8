"""`tieline up` as a process of its own, for tests that start, stop and kill it."""

import asyncio
import os
import random
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import psutil

from fakes.eventually import eventually
from tieline.cli.data_directory import DataDirectory
from tieline.embedded.ports import is_port_free, promise_port

IS_UP = "serving; Ctrl-C stops everything"
# On a busy machine with cold caches; a warm start takes three seconds.
START_TIMEOUT_S = 100.0
PORTS_OF_A_PLATFORM = 500
POSTGRES_DEFAULT_PORT = 7432


class PlatformProcess:
    """A started `tieline up` and what it printed."""

    def __init__(self, process: subprocess.Popen[bytes], data: DataDirectory, output: Path) -> None:
        self.process = process
        self.data = data
        self._output = output

    @property
    def output(self) -> str:
        """Everything printed so far."""
        return self._output.read_text()

    def all_processes(self) -> list[psutil.Process]:
        """Return the platform's process and everything below it."""
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]

    def process_of(self, *words: str) -> psutil.Process:
        """Return the one process whose command line has all the words."""
        (found,) = (p for p in self.all_processes() if set(words) <= set(p.cmdline()))
        return found

    async def is_up(self) -> None:
        """Return when everything is healthy; fail with the output if it ends instead."""
        await eventually(
            lambda: IS_UP in self.output or self._has_ended(), timeout_s=START_TIMEOUT_S
        )
        assert IS_UP in self.output, self.output

    async def stop(self, signal_number: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and return its exit status."""
        self.process.send_signal(signal_number)
        return await asyncio.to_thread(self.process.wait)

    def _has_ended(self) -> bool:
        return self.process.poll() is not None


def free_base_port() -> int:
    """Return a base port on which a platform finds all its ports free.

    Platforms of two test workers that start together would take the same default ports. Below those
    that are found one by one, of which any may be given to another server before this one opens it.
    """
    while True:
        base_port = random.randrange(10_000, 20_000, PORTS_OF_A_PLATFORM)
        ports = range(base_port, base_port + PORTS_OF_A_PLATFORM)
        if promise_port(base_port) and all(map(is_port_free, ports)):
            return base_port


@asynccontextmanager
async def platform_process(
    data: Path, *options: str, prefix: Sequence[str] = (), has_default_ports: bool = False
) -> AsyncIterator[PlatformProcess]:
    """Run `tieline up` on the folder within the block; it may still be starting."""
    if not has_default_ports:
        options = (*options, "--base-port", str(free_base_port()))
    output = data.with_suffix(".output")
    with output.open("wb") as file:
        process = subprocess.Popen(  # noqa: ASYNC220 -- starts, and does not wait
            [*prefix, *tieline_command("up"), "--data", str(data), *options],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment(),
        )
    platform = PlatformProcess(process, DataDirectory(data), output)
    try:
        yield platform
    finally:
        if process.poll() is None:
            await platform.stop()


async def run_tieline(*arguments: str, **settings: str) -> tuple[int, str]:
    """Run a short command; return its status and everything that it printed."""
    process = await asyncio.create_subprocess_exec(
        *tieline_command(*arguments),
        env=environment(**settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


def tieline_command(*arguments: str) -> list[str]:
    """Return the argv of a tieline command."""
    return [sys.executable, "-m", "tieline.cli.main", *arguments]


def environment(**changes: str) -> dict[str, str]:
    """Return ours without settings of tieline, which would change what the test starts."""
    kept = {name: value for name, value in os.environ.items() if not re.match("TIELINE_", name)}
    return {**kept, **changes}


def take_port(stack: ExitStack, port: int) -> None:
    """Listen on a port until the stack is left."""
    listener = stack.enter_context(socket.socket())
    # What is left of a platform that ended a moment ago keeps nobody from the port.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        return  # Somebody else has it, which is as good.
    listener.listen()


def survivors(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Return those that still run."""
    return [process for process in processes if _is_running(process)]


def _is_running(process: psutil.Process) -> bool:
    try:
        # Also False when another process has the number by now.
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
