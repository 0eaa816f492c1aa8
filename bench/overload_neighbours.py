"""One corp's flood beside a hundred corps that go on as before.

Measures ``overload.neighbours_*``. One replica of messaging; the hundred together read at half of
what it can do, open loop and without holding back, first alone and then while callers of one corp
offer ten times the capacity. ``….off`` is the same on a replica whose admission is switched off;
what that one can do is set as the capacity of the other, as docs/overload.md advises.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from bench.cores import BEHIND, on_cores_of_their_own
from bench.harness import Benchmark, Figure, Target, summarise
from bench.messaging_platform import MessagingPlatform, messaging_platform
from bench.overload_generator import Outcome, Plan, generate

_SUCCESS = "overload.neighbours_success"
_P99 = "overload.neighbours_p99"
_P99_BEFORE = "overload.neighbours_p99_before"
_FLOOD = "overload.neighbours_flood_success"

_NEIGHBOURS = 100
_USERS_OF_THE_FLOOD = 100
_FACTOR = 10
_SETTLE_S = 4.0
_SECONDS = 8.0
# The processes of the flood have begun by then.
_FLOOD_LEAD_S = 4.0


@dataclass(frozen=True, slots=True)
class _Measured:
    capacity: float
    before: Outcome
    during: Outcome
    flood: Outcome


async def measure() -> Sequence[Figure]:
    """Measure with admission off, and on a second platform with it on."""
    off = await _measure(is_on=False)
    on = await _measure(is_on=True, capacity=off.capacity)
    return [
        *_figures(off, ".off", None, None),
        *_figures(on, "", Target("value", "at least", 0.99), Target("ratio", "at most", 1.5)),
    ]


async def _measure(*, is_on: bool, capacity: float = 0.0) -> _Measured:
    async with AsyncExitStack() as stack:
        settings = {
            "TIELINE_ADMISSION": str(is_on).lower(),
            "TIELINE_CAPACITY_PER_S": str(round(capacity)),
        }
        platform = await stack.enter_async_context(messaging_platform(settings))
        stack.enter_context(on_cores_of_their_own(platform.process_ids))
        corps = [f"ww{number:024d}" for number in range(_NEIGHBOURS)]
        neighbours = await _plan(platform, [(corp, "li.wei") for corp in corps])
        flooding = [("ww" + "f" * 24, f"user-{n}") for n in range(_USERS_OF_THE_FLOOD)]
        flood = await _plan(platform, flooding)
        closed = await generate(neighbours.closed(32, seconds=4.0))
        capacity = closed.good_per_s
        normal = neighbours.open(
            normal_per_s=capacity / 2, settle_s=_SETTLE_S, seconds=_SECONDS, holds_back=False
        )
        before = await generate(normal)
        surge = flood.open(
            normal_per_s=capacity * _FACTOR,
            settle_s=_SETTLE_S,
            seconds=_SECONDS + _FLOOD_LEAD_S,
            holds_back=True,
        )
        surging = asyncio.create_task(generate(surge, BEHIND))
        await asyncio.sleep(_FLOOD_LEAD_S)
        during = await generate(normal)
        return _Measured(capacity, before, during, await surging)


async def _plan(platform: MessagingPlatform, people: Sequence[tuple[str, str]]) -> Plan:
    users = []
    for corp_id, user_id in people:
        [conversation_id] = await platform.open_conversations([[user_id]], corp_id)
        users.append((platform.metadata(user_id, corp_id)[0][1], conversation_id))
    return Plan(platform.target, tuple(users))


def _figures(
    measured: _Measured, suffix: str, success: Target | None, p99: Target | None
) -> Sequence[Figure]:
    before = [measured.before.p99_good_ms]
    name = _P99_BEFORE + suffix
    return [
        summarise(_SUCCESS + suffix, [measured.during.success], "of calls", target=success),
        summarise(_FLOOD + suffix, [measured.flood.success], "of the flood's calls"),
        summarise(name, before, "ms"),
        summarise(
            _P99 + suffix,
            [measured.during.p99_good_ms],
            "ms",
            against=name,
            against_values=before,
            target=p99,
        ),
    ]


_NAMES = (_SUCCESS, _FLOOD, _P99, _P99_BEFORE)

BENCHMARKS = (
    Benchmark(tuple(name + suffix for name in _NAMES for suffix in ("", ".off")), measure),
)
