"""The operator's metrics: what the last second came to, read when somebody asks."""

import time
from collections.abc import Callable, Iterable

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from tieline.operator.decision_state import ServiceDecision
from tieline.operator.handlers import Watching
from tieline.operator.lease import LeaseKeeper
from tieline.operator.scaler import Scaler

_Observe = Callable[[CallbackOptions], Iterable[Observation]]


def observe_operator(
    meter: Meter, scaler: Scaler, lease: LeaseKeeper, seen: Watching, refused_reports: Callable[[], int]
) -> None:
    """Register every instrument; labels are names of policies and of recommendations' sources."""

    def of_each(read: Callable[[ServiceDecision], float]) -> _Observe:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            return [
                Observation(read(decision), {"policy": name})
                for name, decision in scaler.decisions.items()
            ]

        return observe

    def of_all(read: Callable[[], float]) -> _Observe:
        return lambda _: [Observation(read())]

    def recommendations(_: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(each.replicas, {"policy": name, "source": each.source})
            for name, decision in scaler.decisions.items()
            for each in decision.recommendations
        ]

    for name, unit, text, observe in (
        ("replicas.desired", "{replica}", "Replicas wanted.", of_each(lambda d: d.replicas)),
        ("replicas.current", "{replica}", "Asked for by the Deployment.", of_each(lambda d: d.current_replicas)),
        ("replicas.ready", "{replica}", "Replicas that take calls.", of_each(lambda d: d.ready_replicas)),
        ("replicas.recommended", "{replica}", "What each source asks for.", recommendations),
        ("demand", "{call}/s", "First attempts offered.", of_each(lambda d: d.demand_per_s)),
        ("capacity", "{call}/s", "What one replica does.", of_each(lambda d: d.learned_capacity_per_s)),
        ("start_lead", "s", "From a write to a first call.", of_each(lambda d: d.start_lead_s)),
        ("surge", "1", "1 in surge.", of_each(lambda d: float(d.in_surge))),
        ("lease.held", "1", "1 while this operator writes.", of_all(lambda: float(lease.is_held))),
        ("tick.age", "s", "Since the last tick.", of_all(lambda: time.monotonic() - scaler.last_tick_time)),
        ("tick.duration", "s", "Of the last tick.", of_all(lambda: scaler.last_tick_s)),
        ("watch.age", "s", "Since the last watch event.", of_all(lambda: time.monotonic() - seen.last_event_time)),
    ):
        meter.create_observable_gauge(f"operator.{name}", [observe], unit, text)
    for name, text, read in (
        ("writes.failed", "Writes that the API refused or did not answer.", lambda: scaler.failed_writes),
        ("reports.refused", "Load reports that were not taken.", refused_reports),
        ("lease.lost", "How often the lease was lost.", lambda: lease.lost_count),
    ):
        meter.create_observable_counter(f"operator.{name}", [of_all(read)], "1", text)
