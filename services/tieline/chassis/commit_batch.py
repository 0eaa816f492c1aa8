"""Commits together what waited together: many small requests in one transaction.

Nothing waits for a timer. What arrives while a lane commits goes into that lane's next
transaction; what arrives while it is idle is committed at once. So an idle service answers as fast
as without batches, and a busy one pays for a commit once per batch instead of once per request.

Each item has its own outcome. When a transaction fails as a whole, its items are committed again
one by one, so that the item at fault alone gets the error. A lost connection fails them all: the
outcome is unknown, and what is sent again must be recognised by its key. A concurrent change fails
them all too: one by one, each could wait for the same lock.
"""

import asyncio
import logging
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from typing import Generic, Self, TypeVar

from tieline.chassis.calls import find_call
from tieline.chassis.errors import (
    AbortedError,
    DeadlineExceededError,
    ServiceError,
    UnavailableError,
)
from tieline.chassis.health import RETRY_AFTER_S
from tieline.chassis.postgres import Connection, Pool, statements, transaction

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

Commit = Callable[[Connection, Sequence[Item]], Awaitable[Sequence[Outcome | ServiceError]]]
"""Writes the items in the order given and returns one outcome for each. An item whose outcome is
a ServiceError must have written nothing."""

Attempt = Callable[[Connection, Sequence[Item]], Awaitable[Sequence[Outcome | ServiceError] | None]]
"""Does the same outside of a transaction, with all that it writes in one statement, its last; or
writes nothing and returns None."""


@dataclass(slots=True, eq=False)
class _Waiting(Generic[Item, Outcome]):
    item: Item
    outcome: asyncio.Future[Outcome]
    deadline: float | None


class CommitBatcher(Generic[Item, Outcome]):
    """Commits items in batches; an async context manager that drains what waits when left.

    Items of one ``lane_of`` key are committed in the order of their submission; those of different
    lanes at the same time, each lane on a connection of its own. The commit function runs outside
    of any call: what it needs of the caller must be in the item, as what its events carry on of the
    caller's call (``causes``).

    With an ``attempt`` it is tried first, and the commit function only does what that leaves: a
    transaction costs two exchanges with the database more than its statements.
    """

    def __init__(
        self,
        pool: Pool,
        commit: Commit[Item, Outcome],
        *,
        attempt: Attempt[Item, Outcome] | None = None,
        max_batch: int = 256,
        lanes: int = 1,
        lane_of: Callable[[Item], str] | None = None,
    ) -> None:
        self._lane_of = lane_of
        self._lanes = [_Lane(pool, commit, attempt, max_batch) for _ in range(lanes)]
        self._is_closed = False

    async def __aenter__(self) -> Self:
        for number, lane in enumerate(self._lanes):
            lane.start(f"commit-lane-{number}")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_closed = True
        await asyncio.gather(*(lane.drain() for lane in self._lanes))

    async def submit(self, item: Item) -> Outcome:
        """Return the item's outcome once it is committed, or raise the item's own error.

        A caller that is cancelled, or whose deadline passes, before the item's transaction begins
        leaves nothing behind; after that the item is committed without anybody hearing of it.
        """
        return await self.begin(item)

    def begin(self, item: Item) -> "asyncio.Future[Outcome]":
        """Hand an item in; the future gets what :meth:`submit` returns or raises.

        For who hands in many: a future costs less than a task. Cancelling it is what cancelling the
        caller of ``submit`` is.
        """
        if self._is_closed:
            raise UnavailableError(
                "SHUTTING_DOWN", "this replica is shutting down", retry_after_s=RETRY_AFTER_S
            )
        call = find_call()
        waiting: _Waiting[Item, Outcome] = _Waiting(
            item,
            asyncio.get_running_loop().create_future(),
            None if call is None else call.deadline,
        )
        self._lane(item).put(waiting)
        return waiting.outcome

    def _lane(self, item: Item) -> "_Lane[Item, Outcome]":
        if self._lane_of is None or len(self._lanes) == 1:
            return self._lanes[0]
        return self._lanes[zlib.crc32(self._lane_of(item).encode()) % len(self._lanes)]


class _Lane(Generic[Item, Outcome]):
    """One queue and the task that commits it, batch after batch."""

    def __init__(
        self,
        pool: Pool,
        commit: Commit[Item, Outcome],
        attempt: Attempt[Item, Outcome] | None,
        max_batch: int,
    ) -> None:
        self._pool = pool
        self._commit = commit
        self._attempt = attempt
        self._max_batch = max_batch
        self._waiting: deque[_Waiting[Item, Outcome]] = deque()
        self._has_work = asyncio.Event()
        self._is_draining = False
        self._task: asyncio.Task[None] | None = None

    def start(self, name: str) -> None:
        self._task = asyncio.create_task(self._run(), name=name)

    def put(self, waiting: _Waiting[Item, Outcome]) -> None:
        self._waiting.append(waiting)
        self._has_work.set()

    async def drain(self) -> None:
        self._is_draining = True
        self._has_work.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while self._waiting or not self._is_draining:
            if not self._waiting:
                self._has_work.clear()
                await self._has_work.wait()
            batch = self._take_batch()
            if batch:
                await self._settle(batch)

    def _take_batch(self) -> list[_Waiting[Item, Outcome]]:
        batch: list[_Waiting[Item, Outcome]] = []
        while self._waiting and len(batch) < self._max_batch:
            waiting = self._waiting.popleft()
            if _is_wanted(waiting):
                batch.append(waiting)
        return batch

    async def _settle(self, batch: list[_Waiting[Item, Outcome]]) -> None:
        try:
            outcomes = await self._commit_together([waiting.item for waiting in batch])
        except UnavailableError as error:
            _fail(batch, error)
        except Exception as error:
            if len(batch) == 1 or _is_concurrent_change(error):
                _fail(batch, error)
            else:
                logger.info("a batch of %d failed and is committed one by one", len(batch))
                await self._settle_one_by_one(batch)
        else:
            for waiting, outcome in zip(batch, outcomes, strict=True):
                if waiting.outcome.done():
                    continue
                if isinstance(outcome, ServiceError):
                    waiting.outcome.set_exception(outcome)
                else:
                    waiting.outcome.set_result(outcome)

    async def _settle_one_by_one(self, batch: list[_Waiting[Item, Outcome]]) -> None:
        for waiting in batch:
            if _is_wanted(waiting):
                await self._settle([waiting])

    async def _commit_together(self, items: Sequence[Item]) -> Sequence[Outcome | ServiceError]:
        outcomes = None
        if self._attempt is not None:
            async with statements(self._pool, spares_reset=True) as connection:
                outcomes = await self._attempt(connection, items)
        if outcomes is None:
            async with transaction(self._pool, spares_reset=True) as connection:
                outcomes = await self._commit(connection, items)
        assert len(outcomes) == len(items), "there is one outcome per item"
        return outcomes


def _is_wanted(waiting: _Waiting[Item, Outcome]) -> bool:
    """Tell whether anybody waits for the outcome; who is past the deadline hears of it."""
    if waiting.outcome.done():
        return False  # its caller was cancelled
    if waiting.deadline is not None and waiting.deadline <= monotonic():
        waiting.outcome.set_exception(
            DeadlineExceededError(
                "DEADLINE_PASSED", "the deadline had passed before the work began"
            )
        )
        return False
    return True


def _is_concurrent_change(error: Exception) -> bool:
    return isinstance(error, AbortedError) and error.reason == "CONCURRENT_CHANGE"


def _fail(batch: Sequence[_Waiting[Item, Outcome]], error: Exception) -> None:
    for waiting in batch:
        if not waiting.outcome.done():
            waiting.outcome.set_exception(error)
