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
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg

from tieline.chassis.database_probe import DatabaseProbe, DriverPool, unavailable
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
)
from tieline.chassis.health import Health
from tieline.chassis.process import StartError

# asyncpg's classes are generic to mypy alone; these names serve both.
if TYPE_CHECKING:
    Record: TypeAlias = asyncpg.Record
    Connection: TypeAlias = (
        asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
    )
else:
    Record = asyncpg.Record
    Connection = asyncpg.Connection

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

# A return takes a round trip; a server that is silent keeps nobody from ending.
_CLOSE_TIMEOUT_S = 1.0

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

_wakes: ContextVar[set[str] | None] = ContextVar("tieline_outbox_wakes", default=None)
_spares_reset: ContextVar[bool] = ContextVar("tieline_spares_reset", default=False)


class Pool:
    """A service's connections, with error translation and wake-ups after commits."""

    def __init__(
        self,
        driver_pool: DriverPool,
        options: Mapping[str, Any],
        probe: DatabaseProbe,
        constraint_errors: ConstraintErrors,
    ) -> None:
        self._driver_pool = driver_pool
        self._options = options
        self._constraint_errors = constraint_errors
        self._wake_listeners: dict[str, Callable[[], None]] = {}
        self.probe = probe
        """Hears what happens to the connections."""

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
            raise unavailable("no database connection became free in time") from None
        except DRIVER_ERRORS as error:
            raise self.probe.note_away(error) from error
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
            self.probe.note_lost(error)
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
            raise self.probe.note_away(error) from error
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

    def share_wakes(self, other: "Pool") -> None:
        """Have this pool's commits wake the listeners of another one's, in place of its own."""
        self._wake_listeners = other._wake_listeners

    def wake(self, schema: str) -> None:
        """Tell the schema's listener, if there is one, that its outbox has new rows."""
        listener = self._wake_listeners.get(schema)
        if listener is not None:
            listener()

    @property
    def max_size(self) -> int:
        """Connections at most."""
        return self._driver_pool.get_max_size()

    @property
    def used(self) -> int:
        """Connections that are lent now."""
        return self._driver_pool.get_size() - self._driver_pool.get_idle_size()

    def _translate(self, error: Exception, connection: Connection) -> ServiceError | None:
        if is_away(error, connection):
            return self.probe.note_lost(error)
        if isinstance(error, asyncpg.QueryCanceledError):
            return unavailable("the database took too long")
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
        stack.push_async_callback(_close_driver_pool, driver_pool)
        probe = DatabaseProbe(driver_pool, options, health)
        await stack.enter_async_context(probe.running())
        yield Pool(driver_pool, options, probe, constraint_errors)


async def _open_driver_pool(options: Mapping[str, Any], max_size: int) -> DriverPool:
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


async def _close_driver_pool(driver_pool: DriverPool) -> None:
    """Close the connections, those last that are being returned.

    Their borrowers may have been cancelled and gone: a return that broke off would be logged as an
    error that nobody took.
    """
    with suppress(TimeoutError, *DRIVER_ERRORS):
        async with asyncio.timeout(_CLOSE_TIMEOUT_S):
            await driver_pool.close()
    driver_pool.terminate()


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
    async with (
        statements(pool, spares_reset=spares_reset) as connection,
        connection.transaction(),
    ):
        try:
            yield connection
        except TimeoutError as error:
            # Before the ROLLBACK, which would wait too.
            terminate_if_silent(connection, error)
            raise


@asynccontextmanager
async def statements(pool: Pool, *, spares_reset: bool = False) -> AsyncIterator[Connection]:
    """Lend a connection on which each statement is a transaction of its own.

    In all else it is :func:`transaction`, which costs two more exchanges with the server. The relay
    is woken behind the block, unless the block fails.
    """
    wakes: set[str] = set()
    token = _wakes.set(wakes)
    try:
        async with pool.acquire(spares_reset=spares_reset) as connection:
            yield connection
    finally:
        _wakes.reset(token)
    for schema in wakes:
        pool.wake(schema)


def wake_after_commit(schema: str) -> None:
    """Have the transaction around this call wake the schema's relay once it is committed.

    Within ``statements``: once the block is left.
    """
    wakes = _wakes.get()
    if wakes is not None:
        wakes.add(schema)
