"""Who calls a replica, as admission knows them: a place within the class, and a corp.

Kept by the ``authorization`` that a call carries, so that only the first call of a token is looked
into.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from random import getrandbits

from tieline.chassis.admission.corp_calls import CorpCalls
from tieline.chassis.admission.headers import read_claimed_user
from tieline.chassis.admission.priorities import user_level_of
from tieline.chassis.principals import Principal

# 100 bytes each. Whoever is forgotten is looked up again.
_MAX_CALLERS = 50_000
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
        self._callers: dict[str, KnownCaller] = {}
        self._corps: dict[str, CorpCalls] = {}
        self._forget_at = wall_clock() + _EPOCH_CHECK_S

    def find(self, authorization: object) -> KnownCaller | None:
        """Return what is remembered of the sender of this ``authorization``."""
        return self._callers.get(authorization)  # type: ignore[call-overload, no-any-return]

    def remember(self, authorization: str, principal: Principal) -> None:
        """Remember a caller whose token has been verified."""
        user = f"{principal.kind}/{principal.corp_id}/{principal.id}"
        corp = self.no_corp if not principal.corp_id else self._find_corp(principal.corp_id)
        self._remember(authorization, user, corp, is_verified=True)

    def meet(self, authorization: object) -> KnownCaller:
        """Return what stands for a caller whose token has not been verified.

        The place of the user whom the token claims: a forged one gets in no further than to its
        verification. Whoever sends none has a new place in each call.
        """
        user = read_claimed_user(authorization)
        if user is None:
            return KnownCaller(getrandbits(7), self.no_corp, False)
        assert isinstance(authorization, str), "a user was read from it"
        return self._remember(authorization, user, self.no_corp, is_verified=False)

    def corps(self) -> Collection[CorpCalls]:
        """Return the corps that have called."""
        return self._corps.values()

    def forget_old(self) -> None:
        """Look everybody up anew once in a while: users' places change."""
        now = self._wall_clock()
        if now >= self._forget_at:
            self._forget_at = now + _EPOCH_CHECK_S
            self._callers.clear()

    def _remember(
        self, authorization: str, user: str, corp: CorpCalls, *, is_verified: bool
    ) -> KnownCaller:
        if len(self._callers) >= _MAX_CALLERS:
            self._callers.clear()
        level = user_level_of(user, key=self._key, now=self._wall_clock())
        caller = self._callers[authorization] = KnownCaller(level, corp, is_verified)
        return caller

    def _find_corp(self, corp_id: str) -> CorpCalls:
        corp = self._corps.get(corp_id)
        if corp is None:
            if len(self._corps) >= _MAX_CORPS:
                # Callers still point to the old ones, and are asked anew with the next window.
                self._corps.clear()
                self._callers.clear()
            corp = self._corps[corp_id] = CorpCalls(corp_id)
        return corp
