"""What the errors of the PostgreSQL driver tell about the server and the connection.

What they mean to callers is said in ``postgres``.
"""

import traceback
from typing import TYPE_CHECKING, Any

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


def _is_lost(connection: "Connection") -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        # The pool takes a connection back the moment it breaks; its lender can ask it no more.
        return True


def _package_of(module: dict[str, Any]) -> str:
    return str(module.get("__name__", "")).partition(".")[0]
