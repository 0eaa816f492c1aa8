"""One replica under more load than it can bear, with admission and without.

Measures the figures ``overload.*`` that need no edge. One messaging service with durable engines,
with cores of its own (``cores``); a generator process of its own sends at fixed times, whatever
comes back (open loop), and latency counts from the scheduled time. Capacity is the best closed-loop
goodput of the same run. CRITICAL and HIGH (here sends) are half of the capacity throughout; the
rest is NORMAL (reads).

Callers of ours hold back what would be refused, by the client library's own code; strangers send
everything. ``.off`` is the same load on a replica whose admission is switched off; what that one
can do is set as the capacity of the other, as docs/overload.md advises. Where the
generators are themselves the limit, ``overload.unsent`` tells what they did not send.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psutil

from bench.cores import on_cores_of_their_own
from bench.harness import Benchmark, Figure, Target, summarise
from bench.messaging_platform import MessagingPlatform, messaging_platform
from bench.overload_generator import Outcome, Plan, generate

_STEADY_S = 6.0
_SETTLE_S = 4.0
_MINUTE_S = 60.0
_USERS = 200
_MAX_RECOVERY_S = 15

_UNIT = "of capacity"


@dataclass(frozen=True, slots=True)
class _Scene:
    platform: MessagingPlatform
    plan: Plan


async def measure() -> Sequence[Figure]:
    """Measure with admission off, and on a second platform with it on."""
    figures: list[Figure] = []
    async with _scene(is_on=False) as scene:
        capacity = await _capacity(scene)
        for name, holds_back in (("callers", True), ("strangers", False)):
            outcome = await _surge(scene, capacity, 10, holds_back=holds_back)
            figures.append(_goodput(f"overload.goodput.{name}_10x.off", outcome, capacity, None))
            figures.append(_high(f"overload.high_success.{name}_10x.off", outcome, None))
    async with _scene(is_on=True, capacity=capacity) as scene:
        capacity = await _capacity(scene)
        outcome = await _surge(scene, capacity, 3, holds_back=True)
        figures.append(_goodput("overload.goodput.callers_3x", outcome, capacity, 0.9))
        outcome = await _surge(scene, capacity, 10, holds_back=True)
        figures.append(_goodput("overload.goodput.callers_10x", outcome, capacity, 0.85))
        figures.append(_high("overload.high_success.callers_10x", outcome, 0.99))
        outcome = await _surge(scene, capacity, 10, holds_back=False)
        figures.append(_goodput("overload.goodput.strangers_10x", outcome, capacity, 0.6))
        figures.append(
            _figure("overload.unsent.strangers_10x", outcome.unsent_ratio, "of calls", None)
        )
        figures.append(
            _figure(
                "overload.longest_wait_ms.strangers_10x",
                outcome.longest_good_ms,
                "ms",
                Target("value", "at most", 200),
            )
        )
        figures.append(await _memory_growth(scene, capacity))
        figures.append(await _recovery(scene, capacity))
    return figures


@asynccontextmanager
async def _scene(*, is_on: bool, capacity: float = 0.0) -> AsyncIterator[_Scene]:
    settings = {
        "TIELINE_ADMISSION": str(is_on).lower(),
        "TIELINE_CAPACITY_PER_S": str(round(capacity)),
    }
    async with messaging_platform(settings) as platform:
        users = [f"user-{number}" for number in range(_USERS)]
        ids = await platform.open_conversations([[user] for user in users])
        tokens = [platform.metadata(user)[0][1] for user in users]
        with on_cores_of_their_own(platform.process_ids):
            yield _Scene(platform, Plan(platform.target, tuple(zip(tokens, ids, strict=True))))


async def _capacity(scene: _Scene) -> float:
    """Return the best goodput of closed loops, in calls per second."""
    best = 0.0
    for loops in (16, 32, 64):
        outcome = await generate(scene.plan.closed(loops, seconds=3.0))
        best = max(best, outcome.good_per_s)
    return best


async def _surge(
    scene: _Scene,
    capacity: float,
    factor: float,
    *,
    holds_back: bool,
    seconds: float = _STEADY_S,
) -> Outcome:
    return await generate(
        scene.plan.open(
            high_per_s=capacity / 2,
            rest_per_s=capacity * (factor - 0.5),
            settle_s=_SETTLE_S,
            seconds=seconds,
            holds_back=holds_back,
        )
    )


async def _memory_growth(scene: _Scene, capacity: float) -> Figure:
    """Return by how much a minute of ten times the load makes the process grow."""
    service = psutil.Process(scene.platform.service.pid)
    before = service.memory_info().rss
    await _surge(scene, capacity, 10, holds_back=False, seconds=_MINUTE_S)
    grown = service.memory_info().rss / before - 1
    return _figure("overload.memory_growth", grown, "ratio", Target("value", "at most", 0.2))


async def _recovery(scene: _Scene, capacity: float) -> Figure:
    """Return the seconds after a surge until everything of half of the capacity succeeds again."""
    await _surge(scene, capacity, 10, holds_back=False)
    seconds, is_normal = 0, False
    while not is_normal and seconds < _MAX_RECOVERY_S:
        seconds += 1
        outcome = await generate(
            scene.plan.open(
                high_per_s=capacity / 4,
                rest_per_s=capacity / 4,
                settle_s=0.0,
                seconds=1.0,
                holds_back=False,
            )
        )
        is_normal = outcome.success >= 0.99
    return _figure("overload.recovery_seconds", seconds, "s", Target("value", "at most", 5))


def _goodput(name: str, outcome: Outcome, capacity: float, least: float | None) -> Figure:
    target = None if least is None else Target("value", "at least", least)
    return _figure(name, outcome.good_per_s / capacity, _UNIT, target)


def _high(name: str, outcome: Outcome, least: float | None) -> Figure:
    target = None if least is None else Target("value", "at least", least)
    return _figure(name, outcome.high_success, "of calls", target)


def _figure(name: str, value: float, unit: str, target: Target | None) -> Figure:
    return summarise(name, [value], unit, target=target)


BENCHMARKS = (
    Benchmark(
        (
            "overload.goodput.callers_3x",
            "overload.goodput.callers_10x",
            "overload.high_success.callers_10x",
            "overload.goodput.strangers_10x",
            "overload.unsent.strangers_10x",
            "overload.longest_wait_ms.strangers_10x",
            "overload.memory_growth",
            "overload.recovery_seconds",
            "overload.goodput.callers_10x.off",
            "overload.high_success.callers_10x.off",
            "overload.goodput.strangers_10x.off",
            "overload.high_success.strangers_10x.off",
        ),
        measure,
    ),
)

if __name__ == "__main__":
    print(asyncio.run(measure()))
