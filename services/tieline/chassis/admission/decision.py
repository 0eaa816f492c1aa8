"""Which priorities are let in: the decision at the end of each window. Pure.

After DAGOR (Zhou et al., SoCC 2018). The signal is the queueing time, from arrival to the start of
the handler: unlike response times and CPU it tells of this replica's own overload alone. What
counts is the least of a window, not the mean: a queue that empties by itself, after a pause of the
process or a burst, is no overload, and one that stands never gets short.

    overloaded      let in 5 % less than was let in for each 20 ms that calls wait
    otherwise       1 % of the arrivals more; as many as fit where the replica is not even busy

One walk over the histogram of the window's arrivals finds the level that does this. The steps that
grow with the distance are not in the publication: by 5 % a window the way down to a tenth would
take 45 windows. Nor is the end of it: a refusal costs a part of a call here, and where strangers
send more than can even be refused, a flood, calls wait however few are let in. Then refusals have a
quarter of the event loop's time (``accept_pace``), and as many are let in as the rest of it can do.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tieline.chassis.admission.priorities import HIGHEST_PRIORITY, LOWEST_PRIORITY

WINDOW_S = 1.0
MIN_WINDOW_S = 0.25
WINDOW_ARRIVALS = 10
"""A window ends as soon as it is so long and has so many arrivals; else with the whole second."""

OVERLOADED_S = 0.020
"""A replica is overloaded when in two windows running no call waited less."""

_DECREASE = 0.05
# Of one window: a tenth is reached within a second.
_MAX_DECREASE = 0.5

# The queue is getting shorter, and what is done about it must not be done twice.
_DRAINING_RATIO = 0.8

# Of what was lately done: so little work is not what keeps calls waiting, but refusals, or others
# who take the machine. Less of it would make nobody wait less.
_MIN_ADMITTED_RATIO = 0.5

# Of what was let in. What waits for others, such as PostgreSQL, fills the places of calls in flight
# and makes nobody wait before: the level would stay where it is, and not tell who finds no place.
_MAX_CROWDED_RATIO = 0.5

_INCREASE = 0.01
# Of what was let in: at ten times the capacity 1 % of the arrivals are 10 % of what can be done.
_MAX_INCREASE = 0.02

MAX_REFUSING_RATIO = 0.25
"""Of the event loop's time. Beyond it the C core does the refusing (``accept_pace``)."""

# Of the event loop's time, for the work itself, where refusals have all of theirs.
_WORKING_RATIO = 0.95 - MAX_REFUSING_RATIO
# Of one window.
_MAX_FLOODED_INCREASE = 0.25

# While a corp is held to its share: the closer to all of the time, the longer the others wait. With
# 0.8 the calls of neighbours that want half of the capacity wait several times as long as before.
_CALM_BUSY_RATIO = 0.7

# Below it the replica has room, and how much is told by how busy its event loop was.
_CALM_S = 0.005
_AIMED_BUSY_RATIO = 0.9
_FULLY_BUSY_RATIO = 0.95
_MAX_GROWTH = 4.0


@dataclass(frozen=True, slots=True)
class Window:
    """What was seen in one window."""

    arrivals: Sequence[int]
    """By priority: what arrived, whether it was let in or not, and what callers held back."""

    admitted: int
    least_wait_s: float
    """The shortest time that calls waited at any moment of the window."""

    busy_ratio: float
    """Time that the event loop ran or was kept from running, as a part of the window."""

    previous_wait_s: float = 0.0
    """The same shortest time in the window before."""

    refusing_ratio: float = 0.0
    """Time that went into refusals, as a part of the window."""

    best: float = 0.0
    """The most that a window of this length let in lately."""

    crowded_out: int = 0
    """Calls that the level let in and that found too many in flight."""

    is_flooded: bool = False
    """Whether refusals had all of their time, in this window or shortly before."""


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
    if window.crowded_out > _MAX_CROWDED_RATIO * window.admitted:
        # Their callers were told that they would be let in, and would come again and again.
        least = _MIN_ADMITTED_RATIO * window.best
        return _walk_down(level, prefix, max(expected, least), arrivals)
    return _walk_up(level, prefix, expected, arrivals)


def is_overloaded(window: Window) -> bool:
    """Tell whether a queue stands: it was there throughout this window and the one before."""
    return min(window.least_wait_s, window.previous_wait_s) > OVERLOADED_S


def expected_admissions(window: Window) -> float:
    """Return how many calls should be let in of as many as arrived in the window."""
    admitted = window.admitted
    if window.is_flooded and is_overloaded(window):
        # However few are let in, calls wait for their turn to be refused: waiting tells nothing.
        working_ratio = window.busy_ratio - window.refusing_ratio
        step = _WORKING_RATIO / max(working_ratio, 0.01)
        step = min(max(step, 1 - _MAX_DECREASE), 1 + _MAX_FLOODED_INCREASE)
        return max(admitted * step, _MIN_ADMITTED_RATIO * window.best)
    if is_overloaded(window):
        if (
            admitted < _MIN_ADMITTED_RATIO * window.best
            or window.least_wait_s < _DRAINING_RATIO * window.previous_wait_s
        ):
            return admitted
        excess = window.least_wait_s / OVERLOADED_S
        return admitted * (1 - min(_DECREASE * excess, _MAX_DECREASE))
    if window.least_wait_s > OVERLOADED_S or window.busy_ratio > _FULLY_BUSY_RATIO:
        return admitted
    growth = min(_INCREASE * sum(window.arrivals), max(1.0, _MAX_INCREASE * admitted))
    if window.least_wait_s < _CALM_S and window.busy_ratio < _AIMED_BUSY_RATIO:
        growth = max(growth, _room(window) * admitted)
    return admitted + growth


def calm_admissions(window: Window) -> float:
    """Return how many calls could be let in so that hardly any of them had to wait."""
    calm = window.admitted * _CALM_BUSY_RATIO / max(window.busy_ratio, 0.01)
    return min(expected_admissions(window), calm)


def _room(window: Window) -> float:
    """Return how much more can be done, as a part of what was done."""
    aimed = _AIMED_BUSY_RATIO - window.refusing_ratio
    working_ratio = window.busy_ratio - window.refusing_ratio
    return max(aimed / max(working_ratio, aimed / _MAX_GROWTH, 0.01) - 1, 0.0)


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
