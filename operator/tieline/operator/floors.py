"""The recommendations that stand beside the demand's, and the bounds that nothing passes. Pure."""

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass

from tieline.operator.policy import OverrideAction, SurgeOverride, SurgePolicy, find_override
from tieline.operator.windows import SurgeWindow, WindowPhase, find_occurrence, window_floor

_RESERVE_UTILIZATION = 0.9
"""The reserve is for seconds, and may run fuller than the target."""


_BEGINNING_S = 10.0
"""Who begins to look later than this after a window's lead began sees the peak, and not what was
before it: multiplied, that would be ten times the peak."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The replicas that one source asks for."""

    source: str
    replicas: int
    reason: str
    """In words; empty where the number says it."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The replicas that were wanted when a window's pre-scale lead began."""

    window: str
    start_time: float
    replicas: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """What holds whatever the demand says."""

    floor: int
    ceiling: int
    ceiling_source: str
    """What the ceiling is called when it limits."""


def reserve_recommendation(
    level: float, needed: int, capacity: float, policy: SurgePolicy
) -> Recommendation | None:
    """Return the replicas for the load of now and the policy's reserve."""
    if policy.surge.reserve_percent == 0:
        return None
    factor = 1 + policy.surge.reserve_percent / 100
    wanted = math.ceil(factor * level / (_RESERVE_UTILIZATION * capacity))
    replicas = min(wanted, needed + policy.surge.max_reserve_replicas)
    words = f"the reserve of {policy.surge.reserve_percent} % asks for {replicas}"
    return Recommendation("reserve", replicas, words)


def update_baselines(
    baselines: Sequence[Baseline], windows: Sequence[SurgeWindow], needed: int | None, now: float
) -> tuple[Baseline, ...]:
    """Keep the baselines of the windows in force, and note those that begin.

    ``needed`` is None while the load is not known.
    """
    known = {(one.window, one.start_time): one for one in baselines}
    active = []
    for window in windows:
        occurrence = find_occurrence(window, now)
        if occurrence.phase is not WindowPhase.ACTIVE:
            continue
        key = (window.name, occurrence.start_time)
        has_begun_now = now - (occurrence.start_time - window.pre_scale_s) <= _BEGINNING_S
        if key in known:
            active.append(known[key])
        elif needed is not None and has_begun_now:
            active.append(Baseline(*key, needed))
    return tuple(active)


def windows_without_baseline(
    baselines: Sequence[Baseline], windows: Sequence[SurgeWindow], now: float
) -> tuple[str, ...]:
    """Return the windows in force that would multiply what nobody knows."""
    known = {one.window for one in baselines}
    return tuple(
        window.name
        for window in windows
        if window.multiplier_percent
        and window.name not in known
        and find_occurrence(window, now).phase is WindowPhase.ACTIVE
    )


def window_recommendation(
    baselines: Sequence[Baseline], windows: Sequence[SurgeWindow], now: float
) -> Recommendation | None:
    """Return the largest floor of the windows in force."""
    known = {one.window: one.replicas for one in baselines}
    found = [
        (window_floor(window, known.get(window.name, 0)), window)
        for window in windows
        if (window.min_replicas or window.name in known)
        and find_occurrence(window, now).phase is WindowPhase.ACTIVE
    ]
    if not found:
        return None
    replicas, window = max(found, key=lambda one: (one[0], one[1].name))
    end = dt.datetime.fromtimestamp(find_occurrence(window, now).end_time, tz=dt.UTC)
    words = f"the window {window.name} asks for {replicas} until {end:%Y-%m-%d %H:%M} UTC"
    return Recommendation("window", replicas, words)


def override_recommendation(
    overrides: Sequence[SurgeOverride], now: float
) -> Recommendation | None:
    """Return the floor that an override sets."""
    override = find_override(overrides, OverrideAction.FLOOR, now)
    if override is None:
        return None
    words = f"the override {override.name} asks for {override.replicas}"
    return Recommendation("override", override.replicas, words)


def find_bounds(
    policy: SurgePolicy,
    recommendations: Sequence[Recommendation],
    overrides: Sequence[SurgeOverride],
    now: float,
) -> Bounds:
    """Return the floor and the ceiling; where they cross the ceiling holds."""
    ceiling, source = policy.max_replicas, "maxReplicas"
    override = find_override(overrides, OverrideAction.CEILING, now)
    if override is not None and override.replicas < ceiling:
        ceiling, source = override.replicas, f"override {override.name}"
    hard = ("window", "override", "minReplicas", "fallback")
    floor = max((one.replicas for one in recommendations if one.source in hard), default=1)
    return Bounds(min(max(floor, policy.min_replicas), ceiling), ceiling, source)
