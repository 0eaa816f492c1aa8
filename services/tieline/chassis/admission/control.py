"""Admission as a replica does it: counts what arrives, decides at the end of each window.

What every call passes is a few steps: look the caller up (``known_callers``), count, compare. The
decision itself is in ``admission`` and ``fair_shares``, what is told to the operator in
``load_reports``.

    lets_in         each call, each message of a stream, each question of another service
    note_queueing   what the probe and the questions measured
    tick            twenty times a second: ends windows
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tieline.chassis.admission.accept_pace import RefusalPace
from tieline.chassis.admission.arrival_counts import find_level, scaled, spread, subtract
from tieline.chassis.admission.busy_time import busy_time
from tieline.chassis.admission.corp_calls import CorpCalls
from tieline.chassis.admission.decision import (
    MAX_REFUSING_RATIO,
    MIN_WINDOW_S,
    WINDOW_ARRIVALS,
    WINDOW_S,
    Window,
    calm_admissions,
    decide_level,
    expected_admissions,
)
from tieline.chassis.admission.fair_shares import fair_share, find_flooding
from tieline.chassis.admission.known_callers import KnownCallers
from tieline.chassis.admission.measured_capacity import (
    MeasuredCapacity,
    flooded_limits,
    in_flight_limits,
    share_limits,
)
from tieline.chassis.admission.priorities import (
    LOWEST_PRIORITY,
    USER_LEVELS,
    BusinessClass,
)
from tieline.chassis.admission.refusing_time import RefusingTime
from tieline.chassis.errors import RETRY_DELAY_S

_MAX_WAITS = 1000

# Calls that a caller of a corp is believed to have held back, all classes together, with each call
# that it makes and each request of a stream: else one customer could make up a surge. So a corp's
# demand is believed to be 26 times its calls at most, more than twice the surge that this is made
# for, and counts against its own share: with 20 the simulated flood of thirty times the capacity
# costs its neighbours something. Who is of no corp has no share, and is believed one for one.
MAX_HELD_BACK = 25
MAX_HELD_BACK_WITHOUT_CORP = 1

# Of these: hardly ever held back, and whoever makes them up would have others pay for it the most.
MAX_CRITICAL_HELD_BACK = 5

# Of what was done at best, each window: what others take of the machine is lost for long at times.
_BEST_DECAY = 0.95

# Of a window: calls not taken for so long, since refusals had had their time, or so much time for
# refusals, are a flood. It is believed to go on for a few windows.
_HELD_UP_RATIO = 0.05
_FLOOD_RATIO = 0.8 * MAX_REFUSING_RATIO
_FLOODED_S = 1.0

# Of what a refusal takes, each window: of one alone it is told no better than to a call's time.
_REFUSAL_STEP = 0.1
_MAX_REFUSAL_S = 0.001

# Of the least service time, each second: what calls take changes with what is called, over hours. A
# surge of ten minutes is nearly forgotten in as many.
_CALM_FORGOTTEN = 0.001

# Of a corp's share, each window in which it does not flood: let go at once, all that its callers
# held back would come at once.
_RELEASE_GROWTH = 1.25

_PRIORITIES = LOWEST_PRIORITY + 1
_CLASSES = len(BusinessClass) + 1


@dataclass(slots=True)
class ClassCounts:
    """Calls by class since the start; index 0 is unused."""

    arrivals: list[int] = field(default_factory=lambda: [0] * _CLASSES)
    retries: list[int] = field(default_factory=lambda: [0] * _CLASSES)
    shed: list[int] = field(default_factory=lambda: [0] * _CLASSES)
    held_back: list[int] = field(default_factory=lambda: [0] * _CLASSES)
    """What callers say they did not send; part of the demand."""

    expired: list[int] = field(default_factory=lambda: [0] * _CLASSES)


@dataclass(frozen=True, slots=True)
class Queueing:
    """How long calls waited in a second."""

    mean_s: float
    p99_s: float


class AdmissionControl:
    """Decides for one replica which calls it takes."""

    def __init__(
        self,
        key: bytes,
        *,
        capacity_per_s: int,
        is_on: bool = True,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        busy_clock: Callable[[], float] = busy_time,
        thread_clock: Callable[[], float] = time.thread_time,
    ) -> None:
        self.level = LOWEST_PRIORITY
        """The largest priority that is let in."""

        self.in_flight = 0
        """Unary calls that have begun and not ended; the interceptor counts."""

        self.service_s = 0.0
        """Mean time of unary calls in their handlers, of the last hundred or so; the interceptor
        measures."""

        self.calm_service_s = 0.0
        """The same while little was to do: under load calls wait for each other in their handlers.
        0 while nobody has called."""

        self.retry_delay_s = RETRY_DELAY_S
        """When refused callers are to come back; the operator knows better while it scales."""

        self.is_holding_up = False
        """Whether calls were not taken of late, since refusals had had their time: so many come of
        strangers alone. Callers who hold back may have a busy replica refuse for as long, at the
        beginning of a surge."""

        self.pace = RefusalPace(clock)
        """Holds up the taking of calls while refusals have had their part of the time."""

        self.counts = ClassCounts()
        self.capacity = MeasuredCapacity(capacity_per_s)
        self.callers = KnownCallers(key, wall_clock)
        self.no_corp = self.callers.no_corp

        self._is_on = is_on
        self._clock = clock
        self._busy_clock = busy_clock
        self._thread_clock = thread_clock
        self._refusing = RefusingTime()
        self._set_limits()
        self._told: dict[int, str] = {}
        self._left_before = 0
        self._previous_wait_s = 0.0
        self._best_per_s = 0.0
        self._flooded_until = 0.0
        self._holding_up_until = 0.0
        # Since the last tick.
        self._longest_wait_s: float | None = None
        # Of the window.
        self._least_wait_s = math.inf
        # Of the current second; the probe's are 20, and the questions' a few thousand.
        self._waits: deque[float] = deque(maxlen=_MAX_WAITS)
        self._begin_window()

    def lets_in(self, priority: int, corp: CorpCalls) -> bool:
        """Count an arrival, and tell whether it is to be let in."""
        self._left -= 1
        corp.arrivals += 1
        if corp.by_priority is not None:
            corp.by_priority[priority] += 1
            if not self._is_within_share(priority, corp):
                return False
        self._arrivals[priority] += 1
        limit = self._limits[priority // USER_LEVELS]
        if (priority > self.level or self.in_flight >= limit) and self._is_on:
            self._refused += 1
            self.pace.spend()
            self._crowded_out += priority <= self.level
            self.counts.shed[priority // USER_LEVELS] += 1
            return False
        return True

    def level_for(self, corp: CorpCalls) -> int:
        """Return the largest priority that is let in of callers of this corp."""
        return min(corp.level, self.level)

    def tell(self, priority: int, corp: CorpCalls) -> str:
        """Return what responses say: the level that holds for the caller, and its priority."""
        if corp.level < self.level:
            return f"{corp.level} {priority}"
        told = self._told.get(priority)
        if told is None:
            told = self._told[priority] = f"{self.level} {priority}"
        return told

    def note_queueing(self, seconds: float) -> None:
        """Record how long something waited from its arrival to the start of its handler."""
        if self._longest_wait_s is None or seconds > self._longest_wait_s:
            self._longest_wait_s = seconds
        self._waits.append(seconds)

    def take_queueing(self) -> Queueing:
        """Return what was measured since the last time."""
        waits = sorted(self._waits)
        self._waits.clear()
        if not waits:
            return Queueing(0.0, 0.0)
        return Queueing(sum(waits) / len(waits), waits[int(len(waits) * 0.99)])

    def note_held_back(self, by_class: Mapping[int, int], corp: CorpCalls) -> None:
        """Record what a caller says it did not send, since it would have been refused.

        It is believed the most important first, for as many as the bounds above allow.
        """
        left = MAX_HELD_BACK if corp.corp_id else MAX_HELD_BACK_WITHOUT_CORP
        for business_class in BusinessClass:
            is_critical = business_class is BusinessClass.CRITICAL
            most = min(left, MAX_CRITICAL_HELD_BACK) if is_critical else left
            believed = min(by_class.get(business_class, 0), most)
            left -= believed
            corp.held_back[business_class] += believed
            self._held_back[business_class] += believed
            self._left -= believed

    def tick(self) -> None:
        """End a window whose time is over, and forget callers at the hour."""
        if self._longest_wait_s is not None:
            self._least_wait_s = min(self._least_wait_s, self._longest_wait_s)
            self._longest_wait_s = None
        age_s = self._clock() - self._began
        if age_s >= (MIN_WINDOW_S if self._left <= 0 else WINDOW_S):
            self._end_window()
        self.callers.forget_old()

    def has_work(self) -> bool:
        """Tell whether anything arrived since the last time, or is being done."""
        has_arrived = self._left != self._left_before
        self._left_before = self._left
        return has_arrived or self.in_flight > 0

    def current_counts(self) -> ClassCounts:
        """Return the counters, the current window included."""
        counts = self.counts
        arrivals = list(counts.arrivals)
        held_back = list(counts.held_back)
        for business_class in BusinessClass:
            begin = business_class * USER_LEVELS
            arrivals[business_class] += sum(self._arrivals[begin : begin + USER_LEVELS])
            arrivals[business_class] += self._flooded[business_class]
            held_back[business_class] += self._held_back[business_class]
        return ClassCounts(
            arrivals, counts.retries.copy(), counts.shed.copy(), held_back, counts.expired.copy()
        )

    def note_capacity(self, admitted_per_s: float, *, is_saturated: bool) -> None:
        """Learn from one second what this replica can do; the limit of calls in flight follows."""
        if self.service_s:
            before_s = (1 + _CALM_FORGOTTEN) * self.calm_service_s or self.service_s
            self.calm_service_s = min(self.service_s, before_s)
        self.capacity.learn(admitted_per_s, is_saturated=is_saturated)
        self._set_limits()

    def _set_limits(self) -> None:
        per_s = self.capacity.for_limits_per_s
        self._limits = flooded_limits(per_s) if self.is_holding_up else in_flight_limits(per_s)
        self._share_limits = share_limits(per_s)

    def _is_within_share(self, priority: int, corp: CorpCalls) -> bool:
        """Tell whether a corp that is held to its share has some of it left; count if not."""
        business_class = priority // USER_LEVELS
        if priority <= corp.level:
            has_room = self.in_flight < self._share_limits[business_class]
            if has_room and corp.takes_of_its_share(business_class, self._clock()):
                return True
            corp.note_refused(priority)
        self._refused += 1
        self.pace.spend()
        self._flooded[business_class] += 1
        self.counts.shed[business_class] += 1
        return False

    def _begin_window(self) -> None:
        self._left = WINDOW_ARRIVALS
        self._began = self._clock()
        self._busy_began = self._busy_clock()
        self._ran_before_s = self._thread_clock()
        self._arrivals = [0] * _PRIORITIES
        self._flooded = [0] * _CLASSES
        self._held_back = [0] * _CLASSES
        self._refused = 0
        self._crowded_out = 0
        self.pace.held_up_s = 0.0
        self._least_wait_s = math.inf

    def _end_window(self) -> None:
        window = self._sum_up()
        # The levels are told to callers, who hold back by them what would not be refused here.
        if self._is_on:
            self._hold_to_shares(window)
            self.level = decide_level(self.level, window)
        self._previous_wait_s = window.least_wait_s
        self.is_holding_up = self._clock() < self._holding_up_until
        self._set_limits()
        self._told.clear()
        self.counts = self.current_counts()
        for corp in self.callers.corps():
            corp.begin_window()
        self._begin_window()

    def _sum_up(self) -> Window:
        arrived = sum(self._arrivals) + sum(self._flooded)
        duration_s = max(self._clock() - self._began, 1e-6)
        arrivals = self._arrivals.copy()
        self._spread_held_back(arrivals)
        busy_s = self._busy_clock() - self._busy_began
        admitted = arrived - self._refused
        ran_s = self._thread_clock() - self._ran_before_s
        refusing_s = self._refusing.measure(admitted, self._refused, ran_s)
        if self.pace.held_up_s > _HELD_UP_RATIO * duration_s:
            self._holding_up_until = self._flooded_until = self._clock() + _FLOODED_S
        elif refusing_s > _FLOOD_RATIO * duration_s:
            self._flooded_until = self._clock() + _FLOODED_S
        if self._refused:
            refusal_s = min(refusing_s / self._refused, _MAX_REFUSAL_S)
            self.pace.refusal_s += _REFUSAL_STEP * (refusal_s - self.pace.refusal_s)
        self._best_per_s = max(admitted / duration_s, _BEST_DECAY * self._best_per_s)
        return Window(
            arrivals,
            admitted=admitted,
            # Where nothing was measured, nothing waited.
            least_wait_s=self._least_wait_s if self._least_wait_s < math.inf else 0.0,
            busy_ratio=min(busy_s / duration_s, 1.0),
            previous_wait_s=self._previous_wait_s,
            refusing_ratio=refusing_s / duration_s,
            best=self._best_per_s * duration_s,
            crowded_out=self._crowded_out,
            is_flooded=self._clock() < self._flooded_until,
        )

    def _spread_held_back(self, arrivals: list[int]) -> None:
        """Add what callers held back, but for the corps that are held to their share."""
        floods = [corp for corp in self.callers.corps() if corp.by_priority is not None]
        for business_class in BusinessClass:
            of_floods = sum(corp.held_back[business_class] for corp in floods)
            held_back = self._held_back[business_class] - of_floods
            spread(arrivals, business_class, held_back, self.level)

    def _hold_to_shares(self, window: Window) -> None:
        """Hold corps that flood to their share, and take what that spares out of the window."""
        wanted = {corp.corp_id: corp.wanted for corp in self.callers.corps() if corp.wanted}
        flooding = find_flooding(wanted, expected_admissions(window))
        calm_share = fair_share(wanted, calm_admissions(window))
        duration_s = max(self._clock() - self._began, 1e-6)
        for corp in self.callers.corps():
            share = calm_share if corp.corp_id in flooding else None
            if share is None and corp.by_priority is not None:
                # Its callers, who hold back, hardly have calls to tell with how much they want.
                share = corp.share_per_s * duration_s * _RELEASE_GROWTH
            if share is None or share > window.best:
                corp.level = LOWEST_PRIORITY
                corp.by_priority = None
                continue
            arrivals = corp.by_priority or scaled(self._arrivals, corp.arrivals)
            for business_class, held_back in corp.held_back.items():
                spread(arrivals, business_class, held_back, self.level_for(corp))
            level = find_level(arrivals, share)
            if level < corp.level:
                subtract(window.arrivals, arrivals, level, corp.level)
            corp.level = level
            corp.share_per_s = share / duration_s
            corp.by_priority = [0] * _PRIORITIES
