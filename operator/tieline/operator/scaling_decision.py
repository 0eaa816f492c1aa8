"""The decision of one second: (state, what is observed, now) → (state, replicas, reasons). Pure.

Everything that is decided is decided here, and nothing else is: the same inputs give the same
decisions to the last bit, in the cluster, in the simulator and in a replay.

    demand → own forecast ─┐
    callers' forecasts ────┼→ the largest recommendation → bounds → steps → room in the cluster
    reserve, season, ──────┘
    windows, overrides
"""

from collections.abc import Sequence

from tieline.operator.arbiter import Want, share_room
from tieline.operator.decision_state import (
    FleetState,
    ServiceDecision,
    ServiceInput,
    ServiceState,
)
from tieline.operator.sizing import conclude, is_written, size
from tieline.operator.views import follow_calls, see


def decide(
    state: FleetState, services: Sequence[ServiceInput], now: float, room: int | None = None
) -> tuple[FleetState, tuple[ServiceDecision, ...]]:
    """Decide for all policies; ``room`` is how many more pods fit into the cluster, None if any.

    Policies that are not given are forgotten. The same second again changes no state, so that a
    decision that was carried out leaves nothing to do.
    """
    views = {
        given.name: see(state.services.get(given.name, ServiceState()), given, now)
        for given in sorted(services, key=lambda one: one.name)
    }
    views = follow_calls(views, now)
    sizes = {name: size(view, now) for name, view in views.items()}
    # What is not written takes no room: a policy on trial must not starve those that are live.
    wants = [
        Want(name, view.given.policy.priority, view.given.current_replicas, sizes[name].replicas)
        for name, view in views.items()
        if is_written(view.given)
    ]
    granted = {name: sized.replicas for name, sized in sizes.items()} | share_room(wants, room)
    concluded = {
        name: conclude(view, sizes[name], granted[name], now) for name, view in views.items()
    }
    return (
        FleetState({name: after for name, (after, _) in concluded.items()}),
        tuple(decision for _, decision in concluded.values()),
    )
