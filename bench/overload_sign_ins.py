"""Sign-ins (CRITICAL) while ten times as many reads (NORMAL) are offered as identity can do.

Measures ``overload.critical_success.callers_10x`` and ``overload.normal_success.sign_ins_10x``: the
shares of what was due that was done in time. Messaging, that of ``overload``, has no CRITICAL
method. One replica of identity, of a whole platform that has nothing else to do; callers of ours,
open loop. Sign-ins come at half the rate that a closed loop of them reaches, reads at ten times
that of a closed loop of reads. ``.off`` is the same with admission switched off.
"""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from bench.cores import on_cores_of_their_own
from bench.harness import Benchmark, Figure, Target, summarise
from bench.local_platform import LocalPlatform, running_platform, temporary_data
from bench.overload_generator import CRITICAL, NORMAL, Outcome, Plan, generate
from tieline.client import Endpoints, connect
from tieline.surge.people import bring_together

_SIGN_INS = "overload.critical_success.callers_10x"
_READS = "overload.normal_success.sign_ins_10x"

_MEMBERS = 40
_FACTOR = 10
_SIGN_IN_RATIO = 0.5
_LOOPS = 8
_READ_LOOPS = 32
_CLOSED_S = 3.0
_SETTLE_S = 4.0
_SECONDS = 8.0


async def measure() -> Sequence[Figure]:
    """Measure with admission off, and on a second platform with it on."""
    off = await _measure(is_on=False)
    on = await _measure(is_on=True)
    return [
        *_figures(off, ".off", None),
        *_figures(on, "", Target("value", "at least", 0.99)),
    ]


async def _measure(*, is_on: bool) -> Outcome:
    async with _plan(is_on=is_on) as plan:
        sign_ins = await generate(plan.closed(_LOOPS, seconds=_CLOSED_S, classes=(CRITICAL,)))
        reads = await generate(plan.closed(_READ_LOOPS, seconds=_CLOSED_S, classes=(NORMAL,)))
        return await generate(
            plan.open(
                critical_per_s=_SIGN_IN_RATIO * sign_ins.good_per_s,
                normal_per_s=_FACTOR * reads.good_per_s,
                settle_s=_SETTLE_S,
                seconds=_SECONDS,
                holds_back=True,
            )
        )


@asynccontextmanager
async def _plan(*, is_on: bool) -> AsyncIterator[Plan]:
    settings = {"TIELINE_ADMISSION": str(is_on).lower()}
    with temporary_data() as data:
        async with running_platform(data, **settings) as platform:
            plan = await _gather_people(platform)
            with on_cores_of_their_own([platform.pid]):
                yield plan


async def _gather_people(platform: LocalPlatform) -> Plan:
    endpoints = Endpoints.read(platform.data / "endpoints.json")
    secrets = json.loads((platform.data / "secrets.json").read_text())
    async with connect(endpoints) as tieline:
        administrator = await tieline.sign_in_platform_administrator(
            "platform", secrets["platform_administrator_password"]
        )
        cast = await bring_together(tieline, administrator, members=_MEMBERS, customers=1)
    return Plan(
        endpoints.identity,
        tuple((f"Bearer {each.access_token}", each.conversation_id) for each in cast.members),
        accounts=tuple((cast.corp_id, each.id, each.password) for each in cast.members),
    )


def _figures(outcome: Outcome, suffix: str, target: Target | None) -> Sequence[Figure]:
    return [
        summarise(_SIGN_INS + suffix, [outcome.critical_success], "of calls", target=target),
        summarise(_READS + suffix, [outcome.normal_success], "of calls"),
    ]


BENCHMARKS = (
    Benchmark(
        tuple(name + suffix for name in (_SIGN_INS, _READS) for suffix in ("", ".off")), measure
    ),
)
