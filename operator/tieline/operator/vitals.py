"""Whether the operator works: how long ago it ticked and saw the cluster, how late its loop is.

Written by the loop, read by whatever thread asks. A quiet namespace has no events, and kopf keeps
its bookmarks to itself: whether a kind is seen is told by its lists, made each minute, as well.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tieline.chassis.tasks import end_task
from tieline.operator.resources import Kind

MAX_TICK_AGE_S = 15.0
"""A tick takes a second or two, also while writes time out."""

MAX_LOOP_LAG_S = 10.0
"""Beyond it the lease is lost in any case."""

MAX_WATCH_AGE_S = 150.0
"""Two lists that failed, and time for the third one."""

_INTERVAL_S = 0.25
_KEPT_LAGS = 40
"""Of the last ten seconds."""


@dataclass(frozen=True, slots=True)
class Signs:
    """What a probe finds."""

    tick_age_s: float
    loop_lag_s: float
    """The longest delay of the last ten seconds, one that lasts included."""

    watch_ages_s: Mapping[str, float]
    """Since the last event of each kind."""

    list_ages_s: Mapping[str, float]
    """Since the last list of each kind."""

    def find_stalls(self) -> Sequence[str]:
        """Say what a restart may put right."""
        stalls = []
        if self.tick_age_s > MAX_TICK_AGE_S:
            stalls.append(f"the last tick was {self.tick_age_s:.0f} s ago")
        if self.loop_lag_s > MAX_LOOP_LAG_S:
            stalls.append(f"the event loop is {self.loop_lag_s:.0f} s late")
        return stalls

    def find_blindness(self) -> Sequence[str]:
        """Say which kinds are not seen: mostly the API is away, and no restart brings it back."""
        return [
            f"nothing was seen of {kind} for {age_s:.0f} s"
            for kind, watch_age_s in self.watch_ages_s.items()
            if (age_s := min(watch_age_s, self.list_ages_s[kind])) > MAX_WATCH_AGE_S
        ]


class Vitals:
    """Takes note of what happens; its clock must never be set."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tick_time = self._due_time = now = clock()
        self._seen_times = dict.fromkeys(Kind, now)
        self._list_times = dict.fromkeys(Kind, now)
        self._lags_s = [0.0] * _KEPT_LAGS
        self._beats = 0

    def note_tick(self) -> None:
        """Take note of a tick that came to its end."""
        self._tick_time = self._clock()

    def note_seen(self, kind: Kind) -> None:
        """Take note of an event of a kind."""
        self._seen_times[kind] = self._clock()

    def note_listed(self, kind: Kind) -> None:
        """Take note of a list of a kind."""
        self._list_times[kind] = self._clock()

    def note_beat(self) -> None:
        """Take note that the loop came round."""
        now = self._clock()
        self._lags_s[self._beats % _KEPT_LAGS] = max(0.0, now - self._due_time)
        self._beats += 1
        self._due_time = now + _INTERVAL_S

    def read(self) -> Signs:
        """Return how things stand now; any thread may ask."""
        now = self._clock()
        return Signs(
            tick_age_s=now - self._tick_time,
            loop_lag_s=max(*self._lags_s, now - self._due_time),
            watch_ages_s={kind.value[2]: now - at for kind, at in self._seen_times.items()},
            list_ages_s={kind.value[2]: now - at for kind, at in self._list_times.items()},
        )

    @asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Measure the loop's lag within the block."""
        task = asyncio.create_task(self._beat(), name="vitals")
        try:
            yield
        finally:
            await end_task(task)

    async def _beat(self) -> None:
        while True:
            self.note_beat()
            await asyncio.sleep(_INTERVAL_S)
