"""From the load reports on the wire to the newest rates of each replica.

Counters become rates by the difference of two reports, over the seconds that their sequences
tell: reports that waited on their way and came all at once are no surge. Nothing here trusts a
report: one that contradicts its subject, an earlier report or the clock, or comes in the name of no
pod, is refused with a reason, and refusing costs no memory. NATS knows the service of who reports,
not the pod: one replica may speak for its siblings, and for nobody that is not there. No clock and
no network: the time is passed in, the messages are handed in.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from tieline.api.common.v1 import load_report_pb2
from tieline.operator.replica_report import CLASSES, ReplicaReport

EDGE = "edge"
"""What the edge's subjects have in place of the service."""

_INTERVAL_S = 1.0
"""At which replicas report."""

_MIN_INTERVAL_S = 0.5
"""What comes faster says nothing new."""

_DRIFT = 0.03
"""By so much a replica's seconds are longer than that: one begins behind the report before."""

_MAX_CLOCK_SKEW_S = 60.0
_FORGET_S = 60.0
_MAX_REPORTERS = 5000
"""Of one service, which takes no place from the others; each edge counts in every service."""

_MAX_RATE = 1e6
_NORMAL = 2


class Refusal(StrEnum):
    """Why a report was not taken."""

    SUBJECT = "its subject names another service or replica"
    UNKNOWN_SERVICE = "no policy is for its service"
    UNKNOWN_REPLICA = "its replica is no pod of its service"
    TOO_FAST = "it came too soon after the one before"
    OUT_OF_ORDER = "a later report was here already"
    FUTURE = "its replica begins in the future"
    COUNTERS_FALL = "its counters are less than they were"
    TOO_MANY = "too many replicas report"


@dataclass(frozen=True, slots=True)
class _Counters:
    time: float
    sequence: int
    start_time: float
    offered: tuple[int, ...]
    shed: tuple[int, ...]
    retries: int
    admitted: int


class ReportBook:
    """The newest report of each replica."""

    def __init__(
        self, is_known: Callable[[str], bool], is_replica: Callable[[str, str], bool]
    ) -> None:
        self._is_known = is_known
        self._is_replica = is_replica
        self._reporters: Counter[str] = Counter()
        self._counters: dict[tuple[str, str, bool], _Counters] = {}
        self._reports: dict[str, dict[tuple[str, bool], ReplicaReport]] = {}
        # When each service was heard of last, or first expected to be.
        self._heard: dict[str, float] = {}

    def take(self, subject: str, report: load_report_pb2.LoadReport, now: float) -> Refusal | None:
        """Take one message in; return why not, if so. The first of a replica gives no rates yet."""
        from_edge = subject == f"load.{EDGE}.{report.replica}"
        if not from_edge and subject != f"load.{report.service}.{report.replica}":
            return Refusal.SUBJECT
        if not self._is_known(report.service):
            return Refusal.UNKNOWN_SERVICE
        if not from_edge and not self._is_replica(report.service, report.replica):
            return Refusal.UNKNOWN_REPLICA
        key = (report.service, report.replica, from_edge)
        before = self._counters.get(key)
        if before is None and self._reporters[report.service] >= _MAX_REPORTERS:
            return Refusal.TOO_MANY
        counters = _count(report, now)
        refusal = _check(counters, before, now)
        if refusal is None:
            self._counters[key] = counters
            self._reporters[report.service] += before is None
            if not from_edge:
                self._heard[report.service] = now
            if before is not None and before.start_time == counters.start_time:
                rates = _to_rates(report, before, counters, from_edge=from_edge)
                self._reports.setdefault(report.service, {})[report.replica, from_edge] = rates
        return refusal

    def reports_of(self, service: str) -> tuple[ReplicaReport, ...]:
        """Return the newest report of each replica of a service, however old."""
        found = self._reports.get(service, {})
        return tuple(found[key] for key in sorted(found))

    def newest_ages(self, services: Iterable[str], now: float) -> Mapping[str, float]:
        """Return how old the newest report of each of these services is, in seconds.

        A service that never reported counts from when it was asked about first. The edge's reports
        tell nothing of a service's replicas.
        """
        self._heard = {service: self._heard.get(service, now) for service in services}
        return {service: now - heard for service, heard in self._heard.items()}

    def forget(self, now: float) -> None:
        """Drop the replicas that have been silent for a minute, or that report from the future."""
        for key, counters in list(self._counters.items()):
            if abs(now - counters.time) > _FORGET_S:
                del self._counters[key]
                service, replica, from_edge = key
                self._reporters[service] -= 1
                self._reports.get(service, {}).pop((replica, from_edge), None)


def _count(report: load_report_pb2.LoadReport, now: float) -> _Counters:
    offered, shed = [0] * len(CLASSES), [0] * len(CLASSES)
    retries = admitted = 0
    for counted in report.classes:
        index = counted.business_class - 1 if 1 <= counted.business_class <= 4 else _NORMAL
        offered[index] += counted.first_attempts
        shed[index] += counted.shed + counted.expired
        retries += counted.retries
        admitted += counted.admitted
    return _Counters(
        time=now,
        sequence=report.sequence,
        start_time=report.start_time.seconds + report.start_time.nanos / 1e9,
        offered=tuple(offered),
        shed=tuple(shed),
        retries=retries,
        admitted=admitted,
    )


def _check(counters: _Counters, before: _Counters | None, now: float) -> Refusal | None:
    if counters.start_time > now + _MAX_CLOCK_SKEW_S:
        return Refusal.FUTURE
    if before is None:
        return None
    # A clock that was set back makes every report come before the last one.
    if 0 <= now - before.time < _MIN_INTERVAL_S:
        return Refusal.TOO_FAST
    if counters.start_time != before.start_time:
        return Refusal.OUT_OF_ORDER if counters.start_time < before.start_time else None
    if counters.sequence <= before.sequence:
        return Refusal.OUT_OF_ORDER
    pairs = zip(
        (*counters.offered, *counters.shed, counters.retries, counters.admitted),
        (*before.offered, *before.shed, before.retries, before.admitted),
        strict=True,
    )
    return Refusal.COUNTERS_FALL if any(new < old for new, old in pairs) else None


def _elapsed_s(before: _Counters, after: _Counters, loop_lag_s: float) -> float:
    """Return the seconds in which the calls between two reports came.

    What is sent each second arrives when the way is free, and a clock may be set: arrivals count
    only as far as the replica's own lag explains that its seconds were longer.
    """
    arrived = after.time - before.time
    told = (after.sequence - before.sequence) * _INTERVAL_S
    age = after.time - after.start_time
    if arrived > 0 and after.sequence * _INTERVAL_S > age + _MAX_CLOCK_SKEW_S:
        # Whoever has told of more seconds than it has lived counts something else.
        return max(arrived, _MIN_INTERVAL_S)
    return min(max(arrived, told), told * (1 + max(loop_lag_s, _DRIFT)))


def _to_rates(
    report: load_report_pb2.LoadReport, before: _Counters, after: _Counters, *, from_edge: bool
) -> ReplicaReport:
    elapsed = _elapsed_s(before, after, report.loop_lag_us / 1e6)

    def rate(new: int, old: int) -> float:
        return min((new - old) / elapsed, _MAX_RATE)

    served = rate(after.admitted, before.admitted)
    queue_wait_s = report.mean_queueing_us / 1e6
    return ReplicaReport(
        service=report.service,
        replica=report.replica,
        time=after.time,
        offered_per_s=tuple(map(rate, after.offered, before.offered)),
        shed_per_s=tuple(map(rate, after.shed, before.shed)),
        retries_per_s=rate(after.retries, before.retries),
        served_per_s=served,
        queue_wait_s=queue_wait_s,
        # Little's law.
        queued=served * queue_wait_s,
        cpu_ratio=report.cpu_milli / 1000,
        capacity_per_s=float(report.capacity_per_second),
        from_edge=from_edge,
    )
