"""Child processes that never outlive their parent, and their orderly end."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tieline.embedded import die_with_parent
from tieline.embedded.errors import EngineError

POLL_INTERVAL_S = 0.02
# An engine that recovers from a crash replays at most max_wal_size; on a slow disk that takes
# seconds, not minutes.
READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
SHOWN_LOG_CHARACTERS = 500


def dying_with_parent(command: Sequence[str], signal_number: signal.Signals) -> list[str]:
    """Return the command that runs ``command`` and signals it when this process dies.

    Start it from a thread that lives as long as the process: the kernel watches the thread.
    """
    script = str(Path(die_with_parent.__file__))
    return [
        *(sys.executable, "-I", "-S", script),
        *(str(int(signal_number)), str(os.getpid())),
        *command,
    ]


@contextlib.contextmanager
def running_child(
    command: Sequence[str],
    *,
    name: str,
    log_file: Path,
    stop_signal: signal.Signals,
    is_ready: Callable[[], bool],
) -> Iterator[int]:
    """Run an engine until the block is left; yield its process id once it is ready."""
    with log_file.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 -- the command is ours
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_until(lambda: _is_ready(process, name, log_file, is_ready), name)
        yield process.pid
    finally:
        stop_child(process, stop_signal)


def wait_until(
    condition: Callable[[], bool], name: str, *, timeout_s: float = READY_TIMEOUT_S
) -> None:
    """Return when the condition holds; raise EngineError when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise EngineError(f"{name} is not ready after {timeout_s:.0f} s")
        time.sleep(POLL_INTERVAL_S)


def stop_child(process: subprocess.Popen[bytes], stop_signal: signal.Signals) -> None:
    """Ask the child to end; kill its process group if it does not."""
    process.send_signal(stop_signal)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _is_ready(
    process: subprocess.Popen[bytes], name: str, log_file: Path, is_ready: Callable[[], bool]
) -> bool:
    if process.poll() is not None:
        last_words = " | ".join(log_file.read_text(errors="replace").split("\n"))
        raise EngineError(
            f"{name} ended with status {process.returncode}: {last_words[-SHOWN_LOG_CHARACTERS:]}"
        )
    return is_ready()
