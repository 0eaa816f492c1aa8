"""Those who run the deployment: added, given another password, removed; one always stays.

Whoever does this has the service's own settings at hand, on its machine or in its container. It
needs nobody who can sign in, so that a lost password locks no deployment.
"""

from enum import Enum, auto

from tieline.chassis.audit import PLATFORM_LOG
from tieline.chassis.outbox import Event
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.chassis.principals import PrincipalKind
from tieline.identity.acts import record_act
from tieline.identity.repositories import platform_administrators
from tieline.identity.repositories.platform_administrators import PlatformAdministrator
from tieline.identity.revocations import end_sessions


class Removal(Enum):
    """What came of removing an administrator."""

    REMOVED = auto()
    UNKNOWN = auto()
    LAST = auto()
    """Nobody would be left to run the deployment."""


async def list_all(pool: Pool) -> list[PlatformAdministrator]:
    """Return everybody, by name."""
    async with pool.acquire() as connection:
        return await platform_administrators.list_all(connection)


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


async def remove(pool: Pool, name: str) -> Removal:
    """Remove the administrator and end the sessions."""
    async with transaction(pool) as connection:
        names = await platform_administrators.lock_all(connection)
        if name not in names:
            return Removal.UNKNOWN
        if len(names) == 1:
            return Removal.LAST
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
