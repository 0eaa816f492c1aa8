"""Those who run the deployment: added, given another password or none of the lost second factor,
removed; one always stays.

Whoever does this has the service's own settings at hand, on its machine or in its container. It
needs nobody who can sign in, so that a lost password locks no deployment.
"""

import datetime as dt
from enum import Enum, auto

from tieline.chassis.audit import PLATFORM_LOG
from tieline.chassis.outbox import Event
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.chassis.principals import PrincipalKind
from tieline.identity.acts import record_act
from tieline.identity.repositories import platform_administrators, second_factors
from tieline.identity.repositories.platform_administrators import PlatformAdministrator
from tieline.identity.sessions.revocations import end_sessions


class Reset(Enum):
    """What came of resetting a second factor."""

    RESET = auto()
    UNKNOWN = auto()
    """There is no such administrator."""

    NONE = auto()
    """There was no second factor."""


class Removal(Enum):
    """What came of removing an administrator."""

    REMOVED = auto()
    UNKNOWN = auto()
    LAST = auto()
    """Nobody would be left to run the deployment."""


async def list_all(pool: Pool) -> list[tuple[PlatformAdministrator, dt.datetime | None]]:
    """Return everybody, by name, and since when each has a second factor; None without one."""
    async with pool.acquire() as connection:
        everybody = await platform_administrators.list_all(connection)
        return [
            (one, await second_factors.find_confirm_time(connection, PLATFORM_LOG, one.name))
            for one in everybody
        ]


async def add(pool: Pool, name: str, password_hash: str) -> bool:
    """Add an administrator; False where the name is taken."""
    async with transaction(pool) as connection:
        if not await platform_administrators.insert(connection, name, password_hash):
            return False
        await _record(connection, name, "add")
    return True


async def set_password(pool: Pool, name: str, password_hash: str) -> bool:
    """Set the password and end the administrator's sessions; False for an unknown name."""
    async with transaction(pool) as connection:
        if not await platform_administrators.update_password(connection, name, password_hash):
            return False
        await _record(connection, name, "set_password", await _sign_out(connection, name))
    return True


async def reset_second_factor(pool: Pool, name: str) -> Reset:
    """End the second factor of somebody who has lost it, and the sessions."""
    async with transaction(pool) as connection:
        # A sign-in under way is over by then, and its session is among those that end.
        if name not in await platform_administrators.lock_all(connection):
            return Reset.UNKNOWN
        if not await second_factors.delete_second_factor(connection, PLATFORM_LOG, name):
            return Reset.NONE
        events = await _sign_out(connection, name)
        await _record(connection, name, "reset_second_factor", events)
    return Reset.RESET


async def remove(pool: Pool, name: str) -> Removal:
    """Remove the administrator and end the sessions."""
    async with transaction(pool) as connection:
        names = await platform_administrators.lock_all(connection)
        if name not in names:
            return Removal.UNKNOWN
        if len(names) == 1:
            return Removal.LAST
        await second_factors.delete_second_factor(connection, PLATFORM_LOG, name)
        await platform_administrators.delete(connection, name)
        await _record(connection, name, "remove", await _sign_out(connection, name))
    return Removal.REMOVED


async def _sign_out(connection: Connection, name: str) -> list[Event]:
    kind = PrincipalKind.PLATFORM_ADMINISTRATOR
    _, events = await end_sessions(connection, PLATFORM_LOG, kind, name)
    return events


async def _record(
    connection: Connection, name: str, verb: str, events: list[Event] | None = None
) -> None:
    await record_act(
        connection,
        corp_id=PLATFORM_LOG,
        action=f"platform_administrator.{verb}",
        resource=f"platformAdministrators/{name}",
        details={"by": "command line"},
        events=events or (),
    )
