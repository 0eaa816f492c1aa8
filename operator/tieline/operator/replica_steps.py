"""From the replicas that are needed to the replicas that are set: up at once, down slowly. Pure."""

import dataclasses
import math
from dataclasses import dataclass

from tieline.operator.policy import ScaleDown

_UP_BAND = 1.05
"""Outside of surge a smaller lack is noise."""

_UP_ROUND = 1.04
"""A little more at once saves the next write."""

_MAX_GAP_S = 10.0
"""Between two seconds that were decided; a longer one is a past that is not known."""

_RE_RAISE_S = 300.0
"""A raise so soon after a step down shows that the step came too early."""


@dataclass(frozen=True, slots=True)
class StepState:
    """What the steps of one service depend on."""

    needs: tuple[tuple[float, int], ...] = ()
    """Times and needs of the last window that no later need exceeds: needs fall along it."""

    window_s: int = 0
    """How long a need is remembered now; 0 means as the policy says."""

    current: int = 0
    """The replicas that were set a second ago; 0 before the first."""

    start_time: float = 0.0
    """Since when needs are remembered; 0 before the first."""

    last_up_time: float = 0.0
    last_down_time: float = 0.0
    has_re_raised: bool = False
    """Whether replicas were raised again after the last step down."""


def step_up(current: int, needed: int, *, in_surge: bool, is_measured: bool) -> int:
    """Return the replicas to set when more are needed; the current ones if the lack is small.

    What was measured is rounded up; what a person asked for is what is set.
    """
    if needed <= current:
        return current
    if in_surge or needed >= _UP_BAND * current:
        return math.ceil(_UP_ROUND * needed) if is_measured else needed
    return current


def remember_need(state: StepState, needed: int, scale_down: ScaleDown, now: float) -> StepState:
    """Take one second's need in."""
    window_s = state.window_s or scale_down.window_seconds
    start_time = min(state.start_time or now, now)
    if state.needs and now - state.needs[-1][0] > _MAX_GAP_S:
        # Who slept, or whose clock was set forward, knows as little as who has just begun.
        start_time = now
    kept = [one for one in state.needs if now - window_s < one[0] <= now and one[1] > needed]
    return dataclasses.replace(
        state,
        needs=(*kept, (now, needed)),
        window_s=window_s,
        start_time=start_time,
        last_up_time=min(state.last_up_time, now),
        last_down_time=min(state.last_down_time, now),
    )


def step_down(state: StepState, current: int, scale_down: ScaleDown, now: float) -> int:
    """Return the replicas to set when fewer are needed; the current ones if it is too early."""
    # An operator that has just begun does not know what was needed a minute ago.
    if now - state.start_time < state.window_s:
        return current
    target = max((needed for _, needed in state.needs), default=current)
    if target > (1 - scale_down.deadband_percent / 100) * current or target >= current:
        return current
    if now - state.last_down_time < scale_down.min_interval_seconds:
        return current
    smallest = math.ceil((1 - scale_down.max_step_percent / 100) * current)
    return max(target, min(smallest, current - 1))


def note_current(state: StepState, current: int, scale_down: ScaleDown, now: float) -> StepState:
    """Notice a step that was carried out; a raise soon after one down doubles the window.

    What was decided may not have been written, and is then decided again without a wait.
    """
    before = state.current or current
    up_time = now if current > before else state.last_up_time
    state = dataclasses.replace(state, current=current, last_up_time=up_time)
    if current < before:
        return dataclasses.replace(state, last_down_time=now, has_re_raised=False)
    if now - state.last_down_time >= _RE_RAISE_S:
        return dataclasses.replace(state, window_s=scale_down.window_seconds)
    if current > before and not state.has_re_raised:
        window_s = min(2 * state.window_s, scale_down.max_window_seconds)
        return dataclasses.replace(state, window_s=window_s, has_re_raised=True)
    return state
