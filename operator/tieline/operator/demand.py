"""What the reports say together: the load of one service, and whether it can be trusted. Pure."""

from collections.abc import Sequence, Set
from dataclasses import dataclass

from tieline.operator.policy import SurgePolicy
from tieline.operator.replica_report import CLASSES, CRITICAL, PodObservation, ReplicaReport

_FRESH_S = 3.0
"""Older reports say nothing about now; three intervals let two reports get lost."""

_LEAVING_FRESH_S = 1.5
"""Of a replica that is being deleted: what it got two seconds ago, others get by now."""

_MAX_COVERAGE_FACTOR = 1.25
"""How much the silent replicas may add to what the others say."""

_MAX_CAPACITIES = 20
"""A replica cannot even refuse more calls than this times its capacity."""

_MAX_OF_SECOND = 4
"""Who claims this many times what any other replica claims is not believed."""

_MAX_OF_OFFERED = 20
"""What edges refuse is believed up to this many times what comes to the replicas. Where those are
asked for next to nothing, it is not for lack of replicas that calls are refused."""

MIN_REPORTERS = 2
"""One replica alone does not scale a fleet."""


@dataclass(frozen=True, slots=True)
class Load:
    """The load of one service in the last second."""

    demand_per_s: float
    """Offered first attempts, silent replicas and the edge's refusals included."""

    shed_per_s: tuple[float, ...]
    """By class; what is not believed is left out as in the ratio."""

    shed_ratio: float
    is_critical_shed: bool
    queue_wait_s: float
    queued: float
    reporters: int
    coverage: float
    """Replicas that report, as a part of those that are ready."""

    clamped: int
    """Reports whose values were not believed."""

    problem: str
    """Why the signals cannot be trusted; empty if they can."""

    @property
    def is_trusted(self) -> bool:
        """Tell whether replicas may be taken away on the strength of this load."""
        return not self.problem


def measure_load(
    reports: Sequence[ReplicaReport],
    pods: Sequence[PodObservation],
    policy: SurgePolicy,
    now: float,
) -> Load:
    """Sum up the reports of one service that are fresh."""
    alive = {pod.name for pod in pods}
    fresh = [one for one in reports if -1.0 <= now - one.time <= _age_limit(one, alive)]
    replicas = [one for one in fresh if not one.from_edge]
    names = {one.replica for one in replicas}
    # One that has just become ready had no time to report twice.
    expected = sum(
        pod.ready_time is not None and (now - pod.ready_time > _FRESH_S or pod.name in names)
        for pod in pods
    )
    ready = sum(pod.ready_time is not None for pod in pods)
    coverage = min(1.0, len(replicas) / expected) if expected else float(bool(replicas))
    capacity = float(policy.capacity.requests_per_second_per_pod)
    limit = _believable(replicas, capacity)
    offered = sum(min(sum(one.offered_per_s), limit) for one in replicas)
    edge_limit = _MAX_CAPACITIES * capacity * max(ready, 1)
    edges = [one for one in fresh if one.from_edge]
    claimed = sum(min(sum(one.offered_per_s), edge_limit) for one in edges)
    refused = min(claimed, _MAX_OF_OFFERED * offered) if replicas else claimed
    clamped = sum(sum(one.offered_per_s) > limit for one in replicas)
    believed = refused / claimed if claimed else 1.0
    shed_by_class = tuple(
        own + believed * edge
        for own, edge in zip(
            _sum_shed(replicas, edge_limit), _sum_shed(edges, edge_limit), strict=True
        )
    )
    shed = sum(shed_by_class)
    attempts = offered + refused + sum(min(one.retries_per_s, limit) for one in replicas)
    factor = min(1 / coverage, _MAX_COVERAGE_FACTOR) if coverage else 1.0
    return Load(
        demand_per_s=offered * factor + refused,
        shed_per_s=shed_by_class,
        shed_ratio=min(1.0, shed / attempts) if attempts > 0 else 0.0,
        is_critical_shed=any(one.shed_per_s[CRITICAL] > 0 for one in fresh),
        queue_wait_s=_mean_wait(replicas),
        queued=sum(min(one.queued, limit) for one in replicas),
        reporters=len(replicas),
        coverage=coverage,
        clamped=clamped,
        problem=_find_problem(reports, coverage, ready, policy, now) or _doubt(clamped),
    )


def _sum_shed(reports: Sequence[ReplicaReport], limit: float) -> tuple[float, ...]:
    totals = [0.0] * len(CLASSES)
    for one in reports:
        claimed = sum(one.shed_per_s)
        part = limit / claimed if claimed > limit else 1.0
        for index, rate in enumerate(one.shed_per_s):
            totals[index] += rate * part
    return tuple(totals)


def _age_limit(report: ReplicaReport, alive: Set[str]) -> float:
    return _FRESH_S if report.from_edge or report.replica in alive else _LEAVING_FRESH_S


def _believable(replicas: Sequence[ReplicaReport], capacity: float) -> float:
    # Not of the median: while new replicas get their first calls, few take them all.
    largest = sorted(sum(one.offered_per_s) for one in replicas)
    witness = largest[-2] if len(largest) > 1 else 0.0
    # Two capacities: a fleet that idles, and one replica that is the first to get calls.
    return min(_MAX_CAPACITIES * capacity, max(2 * capacity, _MAX_OF_SECOND * witness))


def _mean_wait(replicas: Sequence[ReplicaReport]) -> float:
    served = sum(one.served_per_s for one in replicas)
    if served <= 0:
        return 0.0
    return sum(one.queue_wait_s * one.served_per_s for one in replicas) / served


def _find_problem(
    reports: Sequence[ReplicaReport],
    coverage: float,
    ready: int,
    policy: SurgePolicy,
    now: float,
) -> str:
    if ready == 0:
        return "no replica is ready"
    newest = max((one.time for one in reports if not one.from_edge), default=None)
    if newest is None:
        return "no replica has reported"
    if now - newest > policy.stale_after_seconds:
        return f"the newest report is {now - newest:.0f} s old"
    if coverage * 100 < policy.min_coverage_percent:
        return f"{coverage:.0%} of {ready} ready replicas report"
    return ""


def _doubt(clamped: int) -> str:
    return f"{clamped} replicas claim more calls than can be believed" if clamped else ""
