"""Sign-in providers, the flows under way at them, and the accounts that were linked there."""

import datetime as dt
import uuid

from tieline.chassis.command_tags import count_rows
from tieline.chassis.postgres import Connection, Record
from tieline.identity.providers.answers import UserClaim
from tieline.identity.providers.rules import (
    FLOW_LIFETIME,
    Flow,
    Provider,
    StoredFlow,
    hash_random,
)


async def lock_provider_count(connection: Connection, corp_id: str) -> int:
    """Return how many providers the corp has; nobody else adds one until the transaction ends."""
    await connection.execute(
        # NO KEY: rows that refer to the corp's can still be checked.
        "SELECT 1 FROM identity.corps WHERE corp_id = $1 FOR NO KEY UPDATE",
        corp_id,
    )
    count: int = await connection.fetchval(
        "SELECT count(*) FROM identity.sign_in_providers WHERE corp_id = $1", corp_id
    )
    return count


async def insert_provider(connection: Connection, corp_id: str, provider: Provider) -> Provider:
    """Insert the provider; return it with its times."""
    row = await connection.fetchrow(
        """
        INSERT INTO identity.sign_in_providers
               (corp_id, provider_id, display_name, issuer, client_id, sealed_client_secret,
                user_claim, redirect_uris, enabled)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        RETURNING provider_id, display_name, issuer, client_id, user_claim, redirect_uris, enabled,
                  sealed_client_secret, change_number, create_time, update_time
        """,
        corp_id,
        uuid.UUID(provider.provider_id),
        provider.display_name,
        provider.issuer,
        provider.client_id,
        provider.sealed_client_secret,
        _claim(provider),
        list(provider.redirect_uris),
        provider.is_enabled,
    )
    assert row is not None, "INSERT … RETURNING gives the row"
    return _read(row)


async def find_provider(connection: Connection, corp_id: str, provider_id: str) -> Provider | None:
    """Return the provider, or None."""
    row = await connection.fetchrow(
        """
        SELECT provider_id, display_name, issuer, client_id, user_claim, redirect_uris, enabled,
               sealed_client_secret, change_number, create_time, update_time
          FROM identity.sign_in_providers
         WHERE corp_id = $1 AND provider_id = $2
        """,
        corp_id,
        uuid.UUID(provider_id),
    )
    return None if row is None else _read(row)


async def lock_provider(connection: Connection, corp_id: str, provider_id: str) -> Provider | None:
    """Lock the provider until the transaction ends; return it, or None."""
    row = await connection.fetchrow(
        """
        SELECT provider_id, display_name, issuer, client_id, user_claim, redirect_uris, enabled,
               sealed_client_secret, change_number, create_time, update_time
          FROM identity.sign_in_providers
         WHERE corp_id = $1 AND provider_id = $2
           FOR UPDATE
        """,
        corp_id,
        uuid.UUID(provider_id),
    )
    return None if row is None else _read(row)


async def list_providers(
    connection: Connection, corp_id: str, *, after_provider_id: str, limit: int
) -> list[Provider]:
    """Return providers by id, which is by age, from behind ``after_provider_id`` on."""
    rows = await connection.fetch(
        """
        SELECT provider_id, display_name, issuer, client_id, user_claim, redirect_uris, enabled,
               sealed_client_secret, change_number, create_time, update_time
          FROM identity.sign_in_providers
         WHERE corp_id = $1 AND provider_id > $2
         ORDER BY provider_id
         LIMIT $3
        """,
        corp_id,
        uuid.UUID(after_provider_id) if after_provider_id else uuid.UUID(int=0),
        limit,
    )
    return [_read(row) for row in rows]


async def update_provider(connection: Connection, corp_id: str, provider: Provider) -> Provider:
    """Store the provider, which is locked; return it with its times."""
    row = await connection.fetchrow(
        """
        UPDATE identity.sign_in_providers
           SET display_name = $3, issuer = $4, client_id = $5, sealed_client_secret = $6,
               user_claim = $7, redirect_uris = $8, enabled = $9, change_number = $10,
               update_time = now()
         WHERE corp_id = $1 AND provider_id = $2
        RETURNING provider_id, display_name, issuer, client_id, user_claim, redirect_uris, enabled,
                  sealed_client_secret, change_number, create_time, update_time
        """,
        corp_id,
        uuid.UUID(provider.provider_id),
        provider.display_name,
        provider.issuer,
        provider.client_id,
        provider.sealed_client_secret,
        _claim(provider),
        list(provider.redirect_uris),
        provider.is_enabled,
        provider.change_number,
    )
    assert row is not None, "the locked row is there"
    return _read(row)


async def delete_links(connection: Connection, corp_id: str, provider_id: str) -> None:
    """Forget whose accounts at the provider are whose."""
    await connection.execute(
        "DELETE FROM identity.provider_links WHERE corp_id = $1 AND provider_id = $2",
        corp_id,
        uuid.UUID(provider_id),
    )


async def delete_provider(connection: Connection, corp_id: str, provider_id: str) -> bool:
    """Delete the provider with its links and flows; False where there is none."""
    deleted = await connection.fetchval(
        """
        DELETE FROM identity.sign_in_providers
         WHERE corp_id = $1 AND provider_id = $2
        RETURNING true
        """,
        corp_id,
        uuid.UUID(provider_id),
    )
    return deleted is True


async def insert_flow(
    connection: Connection,
    corp_id: str,
    provider_id: str,
    flow: Flow,
    *,
    sealed_verifier: bytes,
    redirect_uri: str,
) -> dt.datetime:
    """Keep what completing the flow needs; return when it is too late for that."""
    expire_time = await connection.fetchval(
        """
        INSERT INTO identity.provider_flows
               (corp_id, state_hash, provider_id, flow_secret_hash, nonce, sealed_verifier,
                redirect_uri, expire_time)
        VALUES ($1, $2, $3, $4, $5, $6, $7, now() + $8::interval)
        RETURNING expire_time
        """,
        corp_id,
        hash_random(flow.state),
        uuid.UUID(provider_id),
        hash_random(flow.flow_secret),
        flow.nonce,
        sealed_verifier,
        redirect_uri,
        FLOW_LIFETIME,
    )
    assert isinstance(expire_time, dt.datetime), "INSERT … RETURNING gives the row"
    return expire_time


async def claim_flow(connection: Connection, corp_id: str, state: str) -> StoredFlow | None:
    """Use the flow up; None where there is none such, or no longer."""
    row = await connection.fetchrow(
        """
        DELETE FROM identity.provider_flows
         WHERE corp_id = $1 AND state_hash = $2 AND expire_time > now()
        RETURNING provider_id, flow_secret_hash, nonce, sealed_verifier, redirect_uri
        """,
        corp_id,
        hash_random(state),
    )
    return None if row is None else StoredFlow(**{**row, "provider_id": str(row["provider_id"])})


async def delete_ended_flows(connection: Connection, *, maximum_rows: int) -> int:
    """Delete flows that nobody completed; return how many rows."""
    status = await connection.execute(
        """
        DELETE FROM identity.provider_flows
         WHERE (corp_id, state_hash) IN (
               SELECT corp_id, state_hash
                 FROM identity.provider_flows
                WHERE expire_time < now()
                LIMIT $1
                  FOR UPDATE SKIP LOCKED)
        """,
        maximum_rows,
    )
    return count_rows(status)


async def upsert_link(
    connection: Connection, corp_id: str, provider_id: str, subject: str, user_id: str
) -> None:
    """Tie the account at the provider to the member; the last link stands."""
    await connection.execute(
        """
        INSERT INTO identity.provider_links (corp_id, provider_id, subject, user_id)
        VALUES ($1, $2, $3, $4)
        ON CONFLICT ON CONSTRAINT provider_links_pkey
        DO UPDATE SET user_id = excluded.user_id, create_time = now()
        """,
        corp_id,
        uuid.UUID(provider_id),
        subject,
        user_id,
    )


async def find_linked_user(
    connection: Connection, corp_id: str, provider_id: str, subject: str
) -> str | None:
    """Return the member whose account at the provider this is, or None."""
    user_id: str | None = await connection.fetchval(
        """
        SELECT user_id
          FROM identity.provider_links
         WHERE corp_id = $1 AND provider_id = $2 AND subject = $3
        """,
        corp_id,
        uuid.UUID(provider_id),
        subject,
    )
    return user_id


def _claim(provider: Provider) -> str:
    assert provider.user_claim is not None, "a checked provider has a claim"
    return provider.user_claim.value


def _read(row: Record) -> Provider:
    return Provider(
        provider_id=str(row["provider_id"]),
        display_name=row["display_name"],
        issuer=row["issuer"],
        client_id=row["client_id"],
        user_claim=UserClaim(row["user_claim"]),
        redirect_uris=tuple(row["redirect_uris"]),
        is_enabled=row["enabled"],
        sealed_client_secret=row["sealed_client_secret"],
        change_number=row["change_number"],
        create_time=row["create_time"],
        update_time=row["update_time"],
    )
