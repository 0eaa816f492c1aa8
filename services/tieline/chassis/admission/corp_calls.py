"""One corp's part of a replica's current window, and what it may have while it floods.

A corp that is held to its share has a level of its own, which is reckoned for a window. Where a few
of its users send more than all of the share a level can't tell them apart, so calls are counted
too: what the share has not saved up is refused, and the level lowered once that is no chance.
"""

from collections import Counter
from dataclasses import dataclass, field

from tieline.chassis.admission.priorities import LOWEST_PRIORITY, BusinessClass

# Of a share, in seconds: so much may come at once, and so much beyond it is chance.
_SAVED_S = 0.01
_CHANCE_S = 0.04
# Of a small one, in calls.
_LEAST = float(max(BusinessClass))


@dataclass(slots=True)
class CorpCalls:
    """One corp's calls."""

    corp_id: str
    arrivals: int = 0
    held_back: Counter[int] = field(default_factory=Counter)
    """By class, what its callers say they did not send."""

    level: int = LOWEST_PRIORITY
    """Lower than the highest number for a corp that is held to its fair share."""

    by_priority: list[int] | None = None
    """Arrivals, kept while the corp is held to its share."""

    share_per_s: float = 0.0
    """Calls a second that it may have, while it is held to its share."""

    _refused: int = 0
    _saved: float = 0.0
    _at: float = 0.0

    @property
    def wanted(self) -> int:
        """The calls that came, and that would have come."""
        return self.arrivals + self.held_back.total()

    def begin_window(self) -> None:
        """Forget the window's calls."""
        self.arrivals = self._refused = 0
        self.held_back.clear()

    def takes_of_its_share(self, business_class: int, now: float) -> bool:
        """Take one call out of the share, ``now`` in seconds; False where it is used up.

        The last calls are left for classes that are more important.
        """
        saved = self._saved + (now - self._at) * self.share_per_s
        self._saved = min(saved, max(self.share_per_s * _SAVED_S, _LEAST))
        self._at = now
        if self._saved < business_class:
            return False
        self._saved -= 1.0
        return True

    def note_refused(self, priority: int) -> None:
        """Count a call that its level let in and its share did not; lower the level for many."""
        self._refused += 1
        if self._refused > max(self.share_per_s * _CHANCE_S, _LEAST):
            self.level = priority - 1
