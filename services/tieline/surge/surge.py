"""A whole surge: generators started, listened to and added up."""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tieline.surge.generator import Orders
from tieline.surge.outcomes import Second
from tieline.surge.people import Cast

# Each has its imports and connections behind it by then.
_START_DELAY_S = 3.0
# Beyond the last call's deadline.
_END_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Plan:
    """What a surge is."""

    endpoints: Mapping[str, str]
    mix: Mapping[str, float]
    rates: Sequence[float]
    generators: int
    seed: int
    is_well_behaved: bool
    tls: bool | None = None


class SurgeError(Exception):
    """The surge can't go on; the text says why."""


class Surge:
    """One surge and what has been counted so far."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.seconds: dict[int, Second] = {}
        """By the second in which calls were due."""

        self.begin_time = 0.0

    @property
    def elapsed_s(self) -> float:
        """Seconds since the first call was due; below 0 before it."""
        return time.time() - self.begin_time

    async def run(self, cast: Cast, on_news: Callable[[], None]) -> None:
        """Run it to its end. Raises SurgeError when a generator fails."""
        plan = self.plan
        self.begin_time = time.time() + _START_DELAY_S
        share = 1 / plan.generators
        orders = [
            Orders(
                endpoints=plan.endpoints,
                cast=cast,
                rates=[rate * share for rate in plan.rates],
                mix=plan.mix,
                begin_time=self.begin_time,
                seed=plan.seed + number,
                is_well_behaved=plan.is_well_behaved,
                tls=plan.tls,
            )
            for number in range(plan.generators)
        ]
        async with asyncio.timeout(_START_DELAY_S + len(plan.rates) + _END_TIMEOUT_S):
            async with asyncio.TaskGroup() as group:
                for one in orders:
                    group.create_task(self._generate(one, on_news))

    async def _generate(self, orders: Orders, on_news: Callable[[], None]) -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tieline.surge.generator"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=16 * 1024 * 1024,
        )
        assert process.stdin is not None, "it is piped"
        assert process.stdout is not None, "it is piped"
        try:
            process.stdin.write(f"{orders.to_line()}\n".encode())
            await process.stdin.drain()
            while (line := await process.stdout.readline()).strip():
                self._take(json.loads(line))
                on_news()
            if not line:
                raise SurgeError("a generator ended before its time; its last words are above")
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    def _take(self, content: Mapping[str, Mapping[str, object]]) -> None:
        for second, found in content.items():
            self.seconds.setdefault(int(second), Second()).merge(Second.from_json(found))
