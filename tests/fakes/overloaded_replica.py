"""A replica of the simulation: one event loop, a queue with an end, and the real decision.

Time goes in steps of a millisecond. A call takes what 1,750 calls a second take, a refusal what
was measured; half of the capacity is CRITICAL and HIGH throughout, the rest of what is offered is
NORMAL and LOW, users are spread evenly.
"""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from tieline.chassis.admission import (
    MIN_WINDOW_S,
    REFUSAL_S,
    WINDOW_ARRIVALS,
    WINDOW_S,
    Window,
    decide_level,
)
from tieline.chassis.measured_capacity import pending_limit
from tieline.chassis.priorities import (
    LOWEST_PRIORITY,
    USER_LEVELS,
    BusinessClass,
    priority_of,
)

CAPACITY = 1750

_STEP_S = 0.001
_NORMAL = priority_of(BusinessClass.NORMAL, 0)

# Drawn beforehand, and drawn from: a simulated second has up to 17,500 calls.
_DRAWN = 20_000
_SHARE_MEASURED = 0.02


@dataclass
class Second:
    """What happened in one second."""

    admitted: int = 0
    high_offered: int = 0
    high_admitted: int = 0
    longest_wait_s: float = 0.0
    level: int = LOWEST_PRIORITY


class _Replica:
    def __init__(self, draw: random.Random) -> None:
        self.level = LOWEST_PRIORITY
        self.queue: deque[tuple[float, int]] = deque()
        self._draw = draw
        self._credit_s = 0.0
        self._previous_queueing_s = 0.0
        self._begin(0.0)

    def _begin(self, now: float) -> None:
        self._began = now
        self._arrivals = [0] * (LOWEST_PRIORITY + 1)
        self._count = self._admitted = self._refused = 0
        self._waits: list[float] = []
        self._busy_s = 0.0

    def hold_back(self, priority: int) -> None:
        self._arrivals[priority] += 1
        self._count += 1

    def work(self, now: float, second: Second) -> None:
        self._credit_s = min(self._credit_s, 0.0) if not self.queue else self._credit_s
        self._credit_s += _STEP_S
        while self.queue and self._credit_s > 0:
            arrived_at, priority = self.queue.popleft()
            self._take(now - arrived_at, priority, second)
        age_s = now - self._began
        if age_s >= WINDOW_S or (self._count >= WINDOW_ARRIVALS and age_s >= MIN_WINDOW_S):
            self._end(now)

    def _take(self, wait_s: float, priority: int, second: Second) -> None:
        self._count += 1
        self._arrivals[priority] += 1
        second.longest_wait_s = max(second.longest_wait_s, wait_s)
        if self._draw.random() < _SHARE_MEASURED:
            self._waits.append(wait_s)
        is_admitted = priority <= self.level
        cost_s = 1 / CAPACITY if is_admitted else REFUSAL_S
        self._credit_s -= cost_s
        self._busy_s += cost_s
        self._admitted += is_admitted
        self._refused += not is_admitted
        second.admitted += is_admitted
        second.high_admitted += is_admitted and priority < _NORMAL

    def _end(self, now: float) -> None:
        duration_s = max(now - self._began, _STEP_S)
        window = Window(
            self._arrivals,
            self._admitted,
            sum(self._waits) / max(len(self._waits), 1),
            min(self._busy_s / duration_s, 1.0),
            self._previous_queueing_s,
            self._refused * REFUSAL_S / duration_s,
        )
        self.level = decide_level(self.level, window)
        self._previous_queueing_s = window.mean_queueing_s
        self._begin(now)


def simulate(
    offered_per_s: Callable[[float], float], seconds: int, *, hold_back: bool
) -> list[Second]:
    """Return what each second was like. ``hold_back``: callers send nothing above the level."""
    draw = random.Random(7)
    replica = _Replica(draw)
    limit = pending_limit(CAPACITY)
    passed = []
    for number in range(seconds):
        second = Second()
        for step in range(round(1 / _STEP_S)):
            now = number + step * _STEP_S
            rate = offered_per_s(now)
            priorities = _priorities(rate)
            for _ in range(int(rate * _STEP_S + draw.random())):
                priority = priorities[int(draw.random() * _DRAWN)]
                second.high_offered += priority < _NORMAL
                if hold_back and priority > replica.level:
                    replica.hold_back(priority)
                elif len(replica.queue) < limit:
                    replica.queue.append((now, priority))
            replica.work(now, second)
        second.level = replica.level
        passed.append(second)
    return passed


@cache
def _priorities(rate: float) -> list[int]:
    draw = random.Random(3)
    important = min(0.5 * CAPACITY / rate, 0.5)
    rest = (1 - important) / 2
    weights = (0.2 * important, 0.8 * important, rest, rest)
    classes = draw.choices(list(BusinessClass), weights, k=_DRAWN)
    return [priority_of(of, draw.randrange(USER_LEVELS)) for of in classes]
