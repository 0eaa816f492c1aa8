"""What a replica does in a second, and how long a new one takes to begin: learned. Pure."""

import dataclasses
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tieline.operator.policy import SurgePolicy
from tieline.operator.replica_report import PodObservation, ReplicaReport

START_LEAD_S = 10.0
"""How long a pod takes from its creation until it is ready, until starts were seen."""

_MAX_LEAD_S = 300.0
_STARTS_KEPT = 32
_MUCH_LESS = 0.8
_DOWN_WEIGHT = 0.5
"""Replicas that do much less than thought must count at once."""

_NOISE_WEIGHT = 0.05
_FRESH_S = 1.5
_SATURATED_CPU = 0.85
_SATURATED_PART = 0.5
"""Of the replicas: calls that wait at a few of them came at once by chance, or were dear ones. What
those served would tell less than a replica can do, and by the more the fewer calls it was."""

_WAIT_DIVISOR = 4
"""Calls that wait a quarter of what overload is show a replica that is full: 5 ms of 20."""

_BOUNDS = (0.5, 2.0)
"""Of the configured capacity."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What was learned about the replicas of one service."""

    capacity_per_s: float = 0.0
    """0 until a replica was seen saturated."""

    starts_s: tuple[float, ...] = ()
    """The last start-up times, the newest last."""

    known_pods: tuple[str, ...] = ()
    """Pods that were there at the first look, or have been ready since: what they take to become
    ready again is no start."""

    @property
    def lead_s(self) -> float:
        """Return the start-up time that nine in ten pods stay within."""
        if not self.starts_s:
            return START_LEAD_S
        ordered = sorted(self.starts_s)
        return ordered[min(len(ordered) - 1, len(ordered) * 9 // 10)]


def learn(
    learned: Learned,
    reports: Sequence[ReplicaReport],
    pods: Sequence[PodObservation],
    policy: SurgePolicy,
    now: float,
) -> Learned:
    """Take one second's saturated replicas and the pods that became ready for the first time."""
    capacity = _learn_capacity(learned.capacity_per_s, reports, pods, policy, now)
    known, present = frozenset(learned.known_pods), {pod.name for pod in pods}
    if not known:
        # How long ago these became ready says how long the fleet once took, not what a pod takes
        # now; and so do those that waited for a first replica.
        return Learned(capacity, learned.starts_s, tuple(sorted(present)))
    started = [pod for pod in pods if pod.ready_time is not None and pod.name not in known]
    if not started and known <= present:
        return dataclasses.replace(learned, capacity_per_s=capacity)
    found = sorted((pod.ready_time or 0.0) - pod.create_time for pod in started)
    starts = tuple(round(min(max(one, 0.1), _MAX_LEAD_S), 3) for one in found)
    still = (known & present) | {pod.name for pod in started}
    return Learned(capacity, (*learned.starts_s, *starts)[-_STARTS_KEPT:], tuple(sorted(still)))


def capacity_of_one(learned: Learned, policy: SurgePolicy) -> float:
    """Return the calls a second that one warm replica does."""
    return learned.capacity_per_s or float(policy.capacity.requests_per_second_per_pod)


def ready_weight(pods: Sequence[PodObservation], policy: SurgePolicy, now: float) -> float:
    """Return how many warm replicas the ready ones are worth."""
    return sum(
        _warmth(pod.ready_time, policy.capacity.warmup_seconds, now)
        for pod in pods
        if pod.ready_time is not None
    )


def _warmth(ready_time: float, warmup_s: int, now: float) -> float:
    if warmup_s == 0 or now - ready_time >= warmup_s:
        return 1.0
    # Half at first: an interpreter that has compiled nothing yet still serves.
    return 0.5 + 0.5 * max(0.0, now - ready_time) / warmup_s


def _learn_capacity(
    capacity: float,
    reports: Sequence[ReplicaReport],
    pods: Sequence[PodObservation],
    policy: SurgePolicy,
    now: float,
) -> float:
    young = {
        pod.name
        for pod in pods
        if pod.ready_time is None or now - pod.ready_time < policy.capacity.warmup_seconds
    }
    configured = policy.capacity.requests_per_second_per_pod
    wait_s = policy.surge.queue_wait_milliseconds / 1000 / _WAIT_DIVISOR
    working = [
        one
        for one in reports
        if not one.from_edge
        and now - one.time <= _FRESH_S
        and one.replica not in young
        and one.served_per_s > 0
    ]
    samples = [
        _sample(one)
        for one in working
        if one.cpu_ratio >= _SATURATED_CPU or one.queue_wait_s >= wait_s
    ]
    if len(samples) <= _SATURATED_PART * len(working):
        return capacity
    before = capacity or float(configured)
    low, high = (bound * configured for bound in _BOUNDS)
    sample = min(max(statistics.median(samples), low), high)
    weight = _DOWN_WEIGHT if sample < _MUCH_LESS * before else _NOISE_WEIGHT
    return min(max(before + weight * (sample - before), low), high)


def _sample(report: ReplicaReport) -> float:
    if report.capacity_per_s > 0:
        return report.capacity_per_s
    # Of a replica that is bound by its core, the part of the core tells what the whole would do.
    return report.served_per_s / min(1.0, max(report.cpu_ratio, _SATURATED_CPU))
