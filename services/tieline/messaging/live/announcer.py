"""Tells all replicas live what was committed: each message once, each join once.

Nothing is told before its commit. What is lost on the way, because NATS is away or this process
ends, is found by the subscribers' own comparison with the database.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextvars import ContextVar
from types import TracebackType
from typing import Self

import nats.errors

from tieline.chassis.broker import Broker
from tieline.chassis.postgres import Connection, Pool, wake_after_commit

# Wakes of this name are for the announcer, those of the schema's name for the outbox relay.
_WAKE = "messaging.live"

# About a second of messages at full speed. What does not fit is told by nobody and fetched.
_MAX_WAITING = 10_000

logger = logging.getLogger(__name__)

Announcement = tuple[str, bytes]
"""Subject and payload."""

_uncommitted: ContextVar[tuple[Connection, list[Announcement]] | None] = ContextVar(
    "tieline_announcements", default=None
)


class Announcer:
    """Publishes on core NATS, in the order of the commits; an async context manager."""

    def __init__(self, pool: Pool, broker: Broker) -> None:
        self._pool = pool
        self._broker = broker
        self._waiting: deque[Announcement] = deque()
        self._has_work = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._pool.listen_for_wakes(_WAKE, self._take_committed)
        self._task = asyncio.create_task(self._run(), name="announcer")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._task is not None, "entered before it is left"
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._publish_waiting()

    def announce_after_commit(
        self, connection: Connection, announcements: Sequence[Announcement]
    ) -> None:
        """Publish these, in the order of the calls, once the connection's transaction is committed.

        Called in the task that commits it.
        """
        uncommitted = _uncommitted.get()
        if uncommitted is None or uncommitted[0] is not connection:
            # Replaces what a transaction that failed in this task has left.
            _uncommitted.set((connection, list(announcements)))
        else:
            uncommitted[1].extend(announcements)
        wake_after_commit(_WAKE)

    def _take_committed(self) -> None:
        """Runs in the committing task, whose context has what it announced."""
        uncommitted = _uncommitted.get()
        _uncommitted.set(None)
        announcements = [] if uncommitted is None else uncommitted[1]
        room = _MAX_WAITING - len(self._waiting)
        self._waiting.extend(announcements[:room])
        self._has_work.set()

    async def _run(self) -> None:
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            await self._publish_waiting()

    async def _publish_waiting(self) -> None:
        while self._waiting:
            subject, payload = self._waiting.popleft()
            if not self._broker.is_connected:
                continue
            try:
                await self._broker.publish(subject, payload)
            except (OSError, nats.errors.Error) as error:
                logger.info("an announcement was lost: %s", error)
