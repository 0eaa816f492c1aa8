"""What the errors of the PostgreSQL driver tell about the server and the connection, in words too.

What they mean to callers is said in ``postgres``.
"""

import re
import traceback
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg

if TYPE_CHECKING:
    from tieline.chassis.postgres import Connection

# SQLSTATEs and classes of a server that can't be used now, whatever the statement.
AWAY_ERRORS = (
    asyncpg.PostgresConnectionError,  # class 08
    asyncpg.CannotConnectNowError,  # 57P03: starting up or shutting down
    asyncpg.AdminShutdownError,  # 57P01: also what pg_terminate_backend sends
    asyncpg.CrashShutdownError,  # 57P02
    asyncpg.TooManyConnectionsError,  # 53300
    asyncpg.ReadOnlySQLTransactionError,  # 25006: connected to what is no longer the primary
    asyncpg.InternalClientError,  # a connection that breaks in the middle of a message
)
DRIVER_ERRORS = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
CONFLICT_ERRORS = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
)

# A DSN's path; anything else there may be a password in the wrong place.
_DATABASE = re.compile(r"(/[\w.-]*)?")


def is_away(error: BaseException, connection: "Connection") -> bool:
    """Tell whether the server, or the way to it, is the trouble, and not the statement."""
    return isinstance(error, AWAY_ERRORS) or is_driver_timeout(error) or _is_lost(connection)


def is_driver_timeout(error: BaseException) -> bool:
    """Tell whether the driver itself gave up waiting for the server.

    An ``asyncio.timeout`` around a statement is its author's, and says nothing of the server.
    """
    if not isinstance(error, TimeoutError):
        return False
    packages = [_package_of(frame.f_globals) for frame, _ in traceback.walk_tb(error.__traceback__)]
    # asyncio raises on behalf of whoever called it.
    raisers = [package for package in packages if package != "asyncio"]
    return bool(raisers) and raisers[-1] == "asyncpg"


def terminate_if_silent(connection: "Connection", error: BaseException) -> None:
    """Close a connection on which the driver waited in vain.

    Otherwise the driver cancels the statement and waits as long again for the answer to that.
    """
    if is_driver_timeout(error) and not _is_lost(connection):
        connection.terminate()


def describe_address(dsn: str) -> str:
    """Return host, port and database of a DSN for an error text; never its password."""
    try:
        parts = urlsplit(dsn)
        # Of what is no URL every part may hold the password.
        if parts.scheme not in ("postgresql", "postgres") or not _DATABASE.fullmatch(parts.path):
            return "an address that is no URL"
        return f"{parts.hostname or 'localhost'}:{parts.port or 5432}{parts.path}"
    except ValueError:
        return "an address that is no URL"


def describe_connection_error(error: Exception) -> str:
    """Return one line on why a connection failed; it holds no secret."""
    if isinstance(error, asyncpg.PostgresError):
        return str(error).splitlines()[0]
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError):
        # The text of asyncio's own errors lists addresses; strerror says what is wrong with them.
        return error.strerror or "connection refused or lost"
    if isinstance(error, ValueError):
        return "the DSN is malformed"
    return "the connection was lost"


def _is_lost(connection: "Connection") -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        # The pool takes a connection back the moment it breaks; its lender can ask it no more.
        return True


def _package_of(module: dict[str, Any]) -> str:
    return str(module.get("__name__", "")).partition(".")[0]
