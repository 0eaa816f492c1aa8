"""ejabberd with an archive in PostgreSQL, as the peer that messaging is measured beside.

BENCH_PEERLAB names a folder with ``ejabberd_peer.sh``, ``peer_pg.sh`` and ``xmpp_load.py``; it
needs root and Debian's ``ejabberd``, ``erlang-p1-pgsql`` and ``postgresql``. Without it the figures
beside ejabberd's are left out. Both have the same settings of PostgreSQL, and on both the CPU is
that of the server and its database. ejabberd stores two rows for each message, one for each side;
the load checks that nothing is lost, told twice or out of order.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.messaging_platform import TEXT_BYTES

_PAIRS = 20
_NODE = "ejabberd@localhost"
_ROOT = "/"
_ROWS_PER_MESSAGE = 2

# Of one command; the longest load takes some seconds.
_TIMEOUT_S = 120.0

# Of each pair, on their way at the same time where no rate is given.
_WINDOW = 4


@dataclass(frozen=True, slots=True)
class PeerLoad:
    """What ejabberd did in a measurement."""

    per_cpu_second: float
    """Messages per CPU second of ejabberd and its PostgreSQL."""

    delivery_p99_ms: float


class Ejabberd:
    """A running ejabberd."""

    def __init__(self, folder: Path, pids: tuple[int, ...]) -> None:
        self._folder = folder
        self._pids = pids
        self._sent = 0

    async def send(self, *, rate: float, seconds: float) -> PeerLoad:
        """Send between 20 pairs at a rate; 0 is as fast as four messages of each are answered."""
        pids = [argument for pid in self._pids for argument in ("--pid", str(pid))]
        report = json.loads(
            await _run(
                sys.executable,
                str(self._folder / "xmpp_load.py"),
                *("--pairs", str(_PAIRS), "--rate", str(rate), "--seconds", str(seconds)),
                *("--window", str(_WINDOW), "--size", str(TEXT_BYTES), *pids),
            )
        )
        self._sent += report["sent"]
        is_whole = report["delivered"] == report["acked"] == report["sent"]
        if not is_whole or report["dup"] or report["order_violations"]:
            raise RuntimeError(f"ejabberd did not deliver all, once and in order: {report}")
        return PeerLoad(report["msgs_per_server_core_s"], report["delivery_ms"]["p99"])

    async def check_all_stored(self) -> None:
        """Raise RuntimeError unless everything that was sent is in the archive."""
        rows = int(await _run(str(self._folder / "ejabberd_peer.sh"), "count", _ROOT))
        if rows != _ROWS_PER_MESSAGE * self._sent:
            raise RuntimeError(f"{self._sent} were sent to ejabberd and {rows} rows are stored")


@asynccontextmanager
async def ejabberd() -> AsyncIterator[Ejabberd | None]:
    """Run ejabberd and its PostgreSQL until the block ends; None where there is no peer lab."""
    folder = _find_lab()
    if folder is None:
        yield None
        return
    script = str(folder / "ejabberd_peer.sh")
    try:
        await _run(script, "up", _ROOT)
        await _run(script, "users", _ROOT, str(2 * _PAIRS))
        postgres = int((await _run(str(folder / "peer_pg.sh"), "pid", _ROOT)).strip())
        peer = Ejabberd(folder, (_find_node(), postgres))
        yield peer
        await peer.check_all_stored()
    finally:
        await _run(script, "down", _ROOT, is_checked=False)


def _find_lab() -> Path | None:
    name = os.environ.get("BENCH_PEERLAB", "")
    return Path(name).resolve() if name else None


def _find_node() -> int:
    for process in psutil.process_iter(["name", "cmdline"]):
        if process.info["name"] == "beam.smp" and _NODE in (process.info["cmdline"] or ()):
            return process.pid
    raise RuntimeError("ejabberd did not start: see its log in /var/log/ejabberd")


async def _run(*command: str, is_checked: bool = True) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            output, errors = await process.communicate()
    except TimeoutError:
        raise RuntimeError(f"{' '.join(command)} did not end in {_TIMEOUT_S:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if is_checked and process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {errors.decode().strip()[-500:]}")
    return output.decode()
