"""What a second of the operator costs, and how soon it answers a step.

Measures ``operator.tick_*`` and ``operator.step_to_write_seconds``: the real operator process on a
real NATS, and beside it, as one process, the tests' API server and replicas that report without
serving (`bench/operator_stage.py`). For the steps the load of twenty services is tenfold from one
moment to the next, at moments that have nothing to do with reports and ticks; the clock runs from
there to the write's arrival at the API.
"""

import asyncio
import json
import math
import os
import secrets
import signal
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.harness import Benchmark, Figure, Target, summarise
from tieline.chassis import streams
from tieline.embedded.nats import EmbeddedNats, User
from tieline.embedded.ports import find_free_port

_POLICIES, _PODS = 50, 40
_STEPS, _STEP_PODS = 20, 3
_MEASURED_S = 30
_SETTLE_S = 12.0
_START_TIMEOUT_S = 60.0
_TICK_METRIC = "operator_tick_duration_seconds"

_TICK, _CPU, _MEMORY = "operator.tick_ms", "operator.tick_cores", "operator.tick_rss_mb"
_STEP = "operator.step_to_write_seconds"


@dataclass(frozen=True, slots=True)
class _Scene:
    operator: psutil.Process
    metrics_port: int
    stage: asyncio.subprocess.Process

    async def tick_s(self) -> float:
        """Return how long the last tick took; 0 before the first."""
        text = await asyncio.to_thread(_read_metrics, self.metrics_port)
        lines = [line for line in text.splitlines() if line.startswith(_TICK_METRIC)]
        return float(lines[0].rpartition(" ")[2]) if lines else 0.0

    async def step(self, count: int) -> list[float]:
        """Step so many services; return the seconds to each write."""
        assert self.stage.stdin, "its pipes were asked for"
        assert self.stage.stdout, "its pipes were asked for"
        self.stage.stdin.write(f"{count}\n".encode())
        seconds: list[float] = json.loads(await self.stage.stdout.readline())
        return seconds


async def measure_ticks() -> Sequence[Figure]:
    """Follow 50 policies with 2,000 pods for half a minute."""
    # Of a load that the pods hold, so that nothing is to be done.
    async with _scene(_POLICIES, _PODS, rate=70.0 * _PODS) as scene:
        begin, before = time.monotonic(), _cpu_s(scene.operator)
        ticks, memory = [], []
        for _ in range(_MEASURED_S):
            await asyncio.sleep(1.0)
            ticks.append(1000 * await scene.tick_s())
            memory.append(scene.operator.memory_info().rss / 1e6)
        cores = (_cpu_s(scene.operator) - before) / (time.monotonic() - begin)
    longest = sorted(ticks)[math.ceil(0.99 * len(ticks)) - 1]
    return [
        summarise(_TICK, [longest], "ms", target=Target("value", "at most", 200)),
        summarise(f"{_TICK}.median", [statistics.median(ticks)], "ms"),
        summarise(_CPU, [cores], "cores", target=Target("value", "at most", 0.3)),
        summarise(_MEMORY, [max(memory)], "MB", target=Target("value", "at most", 250)),
    ]


async def measure_steps() -> Sequence[Figure]:
    """Step twenty services."""
    async with _scene(_STEPS, _STEP_PODS, rate=50.0 * _STEP_PODS) as scene:
        seconds = sorted(await scene.step(_STEPS))
    return [
        summarise(_STEP, [seconds[-1]], "s", target=Target("value", "at most", 2)),
        summarise(f"{_STEP}.median", seconds, "s"),
    ]


@asynccontextmanager
async def _scene(policies: int, pods: int, rate: float) -> AsyncIterator[_Scene]:
    """Run NATS, the cluster and the operator; yield when it has seen the load for a while."""
    with tempfile.TemporaryDirectory(prefix="tieline-bench-") as name:
        folder, password = Path(name), secrets.token_hex(8)
        users = [User("admin", password)]
        users += [User(one, password, streams.permissions_of(one)) for one in streams.NATS_USERS]
        nats = EmbeddedNats(folder / "nats", find_free_port(), users)
        with nats.running():
            await streams.declare(nats.url("admin"))
            async with (
                _stage(folder, nats.url("admin"), policies, pods, rate) as stage,
                _operator(folder, nats.url("operator")) as (operator, port),
            ):
                scene = _Scene(operator, port, stage)
                await _await_ticks(scene)
                await asyncio.sleep(_SETTLE_S)
                yield scene


@asynccontextmanager
async def _stage(
    folder: Path, nats_url: str, policies: int, pods: int, rate: float
) -> AsyncIterator[asyncio.subprocess.Process]:
    arguments = [str(folder), nats_url, str(policies), str(pods), str(rate)]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.operator_stage", *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": "tests"},
    )
    assert process.stdout, "its pipe was asked for"
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            if await process.stdout.readline() != b"ready\n":
                raise RuntimeError("the operator's cluster did not come up; its error is above")
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def _operator(folder: Path, nats_url: str) -> AsyncIterator[tuple[psutil.Process, int]]:
    port = find_free_port()
    settings = {
        "KUBECONFIG": str(folder / "kubeconfig"),
        "TIELINE_NATS_URL": nats_url,
        "TIELINE_METRICS_PORT": str(port),
        "TIELINE_LOG_LEVEL": "warning",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tieline.cli.main", "operator", "run"),
        env={**os.environ, **settings},
    )
    try:
        yield psutil.Process(process.pid), port
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def _await_ticks(scene: _Scene) -> None:
    async with asyncio.timeout(_START_TIMEOUT_S):
        while True:
            try:
                if await scene.tick_s() > 0:
                    return
            except OSError:
                pass
            await asyncio.sleep(0.2)


def _read_metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        text: str = response.read().decode()
    return text


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


BENCHMARKS = (
    Benchmark((_TICK, f"{_TICK}.median", _CPU, _MEMORY), measure_ticks),
    Benchmark((_STEP, f"{_STEP}.median"), measure_steps),
)
