"""Whether a service is in surge: entered after two bad seconds, left after a calm time. Pure."""

from dataclasses import dataclass

from tieline.operator.demand import Load
from tieline.operator.policy import SurgePolicy

_BAD_TICKS = 2
_SHED_RATIO = 0.01
_LATELY = "lately "


@dataclass(frozen=True, slots=True)
class SurgeState:
    """The surge of one service."""

    is_active: bool = False
    bad_ticks: int = 0
    last_bad_time: float = 0.0
    cause: str = ""
    """Why it was entered or goes on."""


def update_surge(
    state: SurgeState,
    load: Load,
    utilization: float,
    policy: SurgePolicy,
    *,
    pending: int,
    is_forced: bool,
    now: float,
) -> SurgeState:
    """Take one second in."""
    cause = "an override" if is_forced else find_cause(load, utilization, policy)
    bad_ticks = min(state.bad_ticks + 1, _BAD_TICKS) if cause else 0
    if cause:
        is_active = state.is_active or is_forced or bad_ticks >= _BAD_TICKS
        return SurgeState(is_active, bad_ticks, now, cause)
    # A clock that was set back must not hold the surge until it has caught up.
    last_bad_time = min(state.last_bad_time, now)
    is_over = now - last_bad_time >= policy.surge.hold_seconds and pending == 0
    if state.is_active and not is_over:
        cause = state.cause if state.cause.startswith(_LATELY) else _LATELY + state.cause
        return SurgeState(True, 0, last_bad_time, cause)
    return SurgeState(False, 0, last_bad_time, "")


def find_cause(load: Load, utilization: float, policy: SurgePolicy) -> str:
    """Say what is bad about a second; empty if nothing."""
    if load.is_critical_shed:
        return "critical calls are refused"
    if load.shed_ratio > _SHED_RATIO:
        return f"{load.shed_ratio:.0%} of calls are refused"
    if load.queue_wait_s * 1000 >= policy.surge.queue_wait_milliseconds:
        return f"calls wait {load.queue_wait_s * 1000:.0f} ms"
    if utilization * 100 >= policy.surge.entry_utilization_percent:
        return f"the replicas are {utilization:.0%} full"
    return ""
