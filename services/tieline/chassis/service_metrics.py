"""How full a replica is: what its pool, its event loop and its admission come to, when it is asked.

Labels are classes and states, so that the series are few. Calls have their own instruments in
``interceptors.call_metrics``, the outbox and consumers theirs beside what they measure.
"""

from collections.abc import Callable, Iterable

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from tieline.chassis.admission.control import AdmissionControl, ClassCounts
from tieline.chassis.admission.load_reports import LoadReporter
from tieline.chassis.admission.priorities import BusinessClass
from tieline.chassis.postgres import Pool

_Observe = Callable[[CallbackOptions], Iterable[Observation]]


def observe_replica(
    meter: Meter, pool: Pool, control: AdmissionControl, reporter: LoadReporter
) -> None:
    """Register what a replica knows of itself."""

    def gauge(name: str, unit: str, text: str, read: Callable[[], float]) -> None:
        meter.create_observable_gauge(name, [lambda _: [Observation(read())]], unit, text)

    last = reporter.last
    gauge("queueing.mean", "s", "Wait before a handler, last second.", lambda: last().mean_queueing)
    gauge("queueing.p99", "s", "The same, 99th percentile.", lambda: last().p99_queueing)
    gauge("event_loop.lag", "s", "Longest delay of the loop, last second.", lambda: last().loop_lag)
    gauge("admission.level", "1", "Largest priority that is let in.", lambda: control.level)
    gauge("capacity", "{call}/s", "Calls a second at its best.", lambda: last().capacity)
    gauge("database.pool.size", "{connection}", "Most connections.", lambda: pool.max_size)
    gauge("database.pool.used", "{connection}", "Lent connections.", lambda: pool.used)
    for name, text, pick in (
        ("admission.arrivals", "Calls that arrived.", lambda counts: counts.arrivals),
        ("admission.shed", "Calls refused for overload.", lambda counts: counts.shed),
        ("admission.expired", "Calls that ended before their turn.", lambda counts: counts.expired),
    ):
        meter.create_observable_counter(name, [_by_class(control, pick)], "{call}", text)


def _by_class(control: AdmissionControl, pick: Callable[[ClassCounts], list[int]]) -> _Observe:
    def observe(_: CallbackOptions) -> Iterable[Observation]:
        counted = pick(control.current_counts())
        return [Observation(counted[of], {"class": of.name.lower()}) for of in BusinessClass]

    return observe
