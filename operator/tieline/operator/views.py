"""What one service looks like in this second: its load, its replicas, what it will need. Pure."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

from tieline.operator.call_graph import demand_from_upstreams, learn_fanouts, order_by_calls
from tieline.operator.capacity import capacity_of_one, learn, ready_weight
from tieline.operator.decision_state import ServiceInput, ServiceState
from tieline.operator.demand import MIN_REPORTERS, Load, measure_load
from tieline.operator.estimator import update_estimate
from tieline.operator.policy import OverrideAction, find_override
from tieline.operator.season import update_season
from tieline.operator.surge_state import update_surge

_SHED_RATIO = 0.01
_DRAIN_S = 3.0
"""In how long the calls that wait shall have been served."""

_START_LEADS = 3
_MIN_START_S = 120.0
"""What has not started after three start-up times, and not within the two minutes that a new node
takes, can't: it holds neither the surge nor the replicas."""


@dataclass(frozen=True, slots=True)
class View:
    """One service in this second, as far as it can be seen alone."""

    given: ServiceInput
    state: ServiceState
    """Updated with this second."""

    load: Load
    ready: int
    pending: int
    """Replicas that are starting; those that should long have started are none."""

    capacity: float
    utilization: float
    forecast_per_s: float
    upstream_per_s: float = 0.0
    missing_upstreams: tuple[str, ...] = ()
    """Those that no policy is for, or whose policy is not carried out."""


def see(state: ServiceState, given: ServiceInput, now: float) -> View:
    """Look at one service alone, and take the second into its state."""
    policy = given.policy
    load = measure_load(given.reports, given.pods, policy, now)
    ready = sum(pod.ready_time is not None for pod in given.pods)
    pending = _count_starting(state, given, now)
    is_new = now != state.time
    if is_new and load.reporters:
        state = dataclasses.replace(
            state,
            estimate=update_estimate(state.estimate, load.demand_per_s, now),
            learned=learn(state.learned, given.reports, given.pods, policy, now),
        )
        state = dataclasses.replace(
            state, season=update_season(state.season, state.estimate.level, now)
        )
    capacity = capacity_of_one(state.learned, policy)
    weight = ready_weight(given.pods, policy, now)
    utilization = state.estimate.level / (weight * capacity) if weight else 0.0
    if is_new:
        forced = find_override(given.overrides, OverrideAction.FORCE_SURGE, now)
        surge = update_surge(
            state.surge,
            load,
            utilization,
            policy,
            pending=pending,
            is_forced=forced is not None,
            now=now,
        )
        state = dataclasses.replace(state, surge=surge)
    return View(
        given=given,
        state=state,
        load=load,
        ready=ready,
        pending=pending,
        capacity=capacity,
        utilization=utilization,
        forecast_per_s=_forecast(state, load),
    )


def follow_calls(views: Mapping[str, View], now: float) -> dict[str, View]:
    """Add what the callers' forecasts will cause, callers first."""
    names = {view.given.policy.service: name for name, view in views.items()}
    by_name = {
        name: [
            dataclasses.replace(edge, name=names.get(edge.name, edge.name))
            for edge in view.given.policy.upstreams
        ]
        for name, view in views.items()
    }
    order, edges = order_by_calls(by_name)
    forecasts = {name: _told_forecast(view) for name, view in views.items()}
    demands = {name: view.load.demand_per_s for name, view in views.items()}
    followed: dict[str, View] = {}
    for name in order:
        view = views[name]
        state = view.state
        if now != state.time and view.load.reporters:
            fanouts = learn_fanouts(
                state.fanouts,
                edges[name],
                view.load.demand_per_s,
                demands,
                is_upstream_shedding=any(
                    views[edge.name].load.shed_ratio > _SHED_RATIO / 2 for edge in edges[name]
                ),
            )
            state = dataclasses.replace(state, fanouts=fanouts)
        caused = demand_from_upstreams(edges[name], state.fanouts, forecasts)
        forecasts[name] = max(forecasts[name], caused)
        followed[name] = dataclasses.replace(
            view,
            state=state,
            upstream_per_s=caused,
            missing_upstreams=tuple(one.name for one in by_name[name] if one.name not in views),
        )
    return {name: followed[name] for name in views}


def replicas_for(demand_per_s: float, view: View) -> int:
    """Return the replicas that hold a demand at the policy's target utilisation."""
    target = view.given.policy.capacity.target_utilization_percent / 100
    # The last bits of a quotient are no reason for one more.
    return math.ceil(demand_per_s / (target * view.capacity) - 1e-9)


def is_alone(view: View) -> bool:
    """Tell whether too few replicas report to scale the fleet by, or none to bear an edge out."""
    return view.load.reporters < MIN_REPORTERS


def allowed_alone(view: View) -> int:
    """Return the replicas that one replica's word is enough for: a second one's then counts too."""
    return max(view.given.current_replicas, MIN_REPORTERS)


def _count_starting(state: ServiceState, given: ServiceInput, now: float) -> int:
    limit_s = max(_START_LEADS * state.learned.lead_s, _MIN_START_S)
    waiting = [pod for pod in given.pods if pod.ready_time is None]
    young = sum(now - pod.create_time < limit_s for pod in waiting)
    steps, current = state.steps, given.current_replicas
    # Pods that are not made yet have no age of their own: a quota may keep them away for good.
    is_raised = 0 < steps.current < current or now - steps.last_up_time < limit_s
    missing = current - len(given.pods) if is_raised else 0
    return max(0, min(young + max(0, missing), current - len(given.pods) + len(waiting)))


def _told_forecast(view: View) -> float:
    """Return what a caller's forecast counts for with those whom it calls."""
    if is_alone(view):
        return min(view.forecast_per_s, allowed_alone(view) * view.capacity)
    return view.forecast_per_s


def _forecast(state: ServiceState, load: Load) -> float:
    lead_s = state.learned.lead_s
    forecast = state.estimate.forecast(lead_s) + load.queued / _DRAIN_S
    if load.shed_ratio > _SHED_RATIO:
        growth = max(0.0, state.estimate.slope) * lead_s
        growth = min(growth, load.demand_per_s)
        forecast = max(forecast, load.demand_per_s + growth)
    return forecast
