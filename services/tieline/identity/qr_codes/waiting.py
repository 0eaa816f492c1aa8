"""Devices that wait for their QR codes to be scanned, and one look at the database for all of them.

Where a sign-in stands is in PostgreSQL alone, so that the device, whoever scans and whoever decides
may each be at another replica, and a replica may go away. What this costs is one indexed query each
half second, however many devices wait here, and none while nobody does.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from tieline.chassis.errors import ResourceExhaustedError, ServiceError
from tieline.chassis.postgres import Pool
from tieline.identity.qr_codes.rules import QrState
from tieline.identity.repositories import qr_sign_ins

_POLL_INTERVAL_S = 0.5

# A stream each, some 20 KiB of gRPC: 100 MB.
MAX_WAITING = 5000
_RETRY_AFTER_S = 10.0

logger = logging.getLogger(__name__)


class _Watch:
    """One device's view of its sign-in."""

    def __init__(self) -> None:
        self.state: QrState | None = QrState.WAITING
        self.changed = asyncio.Event()


class QrWaiting:
    """Tells each waiting device when its sign-in changes; made by ``watching_qr_codes``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._watches: dict[str, set[_Watch]] = {}
        self._somebody_waits = asyncio.Event()
        self._count = 0

    async def states(self, qr_id: str) -> AsyncGenerator[QrState | None, None]:
        """Yield where the sign-in stands, each time that it changes; last None, when it is over."""
        if self._count >= MAX_WAITING:
            raise ResourceExhaustedError(
                "QR_SIGN_INS_EXHAUSTED",
                "too many devices wait for their QR codes",
                retry_after_s=_RETRY_AFTER_S,
            )
        watch = _Watch()
        self._watches.setdefault(qr_id, set()).add(watch)
        self._count += 1
        self._somebody_waits.set()
        try:
            yield QrState.WAITING
            while True:
                await watch.changed.wait()
                watch.changed.clear()
                yield watch.state
                if watch.state is None:
                    return
        finally:
            self._leave(qr_id, watch)

    async def run(self) -> None:
        """Look at the database while somebody waits, for ever."""
        while True:
            if not self._watches:
                self._somebody_waits.clear()
                await self._somebody_waits.wait()
            try:
                await self._look()
            except ServiceError as error:
                logger.info("waiting QR codes are not looked at: %s", error.text)
            except Exception:
                logger.exception("looking at waiting QR codes failed and goes on")
            await asyncio.sleep(_POLL_INTERVAL_S)

    async def _look(self) -> None:
        # Who comes while the question is under way is not in the answer.
        asked = list(self._watches)
        async with self._pool.acquire() as connection:
            states = await qr_sign_ins.list_states(connection, asked)
        for qr_id in asked:
            for watch in self._watches.get(qr_id, ()):
                state = states.get(qr_id)
                if state is not watch.state:
                    watch.state = state
                    watch.changed.set()

    def _leave(self, qr_id: str, watch: _Watch) -> None:
        self._count -= 1
        self._watches[qr_id].discard(watch)
        if not self._watches[qr_id]:
            del self._watches[qr_id]


@asynccontextmanager
async def watching_qr_codes(pool: Pool) -> AsyncIterator[QrWaiting]:
    """Watch for the devices that wait at this replica, within the block."""
    waiting = QrWaiting(pool)
    task = asyncio.create_task(waiting.run(), name="watch-qr-codes")
    try:
        yield waiting
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
