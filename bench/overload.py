"""One replica under more load than it can bear, with admission and without.

Measures the figures ``overload.*`` that need no edge. One messaging service with durable engines,
with cores of its own (``cores``); a generator process of its own sends at fixed times, whatever
comes back (open loop), and latency counts from the scheduled time. Capacity is the best closed-loop
goodput of the same round, without admission. CRITICAL and HIGH (here sends; ``overload_sign_ins``
has CRITICAL) are half of the capacity throughout; the rest is NORMAL (reads) and LOW (searches) in
the proportion of `tieline surge`. ``overload.<class>_success`` is the share of what was due that
was done in time.

Callers of ours hold back what would be refused, by the client library's own code; strangers send
everything. ``.off`` is the same load on a second platform whose admission is switched off, in turns
on the same cores; what that one can do at first is set as the capacity of the other, as
docs/overload.md advises. Where the generators are themselves the limit, ``overload.unsent`` tells
what they did not send.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import psutil

from bench.cores import on_cores_of_their_own
from bench.harness import Benchmark, Figure, Target, summarise
from bench.messaging_platform import MessagingPlatform, messaging_platform
from bench.overload_generator import Outcome, Plan, generate
from tieline.surge.mix import DEFAULT_MIX

_STEADY_S = 6.0
_SETTLE_S = 4.0
_MINUTE_S = 60.0
_USERS = 200
_MAX_RECOVERY_S = 15
_ROUNDS = 3

# Of what is neither CRITICAL nor HIGH: searches beside lookups and contacts.
_LOW_RATIO = DEFAULT_MIX["search"] / sum(
    DEFAULT_MIX[kind] for kind in ("search", "lookup", "contact")
)

_FIGURES = (
    ("overload.goodput.callers_3x", "of capacity", Target("value", "at least", 0.9)),
    ("overload.goodput.callers_10x", "of capacity", Target("value", "at least", 0.85)),
    ("overload.high_success.callers_10x", "of calls", Target("value", "at least", 0.99)),
    ("overload.normal_success.callers_10x", "of calls", None),
    ("overload.low_success.callers_10x", "of calls", None),
    ("overload.goodput.strangers_10x", "of capacity", Target("value", "at least", 0.6)),
    ("overload.high_success.strangers_10x", "of calls", None),
    ("overload.normal_success.strangers_10x", "of calls", None),
    ("overload.low_success.strangers_10x", "of calls", None),
    ("overload.unsent.strangers_10x", "of calls", None),
    ("overload.longest_wait_ms.strangers_10x", "ms", Target("value", "at most", 200)),
    ("overload.memory_growth", "ratio", Target("value", "at most", 0.2)),
    ("overload.recovery_seconds", "s", Target("value", "at most", 5)),
)


@dataclass(frozen=True, slots=True)
class _Scene:
    platform: MessagingPlatform
    plan: Plan


async def measure() -> Sequence[Figure]:
    """Measure two platforms in turns, one with admission and one without."""
    async with AsyncExitStack() as stack:
        off = await stack.enter_async_context(_scene(is_on=False))
        with on_cores_of_their_own(off.platform.process_ids):
            known = await _capacity(off)
        on = await stack.enter_async_context(_scene(is_on=True, capacity=known))
        process_ids = [*off.platform.process_ids, *on.platform.process_ids]
        stack.enter_context(on_cores_of_their_own(process_ids))
        scenes = {".off": off, "": on}
        values: dict[str, list[float]] = defaultdict(list)
        for _ in range(_ROUNDS):
            capacity = await _capacity(off)
            for suffix, scene in scenes.items():
                for name, value in (await _measure(scene, capacity)).items():
                    values[name + suffix].append(value)
        for suffix, scene in scenes.items():
            values[f"overload.memory_growth{suffix}"] = [await _memory_growth(scene, known)]
            values[f"overload.recovery_seconds{suffix}"] = [await _recovery(scene, known)]
    figures = []
    for name, unit, target in _FIGURES:
        without = f"{name}.off"
        figures.append(summarise(without, values[without], unit))
        figures.append(
            summarise(
                name,
                values[name],
                unit,
                against=without,
                against_values=values[without],
                target=target,
            )
        )
    return figures


async def _measure(scene: _Scene, capacity: float) -> dict[str, float]:
    """Return by their names what one round of surges came to."""
    callers_3x = await _surge(scene, capacity, 3, holds_back=True)
    callers_10x = await _surge(scene, capacity, 10, holds_back=True)
    strangers = await _surge(scene, capacity, 10, holds_back=False)
    return {
        "overload.goodput.callers_3x": callers_3x.good_per_s / capacity,
        "overload.goodput.callers_10x": callers_10x.good_per_s / capacity,
        **_shares("callers_10x", callers_10x),
        "overload.goodput.strangers_10x": strangers.good_per_s / capacity,
        **_shares("strangers_10x", strangers),
        "overload.unsent.strangers_10x": strangers.unsent_ratio,
        "overload.longest_wait_ms.strangers_10x": strangers.longest_good_ms,
    }


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
            normal_per_s=capacity * (factor - 0.5) * (1 - _LOW_RATIO),
            low_per_s=capacity * (factor - 0.5) * _LOW_RATIO,
            settle_s=_SETTLE_S,
            seconds=seconds,
            holds_back=holds_back,
        )
    )


async def _memory_growth(scene: _Scene, capacity: float) -> float:
    """Return by how much a minute of ten times the load makes the process grow."""
    service = psutil.Process(scene.platform.service.pid)
    before = service.memory_info().rss
    await _surge(scene, capacity, 10, holds_back=False, seconds=_MINUTE_S)
    return service.memory_info().rss / before - 1


async def _recovery(scene: _Scene, capacity: float) -> float:
    """Return the seconds after a surge until everything of half of the capacity succeeds again."""
    await _surge(scene, capacity, 10, holds_back=False)
    seconds, is_normal = 0, False
    while not is_normal and seconds < _MAX_RECOVERY_S:
        seconds += 1
        outcome = await generate(
            scene.plan.open(
                high_per_s=capacity / 4,
                normal_per_s=capacity / 4 * (1 - _LOW_RATIO),
                low_per_s=capacity / 4 * _LOW_RATIO,
                settle_s=0.0,
                seconds=1.0,
                holds_back=False,
            )
        )
        is_normal = outcome.success >= 0.99
    return seconds


def _shares(of: str, outcome: Outcome) -> dict[str, float]:
    return {
        f"overload.high_success.{of}": outcome.high_success,
        f"overload.normal_success.{of}": outcome.normal_success,
        f"overload.low_success.{of}": outcome.low_success,
    }


BENCHMARKS = (
    Benchmark(tuple(name + suffix for name, _, _ in _FIGURES for suffix in ("", ".off")), measure),
)

if __name__ == "__main__":
    print(asyncio.run(measure()))
