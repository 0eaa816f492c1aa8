"""Who waits for changes on this replica, and how they hear of them.

Every change comes with an event of the directory's own, which the relay publishes after the commit;
each replica listens to them and wakes those who wait for that corp. An event may be lost on the
way, so everybody also looks when it is time for a heartbeat.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from time import monotonic
from types import TracebackType
from typing import Self

import nats.errors
from nats.aio.msg import Msg

from tieline.chassis.broker import Broker
from tieline.chassis.errors import ResourceExhaustedError
from tieline.chassis.message_headers import CORP_ID_HEADER
from tieline.directory.changes.feed import ChangesFeed, FeedPage
from tieline.directory.changes.rules import Cursor
from tieline.directory.repositories import SCHEMA

HEARTBEAT_INTERVAL_S = 15.0

# Of one caller on this replica: more than a program has use for, and no way to fill it alone.
MAX_WATCHES = 20

# The largest page that ListChanges gives: some 300 KiB.
WATCH_PAGE_SIZE = 1000

OWN_EVENTS = f"tieline.{SCHEMA}.v1.*"

Watcher = tuple[str, str]
"""Corp id, and who watches in it."""

logger = logging.getLogger(__name__)


class ChangesHub:
    """All open WatchChanges calls of this replica; an async context manager."""

    def __init__(
        self,
        broker: Broker,
        feed: ChangesFeed,
        *,
        heartbeat_interval_s: float = HEARTBEAT_INTERVAL_S,
    ) -> None:
        self._broker = broker
        self._feed = feed
        self._heartbeat_interval_s = heartbeat_interval_s
        self._wakes: dict[str, set[asyncio.Event]] = {}
        self._counts: Counter[Watcher] = Counter()

    async def __aenter__(self) -> Self:
        self._subscription = await self._broker.subscribe(OWN_EVENTS, cb=self._on_event)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._subscription.unsubscribe()
        except nats.errors.Error:
            logger.debug("the broker's connection was closed before the hub")

    async def watch(
        self, watcher: Watcher, cursor: Cursor | None
    ) -> AsyncGenerator[FeedPage, None]:
        """Yield all pages behind the cursor, then each further one; empty ones as heartbeats.

        The first one comes at once, whatever it has. The next page is read once the last one is
        taken: a slow reader costs no memory.
        """
        corp_id, _ = watcher
        heartbeat_time = monotonic()
        with self._entered(watcher) as wake:
            while True:
                # Before the read: what is committed during it wakes again.
                wake.clear()
                page = await self._feed.read(corp_id, cursor, WATCH_PAGE_SIZE)
                cursor = page.cursor
                # Many events are of nothing that is in the feed.
                if page.changes or monotonic() >= heartbeat_time:
                    yield page
                    heartbeat_time = monotonic() + self._heartbeat_interval_s
                if not page.has_more:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(heartbeat_time - monotonic()):
                            await wake.wait()

    def wake(self, corp_id: str) -> None:
        """Have everybody who watches the corp look for more."""
        for wake in self._wakes.get(corp_id, ()):
            wake.set()

    async def _on_event(self, message: Msg) -> None:
        self.wake((message.headers or {}).get(CORP_ID_HEADER, ""))

    @contextlib.contextmanager
    def _entered(self, watcher: Watcher) -> Iterator[asyncio.Event]:
        if self._counts[watcher] >= MAX_WATCHES:
            raise ResourceExhaustedError(
                "TOO_MANY_WATCHES", f"at most {MAX_WATCHES} streams of one caller may be open"
            )
        corp_id, _ = watcher
        wake = asyncio.Event()
        self._counts[watcher] += 1
        self._wakes.setdefault(corp_id, set()).add(wake)
        try:
            yield wake
        finally:
            self._counts[watcher] -= 1
            if not self._counts[watcher]:
                del self._counts[watcher]
            self._wakes[corp_id].discard(wake)
            if not self._wakes[corp_id]:
                del self._wakes[corp_id]
