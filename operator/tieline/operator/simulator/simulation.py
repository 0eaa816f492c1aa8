"""One run: load, services and a scaler, second by second; and what came of it."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tieline.operator.replica_report import CLASSES, CRITICAL
from tieline.operator.simulator.cluster_model import ClusterModel, Deployment
from tieline.operator.simulator.requests import (
    RequestCore,
    ServiceModel,
    ServiceSecond,
    Traffic,
)
from tieline.operator.simulator.scalers import Observed, Scaler

_SHED_RATIO = 0.01
_MIN_SHED = 2
"""One refused request of a hundred is no violation yet."""

_USUAL_UTILIZATION = 0.7
"""At which the replicas that a run begins with are used."""

_SETTLE_S = 60
"""Until every scaler has replicas of its own choice. What the given ones cannot do breaks no goal
of a scaler's."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A load on some services. The first service gets the load; each calls those that it names."""

    name: str
    rates: tuple[float, ...]
    """Requests a second, by the second."""

    services: tuple[ServiceModel, ...]
    model: ClusterModel = field(default_factory=ClusterModel)


@dataclass(slots=True)
class Series:
    """What one service did, by the second."""

    offered: list[int] = field(default_factory=list)
    shed: list[int] = field(default_factory=list)
    replicas: list[int] = field(default_factory=list)
    serving: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Result:
    """What came of one run."""

    violation_s: int = 0
    """Seconds in which a service refused over 1 %, or its 99th percentile broke the goal; those of
    the first minute are not counted."""

    critical_violation_s: int = 0
    shed: list[int] = field(default_factory=lambda: [0] * len(CLASSES))
    offered: list[int] = field(default_factory=lambda: [0] * len(CLASSES))
    p99_s: float = 0.0
    pod_seconds: float = 0.0
    time_to_capacity_s: int = 0
    """The longest time in which more was offered than the replicas could do."""

    writes: int = 0
    flips: int = 0
    """Writes in the other direction than the one before."""

    series: dict[str, Series] = field(default_factory=dict)


ScalerMaker = Callable[[ClusterModel, random.Random], Scaler]


def simulate(scenario: Scenario, make_scaler: ScalerMaker, seed: int) -> Result:
    """Run a scenario; the same seed gives the same requests to every scaler."""
    chance = random.Random(seed)
    deployments = {
        one.name: Deployment(one.name, scenario.model, random.Random(seed + 1), _replicas(scenario))
        for one in scenario.services
    }
    traffic = {one.name: Traffic(random.Random(chance.random())) for one in scenario.services}
    cores = {
        one.name: RequestCore(one, random.Random(chance.random())) for one in scenario.services
    }
    scaler = make_scaler(scenario.model, random.Random(chance.random()))
    tally = _Tally(scenario)
    for deployment in deployments.values():
        deployment.begin(0.0)
    for second, rate in enumerate(scenario.rates):
        observed = []
        for index, service in enumerate(scenario.services):
            deployment = deployments[service.name]
            deployment.step(second)
            requests = traffic[service.name].take(second, rate if index == 0 else 0.0)
            done = cores[service.name].run(
                requests,
                deployment,
                second,
                traffic[service.name],
                [traffic[name] for name in service.calls],
            )
            observed.append(Observed(service, deployment, done))
        tally.note(observed, is_settled=second >= _SETTLE_S)
        for name, replicas in scaler.scale(observed, second + 1.0).items():
            tally.note_write(name, deployments[name].replicas, replicas)
            deployments[name].replicas = replicas
    return tally.finish(deployments.values())


def _replicas(scenario: Scenario) -> int:
    capacity = scenario.services[0].capacity_per_s
    return max(2, -(-int(scenario.rates[0]) // max(1, int(_USUAL_UTILIZATION * capacity))))


class _Tally:
    def __init__(self, scenario: Scenario) -> None:
        self._result = Result(series={one.name: Series() for one in scenario.services})
        self._latencies: list[float] = []
        self._short: dict[str, int] = {}
        self._directions: dict[str, int] = {}

    def note(self, observed: Sequence[Observed], *, is_settled: bool) -> None:
        result = self._result
        is_bad = is_critical_bad = False
        for one in observed:
            done = one.second
            is_bad |= _is_violation(one.service, done)
            critical = done.shed[CRITICAL]
            is_critical_bad |= critical > max(0, _SHED_RATIO * done.offered[CRITICAL])
            for rank in range(len(CLASSES)):
                result.shed[rank] += done.shed[rank]
                result.offered[rank] += done.offered[rank]
            # One in ten is enough for a percentile over all.
            self._latencies += done.latencies[::10]
            series = result.series[one.service.name]
            series.offered.append(done.first)
            series.shed.append(sum(done.shed))
            series.replicas.append(one.deployment.replicas)
            series.serving.append(len(done.pods))
            self._note_shortage(one, result)
        result.violation_s += is_bad and is_settled
        result.critical_violation_s += is_critical_bad and is_settled

    def note_write(self, name: str, before: int, replicas: int) -> None:
        direction = 1 if replicas > before else -1
        self._result.writes += 1
        self._result.flips += self._directions.get(name, direction) != direction
        self._directions[name] = direction

    def finish(self, deployments: Iterable[Deployment]) -> Result:
        result = self._result
        result.pod_seconds = sum(one.pod_seconds for one in deployments)
        self._latencies.sort()
        if self._latencies:
            result.p99_s = self._latencies[len(self._latencies) * 99 // 100]
        return result

    def _note_shortage(self, one: Observed, result: Result) -> None:
        name = one.service.name
        is_short = one.second.first > len(one.second.pods) * one.service.capacity_per_s
        self._short[name] = self._short.get(name, 0) + 1 if is_short else 0
        result.time_to_capacity_s = max(result.time_to_capacity_s, self._short[name])


def _is_violation(service: ServiceModel, done: ServiceSecond) -> bool:
    shed = sum(done.shed)
    if shed >= _MIN_SHED and shed > _SHED_RATIO * max(done.first, 1):
        return True
    if not done.latencies:
        return False
    ordered = sorted(done.latencies)
    return ordered[len(ordered) * 99 // 100] > service.slo_s
