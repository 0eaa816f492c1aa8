"""Signing keys: whichever replica is first makes one or deletes one."""

from collections.abc import Sequence

from tieline.chassis.postgres import Connection
from tieline.identity.signing_keys.rules import PublicKey, SealedKey

# Any number that nothing else locks in this database: the bytes of "signkey" as an integer.
_SIGNING_KEYS_LOCK = int.from_bytes(b"signkey")


async def lock_signing_keys(connection: Connection) -> Sequence[SealedKey]:
    """Return the keys as they stay until the transaction ends: no other replica changes them."""
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _SIGNING_KEYS_LOCK)
    return await list_signing_keys(connection)


async def list_signing_keys(connection: Connection) -> Sequence[SealedKey]:
    """Return all keys by the time from which on they sign."""
    rows = await connection.fetch(
        """
        SELECT key_id, public_key, sealed_private_key,
               coalesce(sign_time, create_time) AS sign_time
          FROM identity.signing_keys
         ORDER BY coalesce(sign_time, create_time), key_id
        """
    )
    return [SealedKey(**row) for row in rows]


async def insert_signing_key(connection: Connection, key: SealedKey) -> None:
    """Insert a new signing key. The caller holds ``lock_signing_keys``."""
    await connection.execute(
        """
        INSERT INTO identity.signing_keys (key_id, public_key, sealed_private_key, sign_time)
        VALUES ($1, $2, $3, $4)
        """,
        key.key_id,
        key.public_key,
        key.sealed_private_key,
        key.sign_time,
    )


async def delete_signing_keys(connection: Connection, key_ids: Sequence[str]) -> None:
    """Delete the keys. The caller holds ``lock_signing_keys``."""
    await connection.execute(
        "DELETE FROM identity.signing_keys WHERE key_id = ANY($1::text[])", list(key_ids)
    )


async def list_public_keys(connection: Connection) -> Sequence[PublicKey]:
    """Return every key that a valid token may be signed with, the next one included."""
    rows = await connection.fetch(
        "SELECT key_id, public_key FROM identity.signing_keys ORDER BY create_time, key_id"
    )
    return [PublicKey(**row) for row in rows]
