"""A replica of the simulation: one event loop, a queue with an end, and the real control.

Time goes in steps of a millisecond, on a clock of its own. A call takes what 1,750 calls a second
take, or another number that is named, a refusal what was measured; half of the capacity is CRITICAL
and HIGH throughout, the rest of what is offered is NORMAL and LOW, users are spread evenly.
"""

import random
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from tieline.chassis.admission.control import AdmissionControl
from tieline.chassis.admission.corp_calls import CorpCalls
from tieline.chassis.admission.measured_capacity import pending_limit
from tieline.chassis.admission.priorities import (
    LOWEST_PRIORITY,
    USER_LEVELS,
    BusinessClass,
    class_of,
    priority_of,
)
from tieline.chassis.admission.refusing_time import REFUSAL_S
from tieline.chassis.principals import Principal, PrincipalKind

CAPACITY = 1750

_STEP_S = 0.001
_STEPS_OF_A_TICK = 50
_STEPS_OF_A_PROBE = 500
_NORMAL = priority_of(BusinessClass.NORMAL, 0)

_NEIGHBOURS = 100

# Drawn beforehand, and drawn from: a simulated second has up to 17,500 calls.
_DRAWN = 20_000


@dataclass
class Second:
    """What happened in one second."""

    admitted: int = 0
    refused: int = 0
    high_offered: int = 0
    high_admitted: int = 0
    longest_wait_s: float = 0.0
    waited_s: float = 0.0
    """Of all calls together."""

    level: int = LOWEST_PRIORITY

    neighbours_offered: int = 0
    neighbours_admitted: int = 0
    neighbours_longest_wait_s: float = 0.0


class _Replica:
    def __init__(self, capacity: int, refusal_s: float) -> None:
        self.now = self._busy_s = 0.0
        self.control = AdmissionControl(
            b"k" * 32,
            capacity_per_s=capacity,
            clock=lambda: self.now,
            wall_clock=lambda: self.now,
            busy_clock=lambda: self._busy_s,
            thread_clock=lambda: self._busy_s,
        )
        self.queue: deque[tuple[float, int, CorpCalls]] = deque()
        self._call_s = 1 / capacity
        self._refusal_s = refusal_s
        self._credit_s = 0.0
        self._held_up_until = 0.0
        self.told: dict[str, int] = defaultdict(lambda: LOWEST_PRIORITY)
        """The level that callers of a corp know of, by its id."""

    def work(self, second: Second) -> None:
        """Work for a step."""
        if not self.queue or self.now < self._held_up_until:
            self._credit_s = min(self._credit_s, 0.0)
        self._credit_s += _STEP_S
        while self.queue and self._credit_s > 0 and self.now >= self._held_up_until:
            arrived_at, priority, corp = self.queue.popleft()
            self._take(self.now - arrived_at, priority, corp, second)

    def tick(self) -> None:
        """Measure as the probe does: what waits now has waited at least so long."""
        if self.queue:
            self.control.note_queueing(self.now - self.queue[0][0])
        elif self.control.has_work():
            self.control.note_queueing(0.0)
        self.control.tick()

    def corp(self, corp_id: str) -> CorpCalls:
        """Return what the replica knows of a corp, of which it has verified a caller."""
        caller = self.control.callers.find(corp_id)
        if caller is None:
            principal = Principal(PrincipalKind.MEMBER, "li.wei", corp_id, "session")
            self.control.callers.remember(corp_id, principal)
            return self.corp(corp_id)
        return caller.corp

    def _take(self, wait_s: float, priority: int, corp: CorpCalls, second: Second) -> None:
        second.longest_wait_s = max(second.longest_wait_s, wait_s)
        second.waited_s += wait_s
        is_admitted = self.control.lets_in(priority, corp)
        cost_s = self._call_s if is_admitted else self._refusal_s
        self._credit_s -= cost_s
        self._busy_s += cost_s
        second.admitted += is_admitted
        second.refused += not is_admitted
        second.high_admitted += is_admitted and priority < _NORMAL
        if is_admitted and corp.corp_id.startswith("neighbour"):
            second.neighbours_admitted += 1
            second.neighbours_longest_wait_s = max(second.neighbours_longest_wait_s, wait_s)
        self.told[corp.corp_id] = self.control.level_for(corp)
        self._held_up_until = self.now + self.control.pace.hold_up()


def simulate(
    offered_per_s: Callable[[float], float],
    seconds: int,
    *,
    hold_back: bool,
    capacity: int = CAPACITY,
    refusal_s: float = REFUSAL_S,
    pauses: Sequence[tuple[float, float]] = (),
) -> list[Second]:
    """Return what each second was like. ``hold_back``: callers send nothing above the level.

    In ``pauses``, from and to, the process stands still while calls arrive.
    """
    draw = random.Random(7)
    replica = _Replica(capacity, refusal_s)
    no_corp, tellers = replica.control.no_corp, CorpCalls("tellers")
    limit = pending_limit(capacity)
    passed = []
    for number in range(seconds):
        second = Second()
        for step in range(round(1 / _STEP_S)):
            now = replica.now = number + step * _STEP_S
            rate = offered_per_s(now)
            priorities = _priorities(rate, capacity)
            held_back: Counter[int] = Counter()
            for _ in range(int(rate * _STEP_S + draw.random())):
                priority = priorities[int(draw.random() * _DRAWN)]
                second.high_offered += priority < _NORMAL
                if hold_back and priority > replica.control.level:
                    held_back[class_of(priority)] += 1
                elif len(replica.queue) < limit:
                    replica.queue.append((now, priority, no_corp))
            replica.control.note_held_back(held_back, tellers)
            if not any(begin <= now < end for begin, end in pauses):
                replica.work(second)
                if step % _STEPS_OF_A_TICK == 0:
                    replica.tick()
        second.level = replica.control.level
        passed.append(second)
    return passed


def simulate_flood(factor: float, seconds: int, *, users: int = 100) -> list[Second]:
    """Return what each second was like while one corp reads at ``factor`` times the capacity.

    A hundred corps together read at half of it, and send whatever they are told. The flood's
    callers send nothing above the level that they know of, but for one call each half second.
    """
    draw = random.Random(7)
    replica = _Replica(CAPACITY, REFUSAL_S)
    neighbours = [f"neighbour-{number}" for number in range(_NEIGHBOURS)]
    levels = [_NORMAL + draw.randrange(USER_LEVELS) for _ in range(users)]
    passed = []
    for number in range(seconds):
        second = Second()
        for step in range(round(1 / _STEP_S)):
            now = replica.now = number + step * _STEP_S
            due = int(factor * CAPACITY * _STEP_S + draw.random())
            calls = [(draw.choice(levels), "flood") for _ in range(due)]
            for _ in range(int(0.5 * CAPACITY * _STEP_S + draw.random())):
                calls.append((_NORMAL + draw.randrange(USER_LEVELS), draw.choice(neighbours)))
                second.neighbours_offered += 1
            draw.shuffle(calls)
            held_back = 0
            for priority, corp_id in calls:
                is_refused = corp_id == "flood" and priority > replica.told[corp_id]
                if is_refused and (held_back or step % _STEPS_OF_A_PROBE):
                    held_back += 1
                elif len(replica.queue) < pending_limit(CAPACITY):
                    replica.queue.append((now, priority, replica.corp(corp_id)))
            replica.control.note_held_back({BusinessClass.NORMAL: held_back}, replica.corp("flood"))
            replica.work(second)
            if step % _STEPS_OF_A_TICK == 0:
                replica.tick()
        second.level = replica.control.level
        passed.append(second)
    return passed


@cache
def _priorities(rate: float, capacity: int) -> list[int]:
    draw = random.Random(3)
    important = min(0.5 * capacity / rate, 0.5)
    rest = (1 - important) / 2
    weights = (0.2 * important, 0.8 * important, rest, rest)
    classes = draw.choices(list(BusinessClass), weights, k=_DRAWN)
    return [priority_of(of, draw.randrange(USER_LEVELS)) for of in classes]
