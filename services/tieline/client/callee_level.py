"""What a service last said of its admission level: what it would refuse is not sent.

Pure: the clock is passed in. Every response names the level and the priority that the call had
(``tieline-admission``). What is held back is told with the next call that the service answers, so
that it, and the operator who scales it, know of the demand.
"""

import random
from collections.abc import Callable, Mapping
from functools import cache

from google.protobuf import descriptor_pool

from tieline.api.common.v1 import priority_pb2

ADMISSION_KEY = "tieline-admission"
HELD_BACK_KEY = "tieline-held-back"
PREVIOUS_ATTEMPTS_KEY = "tieline-previous-attempts"

USER_LEVELS = 128
LOWEST_PRIORITY = priority_pb2.BUSINESS_CLASS_LOW * USER_LEVELS + USER_LEVELS - 1

# Of what would be refused one call in each such time goes out, to learn whether it still would be.
PROBE_INTERVAL_S = 0.5

# What one call may tell, all classes together, and of CRITICAL; services believe no more.
MAX_TOLD = 25
MAX_CRITICAL_TOLD = 5

_MOST_TOLD = (MAX_CRITICAL_TOLD, MAX_TOLD, MAX_TOLD, MAX_TOLD)

# 400 bytes each. What is forgotten is told again by the first answer.
_MAX_CORPS = 1000

# What is kept of each class until it is told: 400 calls' worth. Where gRPC's core refuses most of
# what comes, the service hears little, and what the refused calls carried comes back.
MAX_KEPT = 10_000


class CalleeLevel:
    """One service as seen over one connection by the parties of one corp."""

    def __init__(
        self, clock: Callable[[], float], draw: Callable[[], float] = random.random
    ) -> None:
        self._clock = clock
        self._draw = draw
        self._level = LOWEST_PRIORITY
        self._probe_at = 0.0
        self._held_back = [0, 0, 0, 0]

    def lets_in(self, business_class: int, user_level: int) -> bool:
        """Tell whether a call is worth sending; what is not is counted."""
        if business_class * USER_LEVELS + user_level <= self._level:
            return True
        if self._clock() >= self._probe_at:
            self._put_off()
            return True
        index = business_class - 1
        self._held_back[index] = min(self._held_back[index] + 1, MAX_KEPT)
        return False

    def note(self, told: object) -> int | None:
        """Record what a response said; return the caller's user level, None if it said nothing."""
        priority = None
        if isinstance(told, str):
            level, _, priority_text = told.partition(" ")
            # One below the highest priority lets in nothing.
            if _is_number(level, USER_LEVELS - 1) and _is_number(priority_text, USER_LEVELS):
                priority = int(priority_text)
                if int(level) < self._level:
                    self._put_off()
                self._level = int(level)
        return None if priority is None else priority % USER_LEVELS

    def take_held_back(self) -> str:
        """Return what the next call is to tell, the most important first; empty for nothing."""
        if not any(self._held_back):
            return ""
        left = MAX_TOLD
        told = []
        for count, most in zip(self._held_back, _MOST_TOLD, strict=True):
            told.append(min(count, most, left))
            left -= told[-1]
        self._held_back = [count - of for count, of in zip(self._held_back, told, strict=True)]
        return ",".join(map(str, told))

    def give_back(self, told: str) -> None:
        """Have a later call tell what the service did not read: its call was answered before it."""
        counts = map(int, told.split(",")) if told else (0, 0, 0, 0)
        self._held_back = [
            min(kept + count, MAX_KEPT) for kept, count in zip(self._held_back, counts, strict=True)
        ]

    def _put_off(self) -> None:
        self._probe_at = self._clock() + PROBE_INTERVAL_S * (0.8 + 0.4 * self._draw())


class CalleeLevels:
    """One service as seen over one connection, by each corp that has parties on it.

    A corp that floods a service is told a level of its own, which says nothing to other corps, and
    what a call says was held back counts as asked for by its caller's corp.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._levels: dict[object, CalleeLevel] = {}

    def of(self, corp: object) -> CalleeLevel:
        """Return what is shared by the parties that name this corp, or whatever they share."""
        level = self._levels.get(corp)
        if level is None:
            if len(self._levels) >= _MAX_CORPS:
                del self._levels[next(iter(self._levels))]
            level = self._levels[corp] = CalleeLevel(self._clock)
        return level


@cache
def find_business_class(method: str) -> int:
    """Return the class of ``/package.Service/Method``; NORMAL for what declares none."""
    service, _, name = method.lstrip("/").partition("/")
    try:
        found = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
    except KeyError:
        return priority_pb2.BUSINESS_CLASS_NORMAL
    options: Mapping[object, int] = found.GetOptions().Extensions  # type: ignore[assignment]
    return options[priority_pb2.business_class] or priority_pb2.BUSINESS_CLASS_NORMAL


def _is_number(text: str, least: int) -> bool:
    # Three digits; int() refuses a text of thousands.
    is_number = len(text) == 3 and text.isascii() and text.isdecimal()
    return is_number and least <= int(text) <= LOWEST_PRIORITY
