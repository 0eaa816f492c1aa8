"""What admission costs while nobody is refused: the empty authenticated call with it and without.

Measures ``overload.cost_at_normal_load``. Both servers have all other interceptors; the one with
admission measures queueing, decides at the end of each window, and builds its load report each
second. A few calls are in flight, so that none is refused: what is compared is CPU per call.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import uvloop

from bench.chassis_call import calls, serve_authenticated
from bench.grpc_load import Load, server_process
from bench.harness import Benchmark, Figure, Target, summarise
from tieline.chassis.admission.control import AdmissionControl
from tieline.chassis.admission.corp_calls import CorpCalls
from tieline.chassis.admission.load_reports import LoadReporter
from tieline.chassis.grpc_server import GuardedServer

_MODULE = "bench.overload_cost"
_COST = "overload.cost_at_normal_load"
_RUNS = 15
_WINDOW_S = 0.5
_LOOPS = 4


class _NoAdmission(AdmissionControl):
    """Lets everything in, counts nothing and tells nothing."""

    def lets_in(self, priority: int, corp: CorpCalls) -> bool:
        return True

    def tell(self, priority: int, corp: CorpCalls) -> str:
        return ""


async def measure() -> Sequence[Figure]:
    """Measure both servers in turns, in windows of half a second."""
    costs: list[float] = []
    async with (
        server_process(_MODULE, "without") as without_server,
        server_process(_MODULE, "with") as with_server,
        Load(without_server, calls(without_server), loops=_LOOPS) as without,
        Load(with_server, calls(with_server), loops=_LOOPS) as with_admission,
    ):
        for _ in range(_RUNS):
            plain = (await without.measure(_WINDOW_S)).per_cpu_second
            costs.append(plain / (await with_admission.measure(_WINDOW_S)).per_cpu_second)
    return [
        summarise(
            _COST, costs, "CPU per call, with/without", target=Target("value", "at most", 1.03)
        )
    ]


async def _serve_without() -> None:
    await serve_authenticated(_NoAdmission(b"bench", capacity_per_s=0))


async def _serve_with() -> None:
    control = AdmissionControl(b"bench", capacity_per_s=0)
    await serve_authenticated(control, partial(_admitting, control))


@asynccontextmanager
async def _admitting(control: AdmissionControl, guarded: GuardedServer) -> AsyncIterator[None]:
    reporter = LoadReporter("bench", control, guarded.health)
    reporter.probe = guarded.probe
    async with guarded.probe.running():
        reporting = asyncio.create_task(_report(reporter))
        yield
        reporting.cancel()


async def _report(reporter: LoadReporter) -> None:
    while True:
        await asyncio.sleep(1.0)
        reporter.build().SerializeToString()


BENCHMARKS = (Benchmark((_COST,), measure),)

if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run({"without": _serve_without, "with": _serve_with}[sys.argv[1]]())
