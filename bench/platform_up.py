"""How long ``tieline up`` takes on data that are there, and what the idle platform weighs.

Measures ``up.warm_seconds`` and ``up.idle_pss_mb``.
"""

import asyncio
from collections.abc import Sequence

from bench.harness import Benchmark, Figure, Target, summarise
from bench.local_platform import running_platform, temporary_data

_WARM = "up.warm_seconds"
_MEMORY = "up.idle_pss_mb"
_RUNS = 5

# Start-up's garbage is collected and connections have settled by then.
_SETTLE_S = 5.0


async def measure() -> Sequence[Figure]:
    """Start once cold, then several times warm; weigh each warm platform after a few seconds."""
    seconds, megabytes = [], []
    with temporary_data() as data:
        async with running_platform(data):
            pass
        for _ in range(_RUNS):
            async with running_platform(data) as platform:
                seconds.append(platform.start_s)
                await asyncio.sleep(_SETTLE_S)
                megabytes.append(platform.pss_mb())
    return [
        summarise(_WARM, seconds, "s", target=Target("value", "at most", 10)),
        summarise(_MEMORY, megabytes, "MB", target=Target("value", "at most", 600)),
    ]


BENCHMARKS = (Benchmark((_WARM, _MEMORY), measure),)
