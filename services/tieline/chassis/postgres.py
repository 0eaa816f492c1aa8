"""PostgreSQL for a service: its pool, transactions, and what the driver's errors mean.

The one place that translates driver errors:

    connection refused, server starting up   UnavailableError DATABASE_UNAVAILABLE, marked down
    connection lost, no answer at all        UnavailableError DATABASE_UNAVAILABLE; marked down
                                             unless a new connection answers at once
    no free connection, statement too slow   UnavailableError DATABASE_UNAVAILABLE
    serialization failure, deadlock, lock    AbortedError CONCURRENT_CHANGE
    disk full                                ResourceExhaustedError STORAGE_FULL
    a text with the character U+0000         InvalidArgumentError
    a constraint of the service's table      the ServiceError that the service gave for its name
    anything else                            as it is; callers see INTERNAL
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg

from tieline.chassis.driver_errors import (
    CONFLICT_ERRORS,
    DRIVER_ERRORS,
    describe_address,
    describe_connection_error,
    is_away,
    terminate_if_silent,
)
from tieline.chassis.errors import (
    AbortedError,
    InvalidArgumentError,
    ResourceExhaustedError,
    ServiceError,
    UnavailableError,
)
from tieline.chassis.health import DATABASE, RETRY_AFTER_S, Health
from tieline.chassis.process import StartError
from tieline.chassis.tasks import end_task

# asyncpg's classes are generic to mypy alone; these names serve both.
if TYPE_CHECKING:
    Record: TypeAlias = asyncpg.Record
    Connection: TypeAlias = (
        asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
    )
    _DriverPool: TypeAlias = asyncpg.Pool[asyncpg.Record]
else:
    Record = asyncpg.Record
    Connection = asyncpg.Connection
    _DriverPool = asyncpg.Pool

ConstraintErrors = Mapping[str, Callable[[], ServiceError]]
"""Name of a constraint or unique index -> the error that breaking it means to the caller."""

NO_CONSTRAINT_ERRORS: ConstraintErrors = MappingProxyType({})

_NO_SETTINGS: Mapping[str, str] = MappingProxyType({})

CONNECT_TIMEOUT_S = 5.0

# A caller waits 20 s by default; nothing that takes longer than that has a reader.
STATEMENT_TIMEOUT_S = 20

# What holds row locks and does nothing is a fault; it must not stop the others for long.
IDLE_IN_TRANSACTION_TIMEOUT_S = 10

# Below the statement's timeout, so that a queue behind a lock ends as ABORTED.
LOCK_TIMEOUT_S = 10

# The server ends a statement by itself; the client's own limit is for a server that is gone.
_COMMAND_TIMEOUT_S = STATEMENT_TIMEOUT_S + 5

# A session lock's holder asks something every 10 s or so; a machine that vanished asks nothing.
_IDLE_SESSION_TIMEOUT_S = 30

# Waiting longer for a free connection than for an answer helps nobody.
_ACQUIRE_TIMEOUT_S = 10.0

_PROBE_INTERVAL_DOWN_S = 1.0
_PROBE_INTERVAL_UP_S = 5.0
_PROBE_TIMEOUT_S = 2.0

# By which the server notices, within 25 s, that the client's machine is gone. Its own defaults
# take hours, and as long the locks of that machine's sessions would be held.
TCP_SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "tcp_keepalives_idle": "10",  # s
        "tcp_keepalives_interval": "5",  # s
        "tcp_keepalives_count": "3",
        "tcp_user_timeout": "25000",  # ms, as the server shows it
    }
)

# Citus reports the constraint of a shard: the table's name for it plus the shard's number.
_SHARD_SUFFIX = re.compile(r"_\d{6,}$")

logger = logging.getLogger(__name__)

_wakes: ContextVar[set[str] | None] = ContextVar("tieline_outbox_wakes", default=None)
_spares_reset: ContextVar[bool] = ContextVar("tieline_spares_reset", default=False)


class Pool:
    """A service's connections, with error translation, health and wake-ups after commits."""

    def __init__(
        self,
        driver_pool: _DriverPool,
        options: Mapping[str, Any],
        health: Health,
        constraint_errors: ConstraintErrors,
    ) -> None:
        self._driver_pool = driver_pool
        self._options = options
        self._health = health
        self._constraint_errors = constraint_errors
        self._wake_listeners: dict[str, Callable[[], None]] = {}
        self._is_suspect = asyncio.Event()

    @asynccontextmanager
    async def acquire(self, *, spares_reset: bool = False) -> AsyncIterator[Connection]:
        """Lend a connection outside of any transaction, for single reads.

        ``spares_reset`` is for who reads again and again and changes no setting of the session: the
        driver's reset costs as much as a small read. It also finds connections that fell silent
        since; spared, who borrows next finds them.
        """
        try:
            connection = await self._driver_pool.acquire(timeout=_ACQUIRE_TIMEOUT_S)
        except TimeoutError:
            raise _unavailable("no database connection became free in time") from None
        except DRIVER_ERRORS as error:
            raise self._away(error) from error
        try:
            yield connection
        except DRIVER_ERRORS as error:
            translated = self._translate(error, connection)
            terminate_if_silent(connection, error)
            if translated is None:
                raise
            raise translated from error
        finally:
            await self._release(connection, spares_reset=spares_reset)

    async def _release(
        self, connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]", *, spares_reset: bool
    ) -> None:
        token = _spares_reset.set(spares_reset)
        try:
            await self._driver_pool.release(connection)
        except DRIVER_ERRORS as error:
            # The driver has closed it. What was done with it is done.
            self._lost(error)
        finally:
            _spares_reset.reset(token)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Connection]:
        """Open a connection of its own, for what holds a session lock.

        The server ends it, and with it the lock, after 30 seconds without a statement: who holds a
        lock and says nothing may be gone. A statement has 25 seconds.
        """
        server_settings = {
            **self._options["server_settings"],
            "idle_session_timeout": f"{_IDLE_SESSION_TIMEOUT_S}s",
        }
        try:
            connection = await asyncpg.connect(
                **{**self._options, "server_settings": server_settings},
                command_timeout=_COMMAND_TIMEOUT_S,
            )
        except DRIVER_ERRORS as error:
            raise self._away(error) from error
        try:
            yield connection
        except DRIVER_ERRORS as error:
            translated = self._translate(error, connection)
            if translated is None:
                raise
            raise translated from error
        finally:
            connection.terminate()

    def listen_for_wakes(self, schema: str, listener: Callable[[], None]) -> None:
        """Call ``listener`` after each commit that put events into the schema's outbox."""
        self._wake_listeners[schema] = listener

    def wake(self, schema: str) -> None:
        """Tell the schema's listener, if there is one, that its outbox has new rows."""
        listener = self._wake_listeners.get(schema)
        if listener is not None:
            listener()

    async def probe(self) -> None:
        """Mark the database up or down by asking it; takes 2 seconds at most.

        While it is up and every connection is busy it is not asked: those who use them will tell.
        """
        is_down = DATABASE in self._health.down
        asks_anew = is_down or self._is_suspect.is_set()
        self._is_suspect.clear()
        if not asks_anew and self._is_busy():
            return
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT_S):
                await (self._ask_new_connection() if asks_anew else self._ask_pooled_connection())
        except DRIVER_ERRORS as error:
            if asks_anew:
                self._away(error)
            else:
                self._lost(error)
            return
        if is_down:
            self._health.mark_up(DATABASE)
            logger.info("the database answers again")

    async def wait_for_probe(self) -> None:
        """Return when it is time to probe: at once after a connection was lost."""
        if DATABASE in self._health.down:
            await asyncio.sleep(_PROBE_INTERVAL_DOWN_S)
            return
        try:
            async with asyncio.timeout(_PROBE_INTERVAL_UP_S):
                await self._is_suspect.wait()
        except TimeoutError:
            return

    @property
    def max_size(self) -> int:
        """Connections at most."""
        return self._driver_pool.get_max_size()

    @property
    def used(self) -> int:
        """Connections that are lent now."""
        return self._driver_pool.get_size() - self._driver_pool.get_idle_size()

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

    def _translate(self, error: Exception, connection: Connection) -> ServiceError | None:
        if is_away(error, connection):
            return self._lost(error)
        if isinstance(error, asyncpg.QueryCanceledError):
            return _unavailable("the database took too long")
        if isinstance(error, CONFLICT_ERRORS):
            return AbortedError(
                "CONCURRENT_CHANGE", "a concurrent change won; send the request again"
            )
        if isinstance(error, asyncpg.DiskFullError):
            return ResourceExhaustedError(
                "STORAGE_FULL", "the database's disk is full", retry_after_s=10.0
            )
        if isinstance(error, asyncpg.CharacterNotInRepertoireError):
            return InvalidArgumentError({"request": "must not contain the character U+0000"})
        if isinstance(error, asyncpg.IntegrityConstraintViolationError):
            return self._constraint_error(error.constraint_name or "")
        return None

    def _constraint_error(self, name: str) -> ServiceError | None:
        build = self._constraint_errors.get(name) or self._constraint_errors.get(
            _SHARD_SUFFIX.sub("", name)
        )
        return None if build is None else build()

    def _lost(self, error: Exception) -> UnavailableError:
        """Have the database asked on a new connection: one that ends is no outage by itself."""
        logger.info("a database connection ended: %s", describe_connection_error(error))
        self._is_suspect.set()
        return _unavailable("the database can't be reached")

    def _away(self, error: Exception) -> UnavailableError:
        if DATABASE not in self._health.down:
            logger.warning("the database is away: %s", describe_connection_error(error))
        self._health.mark_down(DATABASE)
        return _unavailable("the database can't be reached")


@asynccontextmanager
async def create_pool(
    dsn: str,
    *,
    service: str,
    max_size: int,
    health: Health,
    constraint_errors: ConstraintErrors = NO_CONSTRAINT_ERRORS,
    session_settings: Mapping[str, str] = _NO_SETTINGS,
) -> AsyncIterator[Pool]:
    """Connect as the service's role and keep ``health`` informed until the block is left.

    ``max_size`` is the number of connections, one per second-long probe not counted.
    ``session_settings`` are PostgreSQL's that every connection has from its start. StartError names
    the setting when the first connection fails.
    """
    options = {
        "dsn": dsn,
        "timeout": CONNECT_TIMEOUT_S,
        "server_settings": {
            "application_name": f"tieline-{service}",
            "timezone": "UTC",
            # Compiling a plan takes longer than any of these services' statements.
            "jit": "off",
            "lock_timeout": f"{LOCK_TIMEOUT_S}s",
            "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_TIMEOUT_S}s",
            **TCP_SETTINGS,
            **session_settings,
        },
    }
    async with AsyncExitStack() as stack:
        driver_pool = await _open_driver_pool(options, max_size)
        stack.callback(driver_pool.terminate)
        pool = Pool(driver_pool, options, health, constraint_errors)
        probes = asyncio.create_task(_probe_forever(pool), name="database-probe")
        stack.push_async_callback(end_task, probes)
        yield pool


async def _open_driver_pool(options: Mapping[str, Any], max_size: int) -> _DriverPool:
    server_settings = {
        **options["server_settings"],
        "statement_timeout": f"{STATEMENT_TIMEOUT_S}s",
    }
    try:
        driver_pool = await asyncpg.create_pool(
            **{**options, "server_settings": server_settings},
            # The driver would complain with a traceback each time it can't keep a minimum open.
            min_size=0,
            max_size=max_size,
            command_timeout=_COMMAND_TIMEOUT_S,
            reset=_reset_session,
        )
        async with driver_pool.acquire() as connection:
            await connection.execute("SELECT 1")
        return driver_pool
    except (ValueError, *DRIVER_ERRORS) as error:
        raise StartError(
            f"can't connect to PostgreSQL at {describe_address(options['dsn'])}: "
            f"{describe_connection_error(error)}; "
            "start it, or correct the setting TIELINE_DATABASE_DSN"
        ) from None


async def _reset_session(connection: "asyncpg.Connection[Record]") -> None:
    """Do to a returned connection what the driver does, unless its borrower spared it that."""
    if not _spares_reset.get():
        await connection.execute(connection.get_reset_query())


@asynccontextmanager
async def transaction(pool: Pool, *, spares_reset: bool = False) -> AsyncIterator[Connection]:
    """Run the block in one transaction; after its commit, wake the relay if events were inserted.

    ``spares_reset`` is for who commits one transaction after the other (see ``Pool.acquire``).

    A lost connection during COMMIT raises UnavailableError although the server may have committed:
    what is sent again must be recognised, by its request id or key.
    """
    wakes: set[str] = set()
    token = _wakes.set(wakes)
    try:
        async with (
            pool.acquire(spares_reset=spares_reset) as connection,
            connection.transaction(),
        ):
            try:
                yield connection
            except TimeoutError as error:
                # Before the ROLLBACK, which would wait too.
                terminate_if_silent(connection, error)
                raise
    finally:
        _wakes.reset(token)
    for schema in wakes:
        pool.wake(schema)


def wake_after_commit(schema: str) -> None:
    """Have the transaction around this call wake the schema's relay once it is committed."""
    wakes = _wakes.get()
    if wakes is not None:
        wakes.add(schema)


def _unavailable(text: str) -> UnavailableError:
    return UnavailableError("DATABASE_UNAVAILABLE", text, retry_after_s=RETRY_AFTER_S)


async def _probe_forever(pool: Pool) -> None:
    while True:
        await pool.wait_for_probe()
        try:
            await pool.probe()
        except Exception:
            logger.exception("the database probe failed and goes on")
