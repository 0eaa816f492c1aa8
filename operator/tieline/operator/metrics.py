"""The operator's metrics: what the last second came to, read when somebody asks."""

import time
from collections.abc import Callable, Iterable, Mapping

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from tieline.operator.decision_state import ServiceDecision
from tieline.operator.handlers import Watching
from tieline.operator.lease import LeaseKeeper
from tieline.operator.scaler import Scaler

_Observe = Callable[[CallbackOptions], Iterable[Observation]]

# Each of a policy: name, unit, what it is, how it is read.
_OF_POLICIES: tuple[tuple[str, str, str, Callable[[ServiceDecision], float]], ...] = (
    ("replicas.desired", "{replica}", "Replicas wanted.", lambda one: one.replicas),
    ("replicas.current", "{replica}", "Replicas asked for.", lambda one: one.current_replicas),
    ("replicas.ready", "{replica}", "Replicas that take calls.", lambda one: one.ready_replicas),
    ("demand", "{call}/s", "First attempts offered.", lambda one: one.demand_per_s),
    ("capacity", "{call}/s", "What one replica does.", lambda one: one.learned_capacity_per_s),
    ("start_lead", "s", "From a write to a first call.", lambda one: one.start_lead_s),
    ("surge", "1", "1 in surge.", lambda one: float(one.in_surge)),
)


def observe_operator(
    meter: Meter,
    scaler: Scaler,
    lease: LeaseKeeper,
    seen: Watching,
    refused_reports: Callable[[], int],
    report_ages: Callable[[float], Mapping[str, float]],
) -> None:
    """Register every instrument; labels are names of policies and of recommendations' sources."""
    for name, unit, text, read in _OF_POLICIES:
        _gauge(meter, name, unit, text, _of_each(scaler, read))

    def recommendations(_: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(each.replicas, {"policy": name, "source": each.source})
            for name, decision in scaler.decisions.items()
            for each in decision.recommendations
        ]

    def tick_age(_: CallbackOptions) -> Iterable[Observation]:
        return [Observation(time.monotonic() - scaler.last_tick_time)]

    def watch_age(_: CallbackOptions) -> Iterable[Observation]:
        return [Observation(time.monotonic() - seen.last_event_time)]

    def ages(_: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(age, {"service": service})
            for service, age in report_ages(time.time()).items()
        ]

    _gauge(meter, "reports.age", "s", "Of a service's newest load report.", ages)
    _gauge(meter, "replicas.recommended", "{replica}", "By source.", recommendations)
    _gauge(meter, "tick.age", "s", "Since the last tick.", tick_age)
    _gauge(meter, "tick.duration", "s", "Of the last tick.", _of(lambda: scaler.last_tick_s))
    _gauge(meter, "watch.age", "s", "Since the last watch event.", watch_age)
    _gauge(meter, "lease.held", "1", "1 while this one writes.", _of(lambda: float(lease.is_held)))
    _count(meter, "writes.failed", "Writes that failed.", _of(lambda: scaler.failed_writes))
    _count(meter, "reports.refused", "Load reports not taken.", _of(refused_reports))
    _count(meter, "lease.lost", "How often the lease was lost.", _of(lambda: lease.lost_count))


def _gauge(meter: Meter, name: str, unit: str, text: str, observe: _Observe) -> None:
    meter.create_observable_gauge(f"operator.{name}", [observe], unit, text)


def _count(meter: Meter, name: str, text: str, observe: _Observe) -> None:
    meter.create_observable_counter(f"operator.{name}", [observe], "1", text)


def _of(read: Callable[[], float]) -> _Observe:
    return lambda _: [Observation(read())]


def _of_each(scaler: Scaler, read: Callable[[ServiceDecision], float]) -> _Observe:
    return lambda _: [
        Observation(read(decision), {"policy": name}) for name, decision in scaler.decisions.items()
    ]
