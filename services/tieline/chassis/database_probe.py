"""Whether PostgreSQL is there: asked from time to time, and at once after a connection was lost.

Whoever meets an error of the connection says which of the two it is:

    lost    a connection that was good ended: perhaps it alone, so a new one is asked first
    away    a new connection can't be had: the database is marked down
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg

from tieline.chassis.driver_errors import DRIVER_ERRORS, describe_connection_error
from tieline.chassis.errors import UnavailableError
from tieline.chassis.health import DATABASE, RETRY_AFTER_S, Health
from tieline.chassis.tasks import end_task

# asyncpg's class is generic to mypy alone; this name serves both.
if TYPE_CHECKING:
    DriverPool: TypeAlias = asyncpg.Pool[asyncpg.Record]
else:
    DriverPool = asyncpg.Pool

_INTERVAL_DOWN_S = 1.0
_INTERVAL_UP_S = 5.0
_TIMEOUT_S = 2.0

logger = logging.getLogger(__name__)


class DatabaseProbe:
    """Keeps ``health`` informed of one database."""

    def __init__(self, driver_pool: DriverPool, options: Mapping[str, Any], health: Health) -> None:
        self._driver_pool = driver_pool
        self._options = options
        self._health = health
        self._is_suspect = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Ask within the block."""
        task = asyncio.create_task(self._ask_forever(), name="database-probe")
        try:
            yield
        finally:
            await end_task(task)

    async def ask(self) -> None:
        """Mark the database up or down by asking it; takes 2 seconds at most.

        While it is up and every connection is busy it is not asked: those who use them will tell.
        """
        is_down = DATABASE in self._health.down
        asks_anew = is_down or self._is_suspect.is_set()
        self._is_suspect.clear()
        if not asks_anew and self._is_busy():
            return
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                await (self._ask_new_connection() if asks_anew else self._ask_pooled_connection())
        except DRIVER_ERRORS as error:
            if asks_anew:
                self.note_away(error)
            else:
                self.note_lost(error)
            return
        if is_down:
            self._health.mark_up(DATABASE)
            logger.info("the database answers again")

    async def wait(self) -> None:
        """Return when it is time to ask: at once after a connection was lost."""
        if DATABASE in self._health.down:
            await asyncio.sleep(_INTERVAL_DOWN_S)
            return
        try:
            async with asyncio.timeout(_INTERVAL_UP_S):
                await self._is_suspect.wait()
        except TimeoutError:
            return

    def note_lost(self, error: Exception) -> UnavailableError:
        """Have the database asked on a new connection: one that ends is no outage by itself."""
        logger.info("a database connection ended: %s", describe_connection_error(error))
        self._is_suspect.set()
        return unavailable("the database can't be reached")

    def note_away(self, error: Exception) -> UnavailableError:
        """Mark the database down."""
        if DATABASE not in self._health.down:
            logger.warning("the database is away: %s", describe_connection_error(error))
        self._health.mark_down(DATABASE)
        return unavailable("the database can't be reached")

    async def _ask_forever(self) -> None:
        while True:
            await self.wait()
            try:
                await self.ask()
            except Exception:
                logger.exception("the database probe failed and goes on")

    def _is_busy(self) -> bool:
        pool = self._driver_pool
        return pool.get_idle_size() == 0 and pool.get_size() == pool.get_max_size()

    async def _ask_new_connection(self) -> None:
        connection = await asyncpg.connect(**self._options)
        try:
            if await connection.fetchval("SELECT pg_is_in_recovery()"):
                raise asyncpg.CannotConnectNowError("the server is a standby")
        finally:
            connection.terminate()

    async def _ask_pooled_connection(self) -> None:
        async with self._driver_pool.acquire() as connection:
            await connection.execute("SELECT 1")


def unavailable(text: str) -> UnavailableError:
    """Return the error of a database that can't do it now."""
    return UnavailableError("DATABASE_UNAVAILABLE", text, retry_after_s=RETRY_AFTER_S)
