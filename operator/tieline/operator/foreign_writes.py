"""Notices when somebody else keeps setting the replicas that the operator sets. Pure.

A single hand on `kubectl scale` is put right in the next second and is no conflict; who does it
again and again means it, and two scalers that undo each other's work are worse than either alone.
To take the operator's own work for somebody else's would be worse still, in a surge: what was tried
counts as its own, whether the API answered or not, also when a watch shows it late.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

MAX_FOREIGN_WRITES = 3
"""So many within the window are a conflict; it is over when fewer are."""

WINDOW_S = 300.0

OWN_S = 30.0
"""For so long after a newer write a watch may show what was written before it."""

_WORDS = "somebody else keeps setting the replicas of"


@dataclass(slots=True)
class _Target:
    written: int | None = None
    """What was tried last."""

    try_times: dict[int, float] = field(default_factory=dict)
    """When each value of the last seconds was tried."""

    seen: int | None = None
    foreign_times: list[float] = field(default_factory=list)


class ForeignWrites:
    """Remembers, for each target, what was written here and what was seen."""

    def __init__(self) -> None:
        self._targets: dict[str, _Target] = {}

    def take_up(self, target: str, told: str, now: float) -> None:
        """Take over what the holder has found out, as its status ``told`` last.

        Nobody knows when the last foreign write was: the window begins anew.
        """
        known = self._targets.setdefault(target, _Target())
        known.foreign_times = [now] * MAX_FOREIGN_WRITES if told.startswith(_WORDS) else []
        # Hands are off: whatever else is set from now on is foreign.
        known.written = known.seen if known.foreign_times else None

    def note_attempt(self, target: str, replicas: int, now: float) -> None:
        """Remember that the operator is about to set the replicas: the answer may get lost."""
        known = self._targets.setdefault(target, _Target())
        known.written = replicas
        known.try_times = {
            value: time for value, time in known.try_times.items() if now - time < OWN_S
        }
        known.try_times[replicas] = now

    def note_seen(self, target: str, replicas: int, now: float) -> None:
        """Take in what the Deployment asks for; a change to what was not written is foreign."""
        known = self._targets.setdefault(target, _Target())
        _clamp(known, now)
        before, known.seen = known.seen, replicas
        # Until the operator has written once, whoever sets the replicas is in their right.
        if known.written is None or replicas in (before, known.written):
            return
        if now - known.try_times.get(replicas, float("-inf")) < OWN_S:
            return
        known.foreign_times = [*known.foreign_times, now][-MAX_FOREIGN_WRITES:]

    def forget_attempts(self) -> None:
        """Begin anew with what was written here, since another operator writes meanwhile.

        What was found out about foreign hands stays.
        """
        for known in self._targets.values():
            known.written = None
            known.try_times.clear()

    def conflict_of(self, target: str, now: float) -> str:
        """Return who is at odds with the operator over a target, in words; empty for nobody."""
        known = self._targets.get(target)
        if known is None:
            return ""
        _clamp(known, now)
        recent = sum(now - time < WINDOW_S for time in known.foreign_times)
        if recent < MAX_FOREIGN_WRITES:
            return ""
        return f"{_WORDS} {target}, now to {known.seen}"

    def keep_only(self, targets: Collection[str]) -> None:
        """Forget all other targets."""
        self._targets = {name: known for name, known in self._targets.items() if name in targets}


def _clamp(known: _Target, now: float) -> None:
    """A clock that was set back must not prolong what was before it."""
    known.foreign_times = [min(time, now) for time in known.foreign_times]
    known.try_times = {value: min(time, now) for value, time in known.try_times.items()}
