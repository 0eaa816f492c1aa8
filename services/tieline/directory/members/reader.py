"""Reads members together that were asked for one by one, and those again that have changed.

Requests of a corp that arrive while a query of that corp runs are answered by its next query: who
asks alone is answered at once, and a busy corp pays for a query once per batch. A query begins
after each request that it answers and tells at what number the corp is and who has changed, so that
what is kept of the others (``cache``) is what the database has: nobody reads what was true
before.
"""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

from tieline.chassis.postgres import Connection, Pool
from tieline.directory.members.cache import CorpNumbers, KeptMember, MemberCache
from tieline.directory.members.messages import to_kept
from tieline.directory.repositories import members

# Of a corp that is gone: without rules nobody would be asked who may see what is left of it.
_GONE = CorpNumbers(last_change_number=0, visibility_number=1, feed_epoch="")

# About 3 ms of PostgreSQL's time: what arrives meanwhile waits no longer than that.
_MAX_BATCH = 200

# Borrowing a connection and giving it back costs as much as a query. A busy corp keeps one for some
# queries, and for moments in between, and then lets others have it.
_BATCHES_A_LOAN = 64
_LINGER_S = 0.005

# From one query of a corp to its next, where somebody asked while the first one ran: it is answered
# so soon that the next would be for one or two.
SPACING_S = 0.005

# Corps that may keep a connection while nobody asks, of a pool of ten.
_MAX_LINGERING = 2


@dataclass(slots=True, eq=False)
class _Waiting:
    user_id: str
    answer: asyncio.Future[tuple[KeptMember | None, CorpNumbers]]


class MemberReader:
    """Finds members by id; used by all calls of a process."""

    def __init__(self, pool: Pool, spacing_s: float = SPACING_S) -> None:
        self._pool = pool
        self._spacing_s = spacing_s
        self._cache = MemberCache()
        # By corp; a corp is in it while a task reads for it.
        self._waiting: dict[str, list[_Waiting]] = {}
        # Of tasks that keep a connection: done when somebody asks, or with False when nobody does.
        self._arrivals: dict[str, asyncio.Future[bool]] = {}
        # The loop holds its tasks weakly.
        self._tasks: set[asyncio.Task[None]] = set()

    async def find(self, corp_id: str, user_id: str) -> tuple[KeptMember | None, CorpNumbers]:
        """Return the member as it is at some moment between now and the answer, or None.

        And at what the corp was then, or shortly before, but not before now.
        """
        waiting = _Waiting(user_id, asyncio.get_running_loop().create_future())
        queue = self._waiting.get(corp_id)
        if queue is None:
            self._waiting[corp_id] = [waiting]
            task = asyncio.create_task(self._read(corp_id))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            queue.append(waiting)
            arrival = self._arrivals.get(corp_id)
            if arrival is not None:
                _settle(arrival, value=True)
        return await waiting.answer

    async def _read(self, corp_id: str) -> None:
        """Read for the corp until nobody waits."""
        while self._waiting[corp_id]:
            batch: list[_Waiting] = []
            try:
                async with self._pool.acquire(spares_reset=True) as connection:
                    asked_at = -math.inf
                    for _ in range(_BATCHES_A_LOAN):
                        if not await self._find_waiting(corp_id, asked_at):
                            break
                        asked_at = monotonic()
                        batch = self._take(corp_id)
                        await self._answer(connection, corp_id, batch)
            except Exception as error:
                for each in batch or self._take(corp_id):
                    if not each.answer.done():
                        each.answer.set_exception(error)
        del self._waiting[corp_id]

    async def _find_waiting(self, corp_id: str, asked_at: float) -> bool:
        """Return when the next query is due; tell whether somebody waits for it."""
        if not self._waiting[corp_id]:
            return await self._linger(corp_id)
        early_s = asked_at + self._spacing_s - monotonic()
        if early_s > 0:
            await asyncio.sleep(early_s)
        return True

    async def _linger(self, corp_id: str) -> bool:
        """Wait a moment for somebody to ask; tell whether that came about."""
        if len(self._arrivals) >= _MAX_LINGERING:
            return False
        loop = asyncio.get_running_loop()
        arrival: asyncio.Future[bool] = loop.create_future()
        self._arrivals[corp_id] = arrival
        ending = loop.call_later(_LINGER_S, lambda: _settle(arrival, value=False))
        try:
            return await arrival
        finally:
            ending.cancel()
            del self._arrivals[corp_id]

    def _take(self, corp_id: str) -> list[_Waiting]:
        """Return whom the next query answers; who has given up is not among them."""
        queue = self._waiting[corp_id]
        self._waiting[corp_id] = queue[_MAX_BATCH:]
        return [each for each in queue[:_MAX_BATCH] if not each.answer.done()]

    async def _answer(
        self, connection: Connection, corp_id: str, batch: Sequence[_Waiting]
    ) -> None:
        state = await members.find_corp_state(connection, corp_id, self._cache.number_of(corp_id))
        if state is None:
            self._cache.drop(corp_id)
        else:
            self._cache.advance(corp_id, state.numbers, state.changed, is_whole=state.is_whole)
        found: dict[str, KeptMember] = {}
        missing: set[str] = set()
        for user_id in {each.user_id for each in batch}:
            kept = self._cache.find(corp_id, user_id)
            if kept is None:
                missing.add(user_id)
            else:
                found[user_id] = kept
        if missing:
            read = await members.find_members(connection, corp_id, missing)
            for user_id, member in read.items():
                found[user_id] = to_kept(member)
                self._cache.put(corp_id, found[user_id])
        numbers = _GONE if state is None else state.numbers
        for each in batch:
            # Some may have given up meanwhile.
            if not each.answer.done():
                each.answer.set_result((found.get(each.user_id), numbers))


def _settle(arrival: asyncio.Future[bool], *, value: bool) -> None:
    if not arrival.done():
        arrival.set_result(value)
