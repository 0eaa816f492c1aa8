"""Who calls a replica, as admission knows them: a place within the class, and a corp.

Kept by a hash of the ``authorization`` that a call carries, so that only the first call of a token
is looked into, and tokens take no memory here. It is Python's own, whose key is drawn at the start
of the process: nobody can make up a token that has another one's hash.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from random import getrandbits

from tieline.chassis.admission.corp_calls import CorpCalls
from tieline.chassis.admission.headers import read_claimed_user
from tieline.chassis.admission.priorities import user_level_of
from tieline.chassis.principals import Principal

# 200 bytes each: 10 MB. Whoever is forgotten is looked up again.
_MAX_CALLERS = 50_000

# Anybody can make these up: in a table of their own they take the place of nobody who is verified.
_MAX_UNVERIFIED = 5_000

_MAX_CORPS = 10_000

# Users' places change at the full hour; within a minute of it is soon enough.
_EPOCH_CHECK_S = 60.0


@dataclass(frozen=True, slots=True)
class KnownCaller:
    """What is remembered of a caller for an hour."""

    user_level: int
    corp: CorpCalls
    is_verified: bool = True
    """False while the token is only read and not verified: the corp is not believed yet."""


class KnownCallers:
    """The callers and corps of one replica."""

    def __init__(self, key: bytes, wall_clock: Callable[[], float]) -> None:
        self.no_corp = CorpCalls("")
        """Stands for callers of no corp, who are no corp's flood."""

        self._key = key
        self._wall_clock = wall_clock
        self._verified: dict[int, KnownCaller] = {}
        self._unverified: dict[int, KnownCaller] = {}
        self._corps: dict[str, CorpCalls] = {}
        self._forget_at = wall_clock() + _EPOCH_CHECK_S

    def find(self, authorization: object) -> KnownCaller | None:
        """Return what is remembered of the sender of this ``authorization``."""
        key = hash(authorization)
        return self._verified.get(key) or self._unverified.get(key)

    def remember(self, authorization: str, principal: Principal) -> KnownCaller:
        """Remember a caller whose token has been verified; return what is remembered."""
        if len(self._verified) >= _MAX_CALLERS:
            self._verified.clear()
        user = f"{principal.kind}/{principal.corp_id}/{principal.id}"
        caller = KnownCaller(self._level_of(user), self.find_corp(principal.corp_id))
        self._verified[hash(authorization)] = caller
        return caller

    def meet(self, authorization: object) -> KnownCaller:
        """Return what stands for a caller whose token has not been verified.

        The place of the user whom the token claims: a forged one gets in no further than to its
        verification. Whoever sends none has a new place in each call.
        """
        user = read_claimed_user(authorization)
        if user is None:
            return KnownCaller(getrandbits(7), self.no_corp, False)
        if len(self._unverified) >= _MAX_UNVERIFIED:
            self._unverified.clear()
        caller = KnownCaller(self._level_of(user), self.no_corp, is_verified=False)
        self._unverified[hash(authorization)] = caller
        return caller

    def find_corp(self, corp_id: str) -> CorpCalls:
        """Return what counts this corp's calls now; an empty id stands for no corp.

        For calls that last: what a call began with may have been forgotten since.
        """
        if not corp_id:
            return self.no_corp
        corp = self._corps.get(corp_id)
        if corp is None:
            if len(self._corps) >= _MAX_CORPS:
                # Callers still point to the old ones, and are asked anew with the next window.
                self._corps.clear()
                self._verified.clear()
            corp = self._corps[corp_id] = CorpCalls(corp_id)
        return corp

    def corps(self) -> Collection[CorpCalls]:
        """Return the corps that have called."""
        return self._corps.values()

    def forget_old(self) -> None:
        """Look everybody up anew once in a while: users' places change."""
        now = self._wall_clock()
        if now >= self._forget_at:
            self._forget_at = now + _EPOCH_CHECK_S
            self._verified.clear()
            self._unverified.clear()

    def _level_of(self, user: str) -> int:
        return user_level_of(user, key=self._key, now=self._wall_clock())
