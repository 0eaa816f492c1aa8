"""Shares what the cluster still has room for, when it is less than the services want. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Want:
    """The replicas that one service wants."""

    name: str
    priority: int
    current: int
    wanted: int


def share_room(wants: Sequence[Want], room: int | None) -> dict[str, int]:
    """Return the replicas that each service gets; ``room`` is how many more pods fit, None if any.

    Larger priorities are served first; within one, each gets one more in turn, those with the
    fewest first. What others give up counts when it is free, not before.
    """
    granted = {want.name: min(want.wanted, max(want.current, 0)) for want in wants}
    if room is None:
        return {want.name: want.wanted for want in wants}
    left = max(0, room)
    for priority in sorted({want.priority for want in wants}, reverse=True):
        level = [want for want in wants if want.priority == priority]
        left = _fill(level, granted, left)
    return granted


def _fill(level: Sequence[Want], granted: dict[str, int], left: int) -> int:
    while left > 0:
        open_wants = [want for want in level if granted[want.name] < want.wanted]
        if not open_wants:
            break
        poorest = min(open_wants, key=lambda want: (granted[want.name], want.name))
        granted[poorest.name] += 1
        left -= 1
    return left
