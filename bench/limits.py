"""This machine's own limits: what gRPC, JetStream and PostgreSQL reach with nothing of ours.

Measures ``limits.*``; the empty unary call is measured in ``chassis_call``, beside what it is
compared with.
"""

from collections.abc import Awaitable, Callable, Sequence

from bench.harness import Benchmark, Figure, summarise
from bench.limits_grpc import measure_stream_echo
from bench.limits_storage import (
    measure_batched_commits,
    measure_jetstream_publish,
    measure_single_commits,
)

_RUNS = 5
_SECONDS = 2.0


def _benchmark(
    name: str, unit: str, measure_once: Callable[[float], Awaitable[float]]
) -> Benchmark:
    async def run() -> Sequence[Figure]:
        return [summarise(name, [await measure_once(_SECONDS) for _ in range(_RUNS)], unit)]

    return Benchmark((name,), run)


async def _echoes_per_cpu_second(seconds: float) -> float:
    return (await measure_stream_echo(seconds)).per_cpu_second


BENCHMARKS = (
    _benchmark("limits.grpc_stream_echo", "echoes/server CPU s", _echoes_per_cpu_second),
    _benchmark("limits.jetstream_publish", "publishes/s", measure_jetstream_publish),
    _benchmark("limits.postgres_single_commits", "commits/s", measure_single_commits),
    _benchmark("limits.postgres_batched_commits", "rows/s", measure_batched_commits),
)
