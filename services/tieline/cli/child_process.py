"""One run of a child: its process, its output line by line, its end."""

import asyncio
import contextlib
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence

# Longer lines are cut into pieces of this size, so that a child cannot fill the memory.
MAX_LINE_BYTES = 64 * 1024
READ_BYTES = 64 * 1024
# Whatever left the child's process group may hold the pipe open for ever.
OUTPUT_TIMEOUT_S = 1.0


class ChildProcess:
    """A started child in a session of its own: the terminal's Ctrl-C does not reach it."""

    def __init__(
        self, process: asyncio.subprocess.Process, print_line: Callable[[str], None] | None
    ) -> None:
        self._process = process
        self._output = (
            asyncio.create_task(self._pump(print_line)) if print_line is not None else None
        )

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        print_line: Callable[[str], None] | None,
        inherited_files: Sequence[int],
    ) -> "ChildProcess":
        """Start it; without ``print_line`` it writes to our own standard output."""
        output = asyncio.subprocess.PIPE if print_line is not None else None
        process = await asyncio.create_subprocess_exec(
            *command,
            env=dict(environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT if print_line is not None else None,
            start_new_session=True,
            pass_fds=tuple(inherited_files),
        )
        return cls(process, print_line)

    @property
    def process_id(self) -> int:
        """The child's process id, which is also its process group."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether the child is gone."""
        return self._process.returncode is not None

    async def wait(self) -> int:
        """Return the exit status, negative for a signal, once the last output is printed."""
        status = await self._process.wait()
        # What a child leaves behind would hold its port against the next one.
        self.kill()
        if self._output is not None:
            await asyncio.wait({self._output}, timeout=OUTPUT_TIMEOUT_S)
            self._output.cancel()
        return status

    async def stop(self, stop_signal: signal.Signals, timeout_s: float) -> None:
        """Ask the child to end; after the timeout kill it and all that it started."""
        if not self.has_ended:
            self._process.send_signal(stop_signal)
        try:
            await asyncio.wait_for(self._process.wait(), timeout_s)
        except TimeoutError:
            self.kill()
        await self.wait()

    def kill(self) -> None:
        """End the child and all that it started, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def _pump(self, print_line: Callable[[str], None]) -> None:
        assert self._process.stdout is not None, "the output is a pipe"
        buffer = b""
        pending: deque[bytes] = deque()
        while chunk := await self._process.stdout.read(READ_BYTES):
            *lines, buffer = (buffer + chunk).split(b"\n")
            pending.extend(lines)
            if len(buffer) > MAX_LINE_BYTES:
                pending.append(buffer)
                buffer = b""
            while pending:
                self._print(pending.popleft(), print_line)
        if buffer:
            self._print(buffer, print_line)

    def _print(self, line: bytes, print_line: Callable[[str], None]) -> None:
        print_line(line.decode(errors="replace").rstrip())


def describe_status(status: int) -> str:
    """Name an exit status: ``status 1`` or ``SIGKILL``."""
    return signal.Signals(-status).name if status < 0 else f"status {status}"
