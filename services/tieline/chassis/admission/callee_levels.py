"""What other services last said of their admission levels: what they would refuse is not asked.

Pure: the clock is passed in.
"""

import random
from collections.abc import Callable

from tieline.chassis.admission.priorities import LOWEST_PRIORITY

# A level is believed for as long. Then, and for as long as nothing else is heard, one question in
# each such time goes out to learn whether it still holds.
PROBE_INTERVAL_S = 0.5


class CalleeLevel:
    """One service, whichever of its replicas answers."""

    def __init__(
        self,
        clock: Callable[[], float],
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._draw = draw
        self._level = LOWEST_PRIORITY
        self._probe_at = 0.0

    def lets_in(self, priority: int) -> bool:
        """Tell whether a question of this priority is worth sending."""
        if priority <= self._level:
            return True
        now = self._clock()
        if now < self._probe_at:
            return False
        self._probe_at = now + PROBE_INTERVAL_S * (0.8 + 0.4 * self._draw())
        return True

    def note(self, level: int) -> None:
        """Record the level that a response named."""
        if level < self._level:
            self._probe_at = self._clock() + PROBE_INTERVAL_S * (0.8 + 0.4 * self._draw())
        self._level = level

    def hold_off(self, seconds: float) -> None:
        """Send no probe before the time is over that the service named with a refusal."""
        self._probe_at = max(self._probe_at, self._clock() + seconds)
