"""A platform of the benchmark's own: ``tieline up`` in a temporary folder, on free ports."""

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

# A cold start makes the database; a warm one takes a tenth of this.
START_TIMEOUT_S = 120.0
_POLL_INTERVAL_S = 0.02


@dataclass(frozen=True, slots=True)
class LocalPlatform:
    """A running platform."""

    data: Path
    pid: int
    start_s: float
    """Seconds from starting the command to everything being healthy."""

    def pss_mb(self) -> float:
        """Return the memory of all its processes, shared pages counted once, in MB."""
        processes = [psutil.Process(self.pid), *psutil.Process(self.pid).children(recursive=True)]
        return sum(process.memory_full_info().pss for process in processes) / 1e6


@contextmanager
def temporary_data() -> Iterator[Path]:
    """Give a folder for a platform's data."""
    with tempfile.TemporaryDirectory(prefix="tieline-bench-") as folder:
        yield Path(folder) / "data"


@asynccontextmanager
async def running_platform(data: Path, **settings: str) -> AsyncIterator[LocalPlatform]:
    """Run ``tieline up`` on the folder, with settings by their names, until the block is left."""
    endpoints = data / "endpoints.json"
    begin = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tieline.cli.main", "up", "--data", str(data)),
        stdout=asyncio.subprocess.DEVNULL,
        env={**os.environ, **settings},
    )
    try:
        while not endpoints.exists():
            if process.returncode is not None or time.monotonic() - begin > START_TIMEOUT_S:
                raise RuntimeError("tieline up did not come up; run it by itself to see why")
            await asyncio.sleep(_POLL_INTERVAL_S)
        yield LocalPlatform(data, process.pid, time.monotonic() - begin)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()
