"""Which devices are subscribed at this replica, written down so that every replica knows.

Only of devices that can be pushed to, and behind the calls: nothing waits for it.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from tieline.chassis.errors import ServiceError
from tieline.chassis.postgres import Pool, transaction
from tieline.chassis.tasks import end_task
from tieline.messaging.push.rules import CONNECTED_INTERVAL_S
from tieline.messaging.repositories.push_targets import DeviceKey, PushTargetRepository

# What begins and ends within it is one statement: a thousand devices may come back at once.
_GATHER_S = 0.2

_BATCH = 1000

logger = logging.getLogger(__name__)


class ConnectedDevices:
    """The devices of this replica's subscriptions."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._open: Counter[DeviceKey] = Counter()
        self._new: set[DeviceKey] = set()
        self._gone: set[DeviceKey] = set()
        self._has_changes = asyncio.Event()
        self._is_noting = False

    def enter(self, device: DeviceKey) -> Callable[[], None]:
        """Count the device as connected until the function that this returns is called.

        Called again, that does nothing.
        """
        # No context manager: each of thousands of subscriptions would keep some 2 KB of one.
        is_counted = self._is_noting
        if is_counted:
            self._open[device] += 1
            self._new.add(device)
            self._gone.discard(device)
            self._has_changes.set()

        def leave() -> None:
            nonlocal is_counted
            if is_counted:
                is_counted = False
                self._leave(device)

        return leave

    def _leave(self, device: DeviceKey) -> None:
        self._open[device] -= 1
        if not self._open[device]:
            del self._open[device]
            self._new.discard(device)
            self._gone.add(device)
            self._has_changes.set()

    @asynccontextmanager
    async def noting(self) -> AsyncIterator[None]:
        """Write it down within the block; otherwise nothing is counted."""
        self._is_noting = True
        tasks = [
            asyncio.create_task(self._note_changes(), name="note-connected-changes"),
            asyncio.create_task(self._note_all(), name="note-connected"),
        ]
        try:
            yield
        finally:
            for task in tasks:
                await end_task(task)

    async def _note_changes(self) -> None:
        while True:
            await self._has_changes.wait()
            await asyncio.sleep(_GATHER_S)
            self._has_changes.clear()
            new, self._new = self._new, set()
            gone, self._gone = self._gone, set()
            await self._note(sorted(new), sorted(gone))

    async def _note_all(self) -> None:
        while True:
            await asyncio.sleep(CONNECTED_INTERVAL_S)
            await self._note(sorted(self._open), [])

    async def _note(self, connected: list[DeviceKey], gone: list[DeviceKey]) -> None:
        """Write these down. What fails ages, and is pushed to."""
        try:
            for begin in range(0, max(len(connected), len(gone)), _BATCH):
                end = begin + _BATCH
                async with transaction(self._pool) as connection:
                    await PushTargetRepository(connection).note_connected(
                        connected[begin:end], gone[begin:end]
                    )
        except ServiceError as error:
            logger.info("connected devices are noted later: %s", error.text)
        except Exception:
            logger.exception("connected devices could not be noted")
