"""What the first start of identity on a database makes, and every later one finds."""

from tieline.chassis.postgres import Pool, transaction
from tieline.identity.passwords.hashing import PasswordPool
from tieline.identity.repositories import platform_administrators

PLATFORM_ADMINISTRATOR = "platform"


async def prepare_platform_administrator(
    pool: Pool, passwords: PasswordPool, password: str | None
) -> None:
    """Create the account ``platform`` with the password, unless there is one or none is given.

    Any other administrator will do: one who was removed does not come back with a restart.
    """
    if password is None:
        return
    async with pool.acquire() as connection:
        known = await platform_administrators.list_all(connection)
    if not known:
        password_hash = await passwords.hash(password)
        async with transaction(pool) as connection:
            await platform_administrators.insert(connection, PLATFORM_ADMINISTRATOR, password_hash)
