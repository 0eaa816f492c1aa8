"""One open Subscribe call on this replica: a bounded queue between delivery and the client."""

import asyncio
import math
import secrets
from collections import deque
from collections.abc import Callable
from time import monotonic

from tieline.api.messaging.v1 import messaging_service_pb2
from tieline.chassis.errors import ResourceExhaustedError, ServiceError
from tieline.messaging.repositories.participants import UserKey

Update = messaging_service_pb2.SubscribeResponse

Delivery = Update | bytes
"""An update as it is sent, or encoded already: once for all who get it."""

# Updates are shared by all subscribers that get them; what a queue costs is its references.
MAX_QUEUED_UPDATES = 1024


class Subscriber:
    """What one client is still to be sent.

    A client that reads too slowly never makes the queue longer: the subscriber ends instead, what
    waited is dropped, and :meth:`next_update` raises.
    """

    __slots__ = (
        "_error",
        "_updates",
        "_waiting",
        "conversation_ids",
        "has_left",
        "id",
        "is_started",
        "on_leave",
        "postponed_joins",
        "push_time",
        "unsettled_ids",
        "user",
        "write_time",
    )

    def __init__(self, user: UserKey, on_leave: Callable[[], object] | None = None) -> None:
        self.user = user
        self.on_leave = on_leave
        """What is called once nothing is delivered to it any more."""

        self.id = secrets.token_urlsafe(9)
        """By which LookAt names it."""

        self.conversation_ids: set[str] = set()
        """Those whose feeds this subscriber holds."""

        self.is_started = False
        """Whether ``started`` is sent, and joins may be."""

        self.has_left = False
        """Whether its call is over, or nothing will be delivered to it any more."""

        self.postponed_joins: set[str] = set()
        """Conversations that were joined before ``started``."""

        self.unsettled_ids: set[str] = set()
        """Conversations that its client holds and was told nothing of, since the user may be coming
        into them: that they are joined, or left, comes later."""

        self.push_time = monotonic()
        """When something was last pushed, by ``time.monotonic()``."""

        self.write_time = math.inf
        """When its client was handed the update that it has not taken yet, by
        ``time.monotonic()``; infinite while it has taken all of them."""

        self._updates: deque[Delivery] = deque()
        self._error: ServiceError | None = None
        # Of the one that waits for an update. An event would keep a queue of waiters: 0.8 KB.
        self._waiting: asyncio.Future[None] | None = None

    @property
    def is_ended(self) -> bool:
        """Whether nothing will be delivered any more."""
        return self._error is not None

    def push(self, update: Delivery) -> None:
        """Queue an update, or end the subscriber when its queue is full."""
        if self._error is not None:
            return
        if len(self._updates) >= MAX_QUEUED_UPDATES:
            self.end_slow()
            return
        self._updates.append(update)
        self.push_time = monotonic()
        self._wake()

    def push_if_room(self, update: Update) -> None:
        """Queue an update that may be lost; what waits for a slow client has the room."""
        if self._error is None and len(self._updates) < MAX_QUEUED_UPDATES // 2:
            self._updates.append(update)
            self._wake()

    def end_slow(self) -> None:
        """End it because its client does not read."""
        self.end(
            ResourceExhaustedError(
                "SUBSCRIBER_TOO_SLOW",
                "too much waits for this client: subscribe again and catch up",
            )
        )

    def end(self, error: ServiceError) -> None:
        """Drop what waits and let :meth:`next_update` raise ``error``."""
        self._error = error
        self._updates.clear()
        self._wake()

    async def next_update(self) -> Delivery:
        """Return the oldest update, waiting for one; raise the error that ended the subscriber.

        For one caller at a time.
        """
        while not self._updates:
            if self._error is not None:
                raise self._error
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        return self._updates.popleft()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
