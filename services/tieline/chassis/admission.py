"""Which priorities are let in: the decision at the end of each window. Pure.

After DAGOR (Zhou et al., SoCC 2018). The signal is the mean queueing time, from arrival to the
start of the handler: unlike response times and CPU it tells of this replica's own overload alone.

    overloaded      let in 5 % less than was let in; more the further the queueing time is off
    otherwise       1 % of the arrivals more; as many as fit where the replica is not even busy

One walk over the histogram of the window's arrivals finds the level that does this. Three things
are not in the publication. By 5 % a window the way down to a tenth would take 45 windows, and the
way back up by 1 % as many seconds; hence the steps that grow with the distance. And a refusal costs
a quarter of a call here: where strangers send more than can even be refused, calls wait however few
are let in, and letting in less would only make room for more refusals.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tieline.chassis.priorities import HIGHEST_PRIORITY, LOWEST_PRIORITY

WINDOW_S = 1.0
WINDOW_ARRIVALS = 2000
"""A window ends with whichever comes first."""

MIN_WINDOW_S = 0.25
"""Five measurements, and longer than a full queue takes to drain: sooner, nothing is known of what
the last decision did."""

MIN_MEASUREMENTS = 4
MIN_ARRIVALS = 50
"""With less of either a window tells of a pause of the process or the machine, not of overload."""

OVERLOADED_S = 0.020
"""Mean queueing time above which a replica is overloaded."""

_DECREASE = 0.05
# Of one window: at ten times the capacity eight windows, two seconds, reach the level that holds.
_MAX_DECREASE = 0.25

# The queue is getting shorter, and what is done about it must not be done twice.
_DRAINING_RATIO = 0.8

_INCREASE = 0.01
# Of what was let in: at ten times the capacity 1 % of the arrivals are 10 % of what can be done.
_MAX_INCREASE = 0.02

MAX_REFUSING_RATIO = 0.25
"""Of the event loop's time. Beyond it the C core's limit of pending calls does the refusing."""

REFUSAL_S = 0.000_14
"""CPU time of the event loop that one refusal takes; measured, 7,300 a second."""

# Below it the replica has room, and how much is told by how busy its event loop was.
_CALM_S = 0.005
_AIMED_BUSY_RATIO = 0.9
_MAX_GROWTH = 4.0


@dataclass(frozen=True, slots=True)
class Window:
    """What was seen in one window."""

    arrivals: Sequence[int]
    """By priority: what arrived, whether it was let in or not, and what callers held back."""

    admitted: int
    mean_queueing_s: float
    busy_ratio: float
    """CPU time of the event loop's thread, as a part of the window."""

    previous_queueing_s: float = 0.0
    """Mean queueing time of the window before."""

    refusing_ratio: float = 0.0
    """Time that went into refusals, as a part of the window."""


def decide_level(level: int, window: Window) -> int:
    """Return the largest priority that is let in from now on."""
    expected = expected_admissions(window)
    arrivals = window.arrivals
    total = sum(arrivals)
    if expected >= total and not is_overloaded(window):
        return LOWEST_PRIORITY
    prefix = sum(arrivals[: level + 1])
    if expected < window.admitted:
        return _walk_down(level, prefix, expected, arrivals)
    return _walk_up(level, prefix, expected, arrivals)


def is_overloaded(window: Window) -> bool:
    """Tell whether calls waited too long."""
    return window.mean_queueing_s > OVERLOADED_S


def expected_admissions(window: Window) -> float:
    """Return how many calls should be let in of as many as arrived in the window."""
    admitted = window.admitted
    if is_overloaded(window):
        if window.refusing_ratio > MAX_REFUSING_RATIO:
            return admitted * (1 + _MAX_INCREASE)
        if window.mean_queueing_s < _DRAINING_RATIO * window.previous_queueing_s:
            return admitted
        excess = window.mean_queueing_s / OVERLOADED_S
        return admitted * (1 - min(_DECREASE * excess, _MAX_DECREASE))
    growth = min(_INCREASE * sum(window.arrivals), max(1.0, _MAX_INCREASE * admitted))
    if window.mean_queueing_s < _CALM_S and window.busy_ratio < _AIMED_BUSY_RATIO:
        room = _AIMED_BUSY_RATIO / max(window.busy_ratio, _AIMED_BUSY_RATIO / _MAX_GROWTH) - 1
        growth = max(growth, room * admitted)
    return admitted + growth


def _walk_down(level: int, prefix: int, expected: float, arrivals: Sequence[int]) -> int:
    while level > HIGHEST_PRIORITY and prefix > expected:
        prefix -= arrivals[level]
        level -= 1
    return level


def _walk_up(level: int, prefix: int, expected: float, arrivals: Sequence[int]) -> int:
    while level < LOWEST_PRIORITY and prefix < expected:
        level += 1
        prefix += arrivals[level]
    return level
