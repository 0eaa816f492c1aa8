"""The operator's metrics: what the last second came to, read when somebody asks."""

import time
from collections.abc import Callable, Iterable, Mapping

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from tieline.chassis.telemetry import Telemetry
from tieline.operator.decision_state import ServiceDecision
from tieline.operator.lease import LeaseKeeper
from tieline.operator.replica_report import CLASSES
from tieline.operator.scaler import Scaler
from tieline.operator.write_attempts import Write

_Observe = Callable[[CallbackOptions], Iterable[Observation]]

# Each of a policy: name, unit, what it is, how it is read.
_OF_POLICIES: tuple[tuple[str, str, str, Callable[[ServiceDecision], float]], ...] = (
    ("replicas.desired", "{replica}", "Replicas wanted.", lambda one: one.replicas),
    ("replicas.current", "{replica}", "Replicas asked for.", lambda one: one.current_replicas),
    ("replicas.ready", "{replica}", "Replicas that take calls.", lambda one: one.ready_replicas),
    ("demand", "{call}/s", "First attempts offered.", lambda one: one.demand_per_s),
    ("capacity", "{call}/s", "What one replica does.", lambda one: one.learned_capacity_per_s),
    ("start_lead", "s", "A pod's creation to its readiness.", lambda one: one.start_lead_s),
    ("surge", "1", "1 in surge.", lambda one: float(one.in_surge)),
    ("overloaded", "1", "1 while too much is offered.", lambda one: one.holds("Overloaded")),
    ("reports.coverage", "1", "Part of the ready replicas that report.", lambda one: one.coverage),
)


def observe_operator(
    measured: Telemetry,
    scaler: Scaler,
    lease: LeaseKeeper,
    refused_reports: Callable[[], int],
    report_ages: Callable[[float], Mapping[str, float]],
) -> None:
    """Register every instrument; labels are names of policies and of a few known things."""
    meter, vitals, attempts = measured.meter, scaler.vitals, scaler.attempts
    measured.histograms.append(scaler.latencies)
    for name, unit, text, read in _OF_POLICIES:
        _gauge(meter, name, unit, text, _of_each(scaler, read))

    def recommendations(_: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(each.replicas, {"policy": name, "source": each.source})
            for name, decision in scaler.decisions.items()
            for each in decision.recommendations
        ]

    def shed(_: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(rate, {"policy": name, "class": business_class})
            for name, decision in scaler.decisions.items()
            for business_class, rate in zip(CLASSES, decision.shed_per_s, strict=True)
        ]

    def conflicts(_: CallbackOptions) -> Iterable[Observation]:
        decided = {name: one.holds("TargetConflict") for name, one in scaler.decisions.items()}
        in_trouble = {name: one.is_conflict for name, one in scaler.troubles.items()}
        return [
            Observation(float(is_conflict), {"policy": name})
            for name, is_conflict in {**decided, **in_trouble}.items()
        ]

    def watch_ages(_: CallbackOptions) -> Iterable[Observation]:
        signs = vitals.read()
        return [
            Observation(age, {"kind": kind, "by": by})
            for by, found in (("event", signs.watch_ages_s), ("list", signs.list_ages_s))
            for kind, age in found.items()
        ]

    def ages(_: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(age, {"service": service})
            for service, age in report_ages(time.time()).items()
        ]

    _gauge(meter, "reports.age", "s", "Of a service's newest load report.", ages)
    _gauge(meter, "replicas.recommended", "{replica}", "By source.", recommendations)
    _gauge(meter, "shed", "{call}/s", "Calls refused or expired, by class.", shed)
    _gauge(meter, "target_conflict", "1", "1 while somebody else scales the target.", conflicts)
    _gauge(meter, "tick.age", "s", "Since the last tick.", _of(lambda: vitals.read().tick_age_s))
    _gauge(meter, "tick.duration", "s", "Of the last tick.", _of(lambda: scaler.last_tick_s))
    _gauge(meter, "loop.lag", "s", "Longest of ten seconds.", _of(lambda: vitals.read().loop_lag_s))
    _gauge(meter, "watch.age", "s", "Since a kind's last event, or list.", watch_ages)
    _gauge(meter, "lease.held", "1", "1 while this one writes.", _of(lambda: float(lease.is_held)))
    _count(meter, "writes.failed", "Writes that failed.", _of_writes(attempts.failed))
    _count(meter, "writes.conflicts", "Those that met another's.", _of_writes(attempts.conflicts))
    _count(meter, "reports.refused", "Load reports not taken.", _of(refused_reports))
    _count(meter, "lease.lost", "How often the lease was lost.", _of(lambda: lease.lost_count))


def _gauge(meter: Meter, name: str, unit: str, text: str, observe: _Observe) -> None:
    meter.create_observable_gauge(f"operator.{name}", [observe], unit, text)


def _count(meter: Meter, name: str, text: str, observe: _Observe) -> None:
    meter.create_observable_counter(f"operator.{name}", [observe], "1", text)


def _of(read: Callable[[], float]) -> _Observe:
    return lambda _: [Observation(read())]


def _of_writes(counts: Mapping[Write, int]) -> _Observe:
    return lambda _: [Observation(count, {"write": kind}) for kind, count in counts.items()]


def _of_each(scaler: Scaler, read: Callable[[ServiceDecision], float]) -> _Observe:
    return lambda _: [
        Observation(read(decision), {"policy": name}) for name, decision in scaler.decisions.items()
    ]
