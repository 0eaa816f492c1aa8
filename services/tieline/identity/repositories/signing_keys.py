"""Signing keys: one is made by whichever replica is first."""

from collections.abc import Sequence

from tieline.chassis.postgres import Connection
from tieline.identity.signing_keys import PublicKey, SealedKey

# Any number that nothing else locks in this database: the bytes of "signkey" as an integer.
_SIGNING_KEYS_LOCK = int.from_bytes(b"signkey")


async def lock_signing_keys(connection: Connection) -> SealedKey | None:
    """Return the newest signing key; let no other replica make one until the transaction ends."""
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _SIGNING_KEYS_LOCK)
    row = await connection.fetchrow(
        """
        SELECT key_id, public_key, sealed_private_key
          FROM identity.signing_keys
         ORDER BY create_time DESC, key_id DESC
         LIMIT 1
        """
    )
    return None if row is None else SealedKey(**row)


async def insert_signing_key(connection: Connection, key: SealedKey) -> None:
    """Insert a new signing key. The caller holds ``lock_signing_keys``."""
    await connection.execute(
        """
        INSERT INTO identity.signing_keys (key_id, public_key, sealed_private_key)
        VALUES ($1, $2, $3)
        """,
        key.key_id,
        key.public_key,
        key.sealed_private_key,
    )


async def list_public_keys(connection: Connection) -> Sequence[PublicKey]:
    """Return every key that a valid token may have been signed with."""
    rows = await connection.fetch(
        "SELECT key_id, public_key FROM identity.signing_keys ORDER BY create_time, key_id"
    )
    return [PublicKey(**row) for row in rows]
