"""HAProxy as a process: its files, its check, its start, its reload, its sockets.

A master process keeps the listening sockets and starts a worker. At a reload it starts another one
that takes the sockets over; the old one serves what it has until that ends.
"""

import asyncio
import contextlib
import logging
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tieline.chassis.process import StartError
from tieline.edge.configuration import (
    CONFIGURATION_FILE,
    MASTER_SOCKET,
    PRESENCE,
    STATS_SOCKET,
)

BINARY = "haproxy"
# Debian keeps it where only the administrator's search path leads.
_MORE_FOLDERS = "/usr/sbin:/usr/local/sbin:/sbin"
_CHECK_TIMEOUT_S = 10.0
_SOCKET_TIMEOUT_S = 2.0
_START_TIMEOUT_S = 10.0
_POLL_S = 0.02
_STOP_TIMEOUT_S = 5.0
_MAX_ANSWER_BYTES = 16 * 1024 * 1024
# A socket's path has 108 bytes at most, and HAProxy binds under a longer name first.
_MAX_DIRECTORY_BYTES = 60

Launch = Callable[[Sequence[str]], Sequence[str]]
"""Turns a command into the one that is really run, such as one that ends with its parent."""

logger = logging.getLogger(__name__)


def find_binary() -> str:
    """Return the path of HAProxy. Raises StartError that names the package."""
    path = shutil.which(BINARY) or shutil.which(BINARY, path=_MORE_FOLDERS)
    if path is None:
        raise StartError(
            "HAProxy is not installed, and the edge is HAProxy: install the package `haproxy` "
            "(Debian: apt-get install haproxy), or leave the edge out"
        )
    return path


@contextlib.contextmanager
def run_directory(wanted: str) -> Iterator[Path]:
    """Give the folder for files and sockets; a temporary one goes at the end."""
    if not wanted:
        with tempfile.TemporaryDirectory(prefix="tieline-edge-") as made:
            yield Path(made)
        return
    path = Path(wanted).absolute()
    if len(bytes(path)) > _MAX_DIRECTORY_BYTES:
        raise StartError(
            f"TIELINE_EDGE_RUN_DIRECTORY {path} is longer than {_MAX_DIRECTORY_BYTES} bytes"
        )
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    yield path


class HAProxy:
    """One HAProxy on one folder."""

    def __init__(self, binary: str, directory: Path) -> None:
        self._binary = binary
        self._directory = directory

    async def install(self, files: Mapping[str, str]) -> None:
        """Check the files and put them in place, all or none. Raises StartError."""
        with tempfile.TemporaryDirectory(dir=self._directory, prefix="new-") as staging:
            self._write(files, Path(staging))
            await self._check(Path(staging) / CONFIGURATION_FILE)
            for name in files:
                (Path(staging) / name).replace(self._directory / name)

    @asynccontextmanager
    async def running(
        self, launch: Launch, *, grace_s: float, drain_s: float = 0.0
    ) -> AsyncIterator["Master"]:
        """Run it until the block is left, and ``drain_s`` seconds in which it says that it goes.

        Then calls and streams may take ``grace_s`` seconds.
        """
        command = [
            *(self._binary, "-W", "-S", f"{self._directory / MASTER_SOCKET},mode,600"),
            *("-f", str(self._directory / CONFIGURATION_FILE)),
        ]
        process = await asyncio.create_subprocess_exec(
            *launch(command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        assert process.stdout is not None, "it is a pipe"
        logging_output = asyncio.create_task(_log_lines(process.stdout))
        master = Master(process, self, self._directory)
        try:
            await master.wait_until_serving()
            yield master
            await master.leave(drain_s)
        finally:
            await master.stop(grace_s)
            logging_output.cancel()

    def _write(self, files: Mapping[str, str], staging: Path) -> None:
        for name, text in files.items():
            path = staging / name
            path.touch(mode=0o600)
            path.write_text(text)
            # The texts name each other by where they will be, which must hold a first version.
            if name != CONFIGURATION_FILE and not (self._directory / name).exists():
                shutil.copy(path, self._directory / name)

    async def _check(self, file: Path) -> None:
        process = await asyncio.create_subprocess_exec(
            *(self._binary, "-c", "-f", str(file)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(), _CHECK_TIMEOUT_S)
        if process.returncode:
            lines = output.decode(errors="replace").splitlines()
            alerts = [line for line in lines if "[ALERT]" in line]
            said = alerts[:3] or [*lines[-3:], f"its check ended with {process.returncode}"]
            raise StartError(f"HAProxy refuses the configuration: {' | '.join(said)}")


class Master:
    """A running HAProxy."""

    def __init__(
        self, process: asyncio.subprocess.Process, haproxy: HAProxy, directory: Path
    ) -> None:
        self._process = process
        self._haproxy = haproxy
        self.directory = directory
        """Where its files and sockets are."""

    @property
    def process_id(self) -> int:
        """The master's process id."""
        return self._process.pid

    async def wait(self) -> int:
        """Return the exit status when it has ended."""
        return await self._process.wait()

    async def reload(self, files: Mapping[str, str]) -> None:
        """Take another configuration without dropping anything; a wrong one changes nothing.

        Raises StartError for files that HAProxy refuses.
        """
        await self._haproxy.install(files)
        before = await self.worker_id()
        self._process.send_signal(signal.SIGUSR2)
        await self._wait_for_worker(other_than=before)
        logger.info("reloaded; worker %s serves what it has until that ends", before)

    async def ask(self, command: str) -> str:
        """Return the worker's answer to a command of HAProxy's runtime API. Raises OSError."""
        return await ask(self.directory / STATS_SOCKET, command)

    async def worker_id(self) -> int | None:
        """Return the process id of the worker that takes new connections, None without one."""
        try:
            answer = await self.ask("show info")
        except (OSError, TimeoutError):
            return None
        found = [line for line in answer.splitlines() if line.startswith("Pid:")]
        return int(found[0].removeprefix("Pid:")) if found else None

    async def wait_until_serving(self) -> None:
        """Return when it takes connections. Raises StartError when it does not."""
        await self._wait_for_worker(other_than=None)

    async def _wait_for_worker(self, *, other_than: int | None) -> None:
        async with asyncio.timeout(_START_TIMEOUT_S):
            # Asked again and again: HAProxy tells nobody when it has begun.
            while (await self.worker_id()) in (None, other_than):
                if self._process.returncode is not None:
                    raise StartError(
                        f"HAProxy ended with status {self._process.returncode}; the log has its "
                        "last lines: is TIELINE_EDGE_PORT in use?"
                    )
                await asyncio.sleep(_POLL_S)

    async def leave(self, drain_s: float) -> None:
        """Say to probes that no calls should come any more, and serve for ``drain_s`` seconds."""
        if drain_s and self._process.returncode is None:
            with contextlib.suppress(OSError):
                await self.ask(f"set server {PRESENCE}/{PRESENCE} state maint")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), drain_s)

    async def stop(self, grace_s: float) -> None:
        """Take no new connections, let what goes on end within ``grace_s`` seconds, and end it."""
        for number, timeout_s in (
            (signal.SIGUSR1, grace_s),
            (signal.SIGTERM, _STOP_TIMEOUT_S),
            (signal.SIGKILL, _STOP_TIMEOUT_S),
        ):
            if self._process.returncode is None:
                self._process.send_signal(number)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._process.wait(), timeout_s)


async def _log_lines(output: asyncio.StreamReader) -> None:
    """Log what HAProxy prints: its alerts, and which replicas come and go."""
    while line := await output.readline():
        text = line.decode(errors="replace").strip()
        if text.startswith("[ALERT]") and "exited with code" not in text:
            logger.error("HAProxy: %s", text)
        elif text.startswith("Server "):
            logger.info("HAProxy: %s", text)
        else:
            logger.debug("HAProxy: %s", text)


async def ask(socket: Path, command: str) -> str:
    """Return the answer to a command on one of HAProxy's sockets. Raises OSError."""
    async with asyncio.timeout(_SOCKET_TIMEOUT_S):
        reader, writer = await asyncio.open_unix_connection(str(socket), limit=_MAX_ANSWER_BYTES)
        try:
            writer.write(f"{command}\n".encode())
            return (await reader.read(-1)).decode(errors="replace")
        finally:
            writer.close()
