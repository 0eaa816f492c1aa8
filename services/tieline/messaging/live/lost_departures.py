"""Whoever is out of a conversation is let out of its feed, also where the note of it was lost.

Comparisons of numbers go by the conversations that a user is in. Of one that the user was taken
out of they say nothing, so what is delivered here is asked about by itself.
"""

import asyncio
from collections import deque
from time import monotonic

from tieline.chassis.postgres import Pool
from tieline.messaging.conversations.rules import Participant
from tieline.messaging.live.feeds import Feeds
from tieline.messaging.repositories.participants import ParticipantRepository
from tieline.messaging.sending.numbering import ConversationKey

# Of one query, some 10 ms; one large conversation may come on top of it.
_MAX_PAIRS = 1000

# Of one call once messages may have been lost for everybody: heartbeats wait for it.
_HURRIED_QUERIES = 20


class LostDepartures:
    """Asks about all that is delivered, in rounds of a bounded piece at a time."""

    def __init__(
        self, pool: Pool, feeds: Feeds, reads: asyncio.Semaphore, *, interval_s: float
    ) -> None:
        self._pool = pool
        self._feeds = feeds
        self._reads = reads
        self._interval_s = interval_s
        self._round_time = monotonic()
        self._waiting: deque[ConversationKey] = deque()
        self._is_hurried = False

    def begin(self) -> None:
        """Ask about everything from now on: NATS was away."""
        self._begin_round()
        self._is_hurried = True

    async def check(self) -> None:
        """Let out who is out of the next conversations; a new round begins after the interval."""
        if not self._waiting and monotonic() - self._round_time >= self._interval_s:
            self._begin_round()
        for _ in range(_HURRIED_QUERIES if self._is_hurried else 1):
            await self._check_some()
        self._is_hurried = self._is_hurried and bool(self._waiting)

    def _begin_round(self) -> None:
        self._round_time = monotonic()
        self._waiting = deque(self._feeds.list_keys())

    async def _check_some(self) -> None:
        count = 0
        pairs: list[tuple[ConversationKey, Participant]] = []
        while count < len(self._waiting) and len(pairs) < _MAX_PAIRS:
            key = self._waiting[count]
            pairs += [(key, participant) for participant in self._feeds.list_receivers(key)]
            count += 1
        if pairs:
            async with self._reads, self._pool.acquire() as connection:
                present = await ParticipantRepository(connection).filter_participants(pairs)
            for key, participant in pairs:
                if (key, participant) not in present:
                    self._feeds.let_out(key, participant)
        # What failed is asked about again.
        for _ in range(count):
            self._waiting.popleft()
