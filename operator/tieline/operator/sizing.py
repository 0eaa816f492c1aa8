"""From what a service needs to the replicas that it gets, with the reason in words. Pure."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from tieline.operator.decision_state import ServiceDecision, ServiceInput, ServiceState
from tieline.operator.decision_words import (
    Facts,
    build_conditions,
    build_events,
    join_words,
    limit_words,
    load_words,
)
from tieline.operator.floors import (
    Baseline,
    Bounds,
    Recommendation,
    find_bounds,
    override_recommendation,
    reserve_recommendation,
    update_baselines,
    window_recommendation,
    windows_without_baseline,
)
from tieline.operator.policy import (
    FallbackBehavior,
    Mode,
    OverrideAction,
    PredictionMode,
    find_override,
)
from tieline.operator.replica_steps import (
    StepState,
    note_current,
    remember_need,
    step_down,
    step_up,
)
from tieline.operator.season import seasonal_demand, slot_words
from tieline.operator.views import View, allowed_alone, is_alone, replicas_for


@dataclass(frozen=True, slots=True)
class Size:
    """The replicas of one service before the cluster's room is shared."""

    replicas: int
    needed: int
    """What the largest recommendation asks for, within the bounds."""

    recommendations: tuple[Recommendation, ...]
    won: str
    limited_by: str
    limit: int
    held: str
    """Why the replicas stay although fewer or others are needed; empty if they do not."""

    steps: StepState
    baselines: tuple[Baseline, ...]


def size(view: View, now: float) -> Size:
    """Choose the replicas of one service as if the cluster had room for all."""
    given = view.given
    recommendations, baselines = _recommend(view, now)
    best = max(recommendations, key=lambda one: one.replicas)
    bounds = find_bounds(given.policy, recommendations, given.overrides, now)
    needed = min(max(best.replicas, bounds.floor), bounds.ceiling)
    scale_down = given.policy.scale_down
    steps = note_current(view.state.steps, given.current_replicas, scale_down, now)
    steps = remember_need(steps, needed, scale_down, now)
    replicas, held = _step(view, steps, needed, bounds, now)
    is_limited = best.replicas > bounds.ceiling and replicas >= bounds.ceiling and not held
    return Size(
        replicas=replicas,
        needed=needed,
        recommendations=recommendations,
        won=best.source,
        limited_by=bounds.ceiling_source if is_limited else "",
        limit=bounds.ceiling,
        held=held,
        steps=steps,
        baselines=baselines,
    )


def is_written(given: ServiceInput) -> bool:
    """Tell whether what is decided for a policy is carried out."""
    return given.policy.mode is Mode.ACTIVE and not given.conflict


def conclude(
    view: View, sized: Size, granted: int, now: float
) -> tuple[ServiceState, ServiceDecision]:
    """Put the decision into words, and remember what the next second needs of it."""
    given, policy = view.given, view.given.policy
    limited_by, limit = sized.limited_by, sized.limit
    if granted < sized.replicas:
        limited_by, limit = "the cluster's room", granted
    is_write = granted != given.current_replicas and is_written(given)
    reason = _explain(view, sized, limit_words(limited_by, limit))
    conditions = build_conditions(
        Facts(
            mode=policy.mode,
            problem=view.load.problem,
            is_capped_by_reporters=is_alone(view),
            conflict=given.conflict,
            limited_by=limited_by,
            surge_cause=view.state.surge.cause if view.state.surge.is_active else "",
            utilization=view.utilization,
            missing_upstreams=view.missing_upstreams,
            overrides=tuple(
                f"{one.name} ({one.action}): {one.reason}"
                for one in given.overrides
                if one.is_active(now)
            ),
            current=given.current_replicas,
            replicas=granted,
            reason=reason,
        )
    )
    state = dataclasses.replace(
        view.state,
        time=now,
        steps=sized.steps,
        baselines=sized.baselines,
        statuses=tuple((one.type, one.status) for one in conditions),
    )
    return state, ServiceDecision(
        name=given.name,
        replicas=granted,
        is_write=is_write,
        current_replicas=given.current_replicas,
        ready_replicas=view.ready,
        recommendations=sized.recommendations,
        won=sized.won,
        limited_by=limited_by,
        reason=reason,
        in_surge=view.state.surge.is_active,
        capacity_delay_s=_capacity_delay(view, granted, now),
        demand_per_s=view.load.demand_per_s,
        shed_per_s=view.load.shed_per_s,
        coverage=view.load.coverage,
        learned_capacity_per_s=view.capacity,
        start_lead_s=view.state.learned.lead_s,
        windows_without_baseline=windows_without_baseline(sized.baselines, given.windows, now),
        conditions=conditions,
        events=build_events(conditions, view.state.statuses),
    )


def _recommend(view: View, now: float) -> tuple[tuple[Recommendation, ...], tuple[Baseline, ...]]:
    """Ask every source; of equal recommendations the first one wins."""
    given, policy = view.given, view.given.policy
    demand = _demand_recommendation(view)
    is_known = view.state.estimate.samples > 0
    needed = max(demand.replicas, policy.min_replicas) if is_known else None
    baselines = update_baselines(view.state.baselines, given.windows, needed, now)
    candidates: Sequence[Recommendation | None] = (
        demand,
        _upstream_recommendation(view),
        _reserve_recommendation(view, demand.replicas),
        _season_recommendation(view, now),
        window_recommendation(baselines, given.windows, now),
        override_recommendation(given.overrides, now),
        _fallback_recommendation(view),
        Recommendation("minReplicas", policy.min_replicas, ""),
    )
    return tuple(one for one in candidates if one is not None), baselines


def _demand_recommendation(view: View) -> Recommendation:
    replicas = replicas_for(view.forecast_per_s, view)
    percent = view.given.policy.capacity.target_utilization_percent
    words = f"{replicas:,} replicas hold {percent} %"
    if is_alone(view):
        allowed = allowed_alone(view)
        if replicas > allowed:
            who = "one replica alone" if view.load.reporters else "no replica"
            return Recommendation("demand", allowed, f"{words}, but {who} says so")
    return Recommendation("demand", replicas, words)


def _reserve_recommendation(view: View, needed: int) -> Recommendation | None:
    level, policy = view.state.estimate.level, view.given.policy
    found = reserve_recommendation(level, needed, view.capacity, policy)
    if found is None or not is_alone(view):
        return found
    return dataclasses.replace(found, replicas=min(found.replicas, allowed_alone(view)))


def _upstream_recommendation(view: View) -> Recommendation | None:
    if view.upstream_per_s <= 0:
        return None
    replicas = replicas_for(view.upstream_per_s, view)
    words = (
        f"its callers will cause {view.upstream_per_s:,.0f}/s, for which {replicas:,} are needed"
    )
    return Recommendation("upstreams", replicas, words)


def _season_recommendation(view: View, now: float) -> Recommendation | None:
    policy = view.given.policy
    if policy.prediction_mode is PredictionMode.OFF:
        return None
    lead_s = view.state.learned.lead_s
    expected = seasonal_demand(
        view.state.season,
        view.state.estimate.level,
        lead_s,
        policy.prediction_quantile_percent,
        now,
        is_level_certain=not is_alone(view),
    )
    if expected <= 0:
        return None
    replicas = replicas_for(expected, view)
    words = f"{slot_words(now + lead_s)} is used to {expected:,.0f}/s, for {replicas:,} replicas"
    return Recommendation("season", replicas, words)


def _fallback_recommendation(view: View) -> Recommendation | None:
    policy = view.given.policy
    is_wanted = policy.fallback_behavior is FallbackBehavior.RAISE
    if not is_wanted or (view.load.is_trusted and not is_alone(view)):
        return None
    words = f"without trusted signals the fallback asks for {policy.fallback_replicas:,}"
    return Recommendation("fallback", policy.fallback_replicas, words)


def _step(view: View, steps: StepState, needed: int, bounds: Bounds, now: float) -> tuple[int, str]:
    """Return the replicas, and why they are not what is needed."""
    given, current = view.given, view.given.current_replicas
    keeps = _find_keeper(view, now)
    if keeps:
        return current, keeps
    pin = find_override(given.overrides, OverrideAction.PIN, now)
    if pin is not None:
        replicas = min(pin.replicas, given.policy.max_replicas)
        return replicas, f"the override {pin.name} pins {replicas:,}: {pin.reason}"
    replicas, held = current, ""
    if needed > current:
        is_measured = needed > bounds.floor and not is_alone(view)
        in_surge = view.state.surge.is_active
        replicas = step_up(current, needed, in_surge=in_surge, is_measured=is_measured)
    elif needed < current:
        held = _why_not_down(view, now)
        if not held:
            # The level follows a surge a second late; this second's calls must find room too.
            at_least = min(current, replicas_for(view.load.demand_per_s, view))
            replicas = max(step_down(steps, current, given.policy.scale_down, now), at_least)
            held = "" if replicas == needed else _slow_words(steps, replicas, current)
    bounded = min(max(replicas, bounds.floor), bounds.ceiling)
    return bounded, held if bounded == replicas else ""


def _find_keeper(view: View, now: float) -> str:
    given = view.given
    if given.conflict:
        return f"hands off: {given.conflict}"
    if given.policy.mode is Mode.FROZEN:
        return "frozen by the policy"
    freeze = find_override(given.overrides, OverrideAction.FREEZE, now)
    return f"frozen by the override {freeze.name}: {freeze.reason}" if freeze else ""


def _why_not_down(view: View, now: float) -> str:
    if not view.load.is_trusted:
        return f"not lowered: {view.load.problem}"
    if view.state.surge.is_active:
        return f"not lowered in surge: {view.state.surge.cause}"
    if view.pending:
        return f"not lowered while {view.pending:,} replicas start"
    block = find_override(view.given.overrides, OverrideAction.BLOCK_SCALE_DOWN, now)
    return f"not lowered by the override {block.name}: {block.reason}" if block else ""


def _slow_words(steps: StepState, replicas: int, current: int) -> str:
    if replicas < current:
        return f"lowered in steps, now to {replicas:,}"
    return f"kept at {current:,}: {steps.window_s} s must pass without a greater need"


def _explain(view: View, sized: Size, limits: str) -> str:
    best = next(one for one in sized.recommendations if one.source == sized.won)
    demand = sized.recommendations[0]
    load = load_words(view.state.estimate.level, view.state.estimate.slope)
    if view.state.estimate.samples == 0:
        load = view.load.problem or "nothing was reported yet"
        return join_words([load, best.reason if best is not demand else "", sized.held, limits])
    other = best.reason if best is not demand else ""
    return join_words([load, demand.reason, other, sized.held, limits])


def _capacity_delay(view: View, replicas: int, now: float) -> float:
    if replicas <= view.ready:
        return 0.0
    lead_s = view.state.learned.lead_s
    starting = [pod.create_time for pod in view.given.pods if pod.ready_time is None]
    # Those that are not made yet begin now.
    newest = max(starting, default=now) if view.ready + len(starting) >= replicas else now
    return round(max(1.0, lead_s - max(0.0, now - newest)), 3)
