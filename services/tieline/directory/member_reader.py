"""Reads members together that were asked for one by one.

Requests of a corp that arrive while a query of that corp runs are answered by its next query. No
timer: an idle service asks at once, a busy one pays for a query once per batch. Nothing is kept: a
query begins after each request that it answers, so that nobody reads what was true before.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from tieline.chassis.postgres import Connection, Pool
from tieline.directory.members import Member
from tieline.directory.repositories import members

# About 3 ms of PostgreSQL's time: what arrives meanwhile waits no longer than that.
_MAX_BATCH = 200

# Giving a connection back costs as much as a query. A busy corp keeps one for some queries and then
# lets others have it.
_BATCHES_A_LOAN = 16


@dataclass(slots=True, eq=False)
class _Waiting:
    user_id: str
    answer: asyncio.Future[tuple[Member | None, bool]]


class MemberReader:
    """Finds members by id; used by all calls of a process."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        # By corp; a corp is in it while a task reads for it.
        self._waiting: dict[str, list[_Waiting]] = {}
        # The loop holds its tasks weakly.
        self._tasks: set[asyncio.Task[None]] = set()

    async def find(self, corp_id: str, user_id: str) -> tuple[Member | None, bool]:
        """Return the member as it is at some moment between now and the answer, or None.

        And whether the corp had no visibility rules at that moment.
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
        return await waiting.answer

    async def _read(self, corp_id: str) -> None:
        """Read for the corp until nobody waits."""
        while self._waiting[corp_id]:
            batch: list[_Waiting] = []
            try:
                async with self._pool.acquire() as connection:
                    for _ in range(_BATCHES_A_LOAN):
                        batch = self._take(corp_id)
                        if not batch:
                            break
                        await _answer(connection, corp_id, batch)
            except Exception as error:
                for each in batch or self._take(corp_id):
                    if not each.answer.done():
                        each.answer.set_exception(error)
        del self._waiting[corp_id]

    def _take(self, corp_id: str) -> list[_Waiting]:
        """Return whom the next query answers; who has given up is not among them."""
        queue = self._waiting[corp_id]
        self._waiting[corp_id] = queue[_MAX_BATCH:]
        return [each for each in queue[:_MAX_BATCH] if not each.answer.done()]


async def _answer(connection: Connection, corp_id: str, batch: Sequence[_Waiting]) -> None:
    found, is_open = await members.find_members_openly(
        connection, corp_id, {each.user_id for each in batch}
    )
    for each in batch:
        # Some may have given up meanwhile.
        if not each.answer.done():
            each.answer.set_result((found.get(each.user_id), is_open))
