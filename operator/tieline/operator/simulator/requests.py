"""One second of one service's requests, each by itself.

A replica serves one request at a time, in the order of arrival. A caller asks two replicas at
random and takes the emptier one, as a balancer with least connections does. A request whose wait
would be longer than its class may wait is refused at once; some of the refused come again.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from tieline.operator.replica_report import CLASSES
from tieline.operator.simulator.cluster_model import Deployment, Pod

CLASS_SHARES = (0.1, 0.2, 0.5, 0.2)
WAIT_SHARES = (1.0, 0.75, 0.5, 0.25)
"""The part of the longest wait that each class may wait."""

MAX_ATTEMPTS = 3
RETRY_SHARE = 0.5
RETRY_DELAY_S = (1.0, 3.0)
_POOL = 4096


@dataclass(frozen=True, slots=True)
class ServiceModel:
    """What a service is like."""

    name: str
    service_s: float = 0.025
    """Mean work of a request, in seconds of one replica."""

    max_wait_s: float = 0.2
    slo_s: float = 0.3
    """What the 99th percentile of a second must stay under."""

    calls: tuple[str, ...] = ()
    """The services that a served request calls."""

    @property
    def capacity_per_s(self) -> float:
        """Return what a warm replica does."""
        return 1 / self.service_s


@dataclass(slots=True)
class PodSecond:
    """What one replica did in one second."""

    offered: list[int] = field(default_factory=lambda: [0] * len(CLASSES))
    shed: list[int] = field(default_factory=lambda: [0] * len(CLASSES))
    retries: int = 0
    served: int = 0
    wait_s: float = 0.0
    latency_s: float = 0.0
    cpu_s: float = 0.0


@dataclass(slots=True)
class ServiceSecond:
    """What one service did in one second."""

    pods: dict[str, PodSecond]
    first: int = 0
    attempts: int = 0
    shed: list[int] = field(default_factory=lambda: [0] * len(CLASSES))
    offered: list[int] = field(default_factory=lambda: [0] * len(CLASSES))
    refused_without_replica: list[int] = field(default_factory=lambda: [0] * len(CLASSES))
    latencies: list[float] = field(default_factory=list)


Request = tuple[float, int, int]
"""Time, class, attempt."""


class Traffic:
    """The requests that are still to come, by second."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._pending: dict[int, list[Request]] = {}
        self._classes = chance.choices(range(len(CLASSES)), CLASS_SHARES, k=_POOL)

    def add(self, request: Request) -> None:
        """Let a request come at its time."""
        self._pending.setdefault(int(request[0]), []).append(request)

    def take(self, second: int, rate: float) -> list[Request]:
        """Return a second's requests in order: new ones by chance, and those that were added."""
        chance = self._chance.random
        count = _poisson(self._chance, rate)
        offset = int(chance() * _POOL)
        found = [
            (second + chance(), self._classes[(offset + index) % _POOL], 1)
            for index in range(count)
        ]
        found += self._pending.pop(second, ())
        found.sort()
        return found


class RequestCore:
    """Serves the requests of one service, second by second."""

    def __init__(self, service: ServiceModel, chance: random.Random) -> None:
        self._service = service
        self._chance = chance
        spread = [chance.lognormvariate(-0.125, 0.5) for _ in range(_POOL)]
        self._works = [service.service_s * one for one in spread]
        self._next_work = 0

    def run(
        self,
        requests: Sequence[Request],
        deployment: Deployment,
        second: int,
        retries: Traffic,
        callees: Sequence[Traffic],
    ) -> ServiceSecond:
        """Serve one second of requests."""
        pods = deployment.endpoints(second)
        seconds = [PodSecond() for _ in pods]
        result = ServiceSecond({pod.name: one for pod, one in zip(pods, seconds, strict=True)})
        backlog = [max(0.0, pod.free_time - second) for pod in pods]
        # What a slow replica takes longer for is the same work for its callers.
        slowness = [1 / deployment.speed(pod, second) for pod in pods]
        free = [max(pod.free_time, float(second)) for pod in pods]
        self._serve(requests, seconds, free, slowness, result, retries, callees)
        _note_work(pods, seconds, free, backlog, second)
        return result

    def _serve(
        self,
        requests: Sequence[Request],
        seconds: list[PodSecond],
        free: list[float],
        slowness: list[float],
        result: ServiceSecond,
        retries: Traffic,
        callees: Sequence[Traffic],
    ) -> None:
        # The loop that everything waits for: names are local, and nothing is looked up twice.
        chance, works, work_index = self._chance.random, self._works, self._next_work
        bounds = [self._service.max_wait_s * share for share in WAIT_SHARES]
        latencies, offered, count = result.latencies, result.offered, len(seconds)
        first = 0
        for request in requests:
            time, rank, attempt = request
            if attempt == 1:
                first += 1
                offered[rank] += 1
            if not count:
                result.refused_without_replica[rank] += attempt == 1
                self._refuse(request, result, retries)
                continue
            index, other = int(chance() * count), int(chance() * count)
            if free[other] < free[index]:
                index = other
            pod = seconds[index]
            if attempt == 1:
                pod.offered[rank] += 1
            else:
                pod.retries += 1
            wait = free[index] - time
            if wait > bounds[rank]:
                pod.shed[rank] += 1
                self._refuse(request, result, retries)
                continue
            if wait < 0.0:
                wait = 0.0
            work_index = (work_index + 1) % _POOL
            latency = wait + works[work_index] * slowness[index]
            free[index] = time + latency
            pod.served += 1
            pod.wait_s += wait
            pod.latency_s += latency
            latencies.append(latency)
            for callee in callees:
                callee.add((time + latency, rank, 1))
        self._next_work = work_index
        result.first = first
        result.attempts = len(requests)

    def _refuse(self, request: Request, result: ServiceSecond, retries: Traffic) -> None:
        time, rank, attempt = request
        result.shed[rank] += 1
        if attempt < MAX_ATTEMPTS and self._chance.random() < RETRY_SHARE:
            delay = self._chance.uniform(*RETRY_DELAY_S)
            retries.add((time + delay, rank, attempt + 1))


def _note_work(
    pods: Sequence[Pod],
    seconds: Sequence[PodSecond],
    free: Sequence[float],
    backlog: Sequence[float],
    second: int,
) -> None:
    for pod, done, until, before in zip(pods, seconds, free, backlog, strict=True):
        idle_free = max(until, float(second))
        left = max(0.0, idle_free - second - 1)
        taken = done.latency_s - done.wait_s
        done.cpu_s = min(1.0, max(0.0, before + taken - left))
        pod.free_time = until


def _poisson(chance: random.Random, mean: float) -> int:
    if mean <= 0:
        return 0
    if mean < 30:
        limit, count, product = 2.718281828459045**-mean, 0, chance.random()
        while product > limit:
            count += 1
            product *= chance.random()
        return count
    return max(0, round(chance.gauss(mean, mean**0.5)))
