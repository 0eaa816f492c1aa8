"""What the first start of identity on a database makes, and every later one finds."""

from tieline.chassis.postgres import Pool, transaction
from tieline.identity.passwords import PasswordPool
from tieline.identity.repositories import accounts

PLATFORM_ADMINISTRATOR = "platform"


async def prepare_platform_administrator(
    pool: Pool, passwords: PasswordPool, password: str | None
) -> None:
    """Create the account ``platform`` with the password, unless there is one or none is given."""
    if password is None:
        return
    async with pool.acquire() as connection:
        known = await accounts.find_platform_password_hash(connection, PLATFORM_ADMINISTRATOR)
    if known is None:
        password_hash = await passwords.hash(password)
        async with transaction(pool) as connection:
            await accounts.insert_platform_administrator(
                connection, PLATFORM_ADMINISTRATOR, password_hash
            )
