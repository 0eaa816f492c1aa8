"""Who waits for changes on this replica, and how they hear of them.

Every change comes with an event of the directory's own, which the relay publishes after the
commit; each replica listens to them and wakes those who wait for that corp. An event may be lost on
the way, so every 15 s the last numbers of all watched corps are compared with the database, in one
query.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from time import monotonic
from types import TracebackType
from typing import Self

import nats.errors
from nats.aio.msg import Msg

from tieline.chassis.broker import Broker
from tieline.chassis.errors import ResourceExhaustedError, ServiceError
from tieline.chassis.message_headers import CORP_ID_HEADER
from tieline.chassis.postgres import Pool
from tieline.directory.changes import Cursor
from tieline.directory.changes_feed import ChangesFeed, FeedPage
from tieline.directory.repositories import SCHEMA, changes

HEARTBEAT_INTERVAL_S = 15.0

# Of one caller on this replica: more than a program has use for, and no way to fill it alone.
MAX_WATCHES = 20

# The largest page that ListChanges gives: some 300 KiB.
WATCH_PAGE_SIZE = 1000

OWN_EVENTS = f"tieline.{SCHEMA}.v1.*"

Watcher = tuple[str, str]
"""Corp id, and who watches in it."""

logger = logging.getLogger(__name__)


class _Watch:
    """One open stream: how far it has read, and whether there may be more."""

    def __init__(self) -> None:
        self.change_number = 0
        self.is_woken = asyncio.Event()


class ChangesHub:
    """All open WatchChanges calls of this replica; an async context manager."""

    def __init__(
        self,
        pool: Pool,
        broker: Broker,
        feed: ChangesFeed,
        *,
        heartbeat_interval_s: float = HEARTBEAT_INTERVAL_S,
    ) -> None:
        self._pool = pool
        self._broker = broker
        self._feed = feed
        self._heartbeat_interval_s = heartbeat_interval_s
        self._watches: dict[str, set[_Watch]] = {}
        self._counts: Counter[Watcher] = Counter()

    async def __aenter__(self) -> Self:
        self._subscription = await self._broker.subscribe(OWN_EVENTS, cb=self._on_event)
        self._task = asyncio.create_task(self._compare_forever(), name="changes-comparison")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        try:
            await self._subscription.unsubscribe()
        except nats.errors.Error:
            logger.debug("the broker's connection was closed before the hub")

    async def watch(
        self, watcher: Watcher, cursor: Cursor | None
    ) -> AsyncGenerator[FeedPage, None]:
        """Yield all pages behind the cursor, then each further one; empty ones as heartbeats.

        The next page is read once the last one is taken: a slow reader costs no memory.
        """
        corp_id, _ = watcher
        with self._entered(watcher) as watch:
            while True:
                # Before the read: what is committed during it wakes again.
                watch.is_woken.clear()
                page = await self._feed.read(corp_id, cursor, WATCH_PAGE_SIZE)
                cursor = page.cursor
                watch.change_number = cursor.change_number
                yield page
                if not page.has_more:
                    while not await self._hears_of_more(watch):
                        yield FeedPage([], cursor, has_more=False)

    def wake(self, corp_id: str) -> None:
        """Have everybody who watches the corp look for more."""
        for watch in self._watches.get(corp_id, ()):
            watch.is_woken.set()

    async def _hears_of_more(self, watch: _Watch) -> bool:
        """Wait until there may be more to read; False when it is time for a heartbeat."""
        try:
            async with asyncio.timeout(self._heartbeat_interval_s):
                return await watch.is_woken.wait()
        except TimeoutError:
            return False

    @contextmanager
    def _entered(self, watcher: Watcher) -> Iterator[_Watch]:
        if self._counts[watcher] >= MAX_WATCHES:
            raise ResourceExhaustedError(
                "TOO_MANY_WATCHES", f"at most {MAX_WATCHES} streams of one caller may be open"
            )
        corp_id, _ = watcher
        watch = _Watch()
        self._counts[watcher] += 1
        self._watches.setdefault(corp_id, set()).add(watch)
        try:
            yield watch
        finally:
            self._counts[watcher] -= 1
            if not self._counts[watcher]:
                del self._counts[watcher]
            self._watches[corp_id].discard(watch)
            if not self._watches[corp_id]:
                del self._watches[corp_id]

    async def _on_event(self, message: Msg) -> None:
        self.wake((message.headers or {}).get(CORP_ID_HEADER, ""))

    async def _compare_forever(self) -> None:
        while True:
            begin = monotonic()
            try:
                await self._compare()
            except ServiceError as error:
                logger.info("the comparison of watched corps waits: %s", error.text)
            except Exception:
                logger.exception("the comparison of watched corps failed")
            await asyncio.sleep(max(0.0, begin + self._heartbeat_interval_s - monotonic()))

    async def _compare(self) -> None:
        """Wake whoever has read less than there is."""
        if not self._watches:
            return
        async with self._pool.acquire() as connection:
            numbers = await changes.list_last_change_numbers(connection, self._watches.keys())
        for corp_id, last_change_number in numbers.items():
            for watch in self._watches.get(corp_id, ()):
                if watch.change_number < last_change_number:
                    watch.is_woken.set()
