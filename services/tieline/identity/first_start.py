"""What the first start of identity on a database makes, and every later one finds."""

from joserfc.jwk import OKPKey

from tieline.chassis.postgres import Pool, transaction
from tieline.chassis.process import StartError
from tieline.identity.passwords import PasswordPool
from tieline.identity.repositories import accounts, signing_keys
from tieline.identity.signing_keys import SealBrokenError, build_sealed_key, open_sealed_key

PLATFORM_ADMINISTRATOR = "platform"


async def prepare_signing_key(pool: Pool, seal_key: bytes) -> tuple[str, OKPKey]:
    """Return the id of the newest signing key and the key; the first replica makes one."""
    async with transaction(pool) as connection:
        sealed = await signing_keys.lock_signing_keys(connection)
        if sealed is None:
            sealed = build_sealed_key(seal_key)
            await signing_keys.insert_signing_key(connection, sealed)
    try:
        return sealed.key_id, open_sealed_key(sealed, seal_key)
    except SealBrokenError:
        raise StartError(
            "the setting TIELINE_SECRET_KEY is not the one that identity was first started with "
            "on this database: its signing keys can't be decrypted; set it to that one"
        ) from None


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
