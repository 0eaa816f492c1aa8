"""Which access tokens were taken back before their time. Pure: the clock is passed in.

An entry voids the tokens of a session, a party or a whole corp that were issued up to a time, and
is needed until the last of those has expired: two hours later the list has forgotten it. A check
costs one look into a dictionary for everybody in whose corp nothing was revoked.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from tieline.chassis.principals import Principal, PrincipalKind

MAX_TOKEN_LIFETIME_S = 2 * 60 * 60
"""No access token is good for longer, and so nothing is older that a replica must know. An app's
token of the open API lives as long."""

# Clocks of two machines kept by NTP differ by less.
_CLOCK_SKEW_S = 30

# About 300 bytes each: 30 MB at most. Past it, the corp with the most entries gets one for all of
# its tokens, which costs everybody there one refresh.
MAX_ENTRIES = 100_000

# Looking through a full list takes 10 ms.
_SWEEP_INTERVAL_S = 60.0

_NEVER = -math.inf

Holder: TypeAlias = str | tuple[PrincipalKind, str]
"""A session, a link, or a party within its corp."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """Tokens that are void from now on."""

    corp_id: str
    """Empty for those of customers and platform administrators."""

    holder: Holder | None
    """None for everybody in the corp."""

    issue_time_limit: float
    """Second since the epoch: tokens issued then or before are void."""


@dataclass(slots=True)
class _Corp:
    everybody: float = _NEVER
    holders: dict[Holder, float] = field(default_factory=dict)

    def covers(self, principal: Principal, kind: PrincipalKind) -> bool:
        issue_time = principal.issue_time
        return (
            issue_time <= self.everybody
            or issue_time <= self.holders.get(principal.session_id, _NEVER)
            or issue_time <= self.holders.get(principal.link_id, _NEVER)
            or issue_time <= self.holders.get((kind, principal.id), _NEVER)
        )


class RevocationList:
    """The revocations of the last two hours."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._corps: dict[str, _Corp] = {}
        self._entries = 0
        self._swept_at = clock()
        self._listeners: list[Callable[[], None]] = []

    def __len__(self) -> int:
        """Return how many sessions and parties are named; whole corps don't count."""
        return self._entries

    def add(self, revocation: Revocation) -> None:
        """Void the tokens. One that is known or long over changes nothing."""
        now = self._clock()
        if now - self._swept_at >= _SWEEP_INTERVAL_S:
            self._sweep(now)
        if _is_over(revocation.issue_time_limit, now):
            return
        corp = self._corps.setdefault(revocation.corp_id, _Corp())
        holder, limit = revocation.holder, revocation.issue_time_limit
        if holder is None:
            corp.everybody = max(corp.everybody, limit)
        else:
            self._entries += holder not in corp.holders
            corp.holders[holder] = max(corp.holders.get(holder, _NEVER), limit)
        if self._entries > MAX_ENTRIES:
            self._widen()
        for listener in self._listeners:
            listener()

    def is_revoked(self, principal: Principal) -> bool:
        """Tell whether the token that named the principal is void."""
        corp = self._corps.get(principal.corp_id)
        if corp is not None and corp.covers(principal, principal.kind):
            return True
        # What shuts an app out at home shuts it out where it is let in.
        home = self._corps.get(principal.home_corp_id) if principal.home_corp_id else None
        return home is not None and home.covers(principal, PrincipalKind.APP)

    def listen(self, listener: Callable[[], None]) -> None:
        """Have the listener called after each addition."""
        self._listeners.append(listener)

    def _widen(self) -> None:
        """Make room: one entry for the whole corp voids more than was asked for, never less."""
        corp = max(self._corps.values(), key=lambda corp: len(corp.holders))
        corp.everybody = max(corp.everybody, *corp.holders.values())
        self._entries -= len(corp.holders)
        corp.holders.clear()

    def _sweep(self, now: float) -> None:
        self._swept_at = now
        for corp_id, corp in list(self._corps.items()):
            corp.holders = {
                holder: limit for holder, limit in corp.holders.items() if not _is_over(limit, now)
            }
            if not corp.holders and _is_over(corp.everybody, now):
                del self._corps[corp_id]
        self._entries = sum(len(corp.holders) for corp in self._corps.values())


def _is_over(issue_time_limit: float, now: float) -> bool:
    return issue_time_limit + MAX_TOKEN_LIFETIME_S + _CLOCK_SKEW_S < now
