"""Keeps every corp's sensitive words in this replica, so that sending asks nobody.

Looks each second which corps' words changed of late, and builds their matchers beside the event
loop. So a change holds here within two seconds, whatever becomes of NATS; while PostgreSQL is away
nothing is sent either.
"""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tieline.chassis.postgres import Pool
from tieline.chassis.repeating import repeating
from tieline.messaging.compliance.sensitive_words import CLEAN, MAX_WORDS, Screening, WordMatcher
from tieline.messaging.repositories.sensitive_words import SensitiveWordRepository

_INTERVAL_S = 1.0

# No transaction of a change is open for so long, so that none is overlooked.
_LATE = dt.timedelta(minutes=2)


class WordScreen:
    """The words of all corps that have some."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._matchers: dict[str, WordMatcher] = {}
        self._versions: dict[str, int] = {}
        self._refresh_all = True

    def screen(self, corp_id: str, text: str) -> Screening:
        """Return what the corp's words say of a text; asks nobody."""
        matcher = self._matchers.get(corp_id)
        return CLEAN if matcher is None else matcher.screen(text)

    @asynccontextmanager
    async def kept_current(self) -> AsyncIterator[None]:
        """Load all words, then follow their changes within the block."""
        await self.refresh()
        async with repeating("the look at sensitive words", self.refresh, interval_s=_INTERVAL_S):
            yield

    async def refresh(self) -> None:
        """Load the words that changed; after a fault all of them, since the look may be late."""
        within = None if self._refresh_all else _LATE
        self._refresh_all = True
        async with self._pool.acquire() as connection:
            versions = await SensitiveWordRepository(connection).list_versions(
                changed_within=within
            )
        for corp_id, version in versions.items():
            if self._versions.get(corp_id) != version:
                await self._load(corp_id, version)
        self._refresh_all = False

    async def _load(self, corp_id: str, version: int) -> None:
        async with self._pool.acquire() as connection:
            words = await SensitiveWordRepository(connection).list_words(
                corp_id, after="", limit=MAX_WORDS
            )
        if words:
            self._matchers[corp_id] = await asyncio.to_thread(WordMatcher, dict(words))
        else:
            self._matchers.pop(corp_id, None)
        # The words may be newer than the version; then they are loaded once more.
        self._versions[corp_id] = version
