"""Who signs in by password: members, and those who run the deployment."""

from dataclasses import dataclass

from tieline.chassis.postgres import Connection


@dataclass(frozen=True, slots=True)
class Account:
    """A member who may sign in."""

    role: str
    display_name: str
    password_hash: str | None


async def set_password(
    connection: Connection, corp_id: str, user_id: str, password_hash: str
) -> Account:
    """Give the account a new password and create it where it is missing; return it."""
    row = await connection.fetchrow(
        """
        INSERT INTO identity.accounts (corp_id, user_id, role, password_hash)
        VALUES ($1, $2, 'member', $3)
        ON CONFLICT ON CONSTRAINT accounts_pkey
        DO UPDATE SET password_hash = excluded.password_hash
        RETURNING role, display_name, password_hash
        """,
        corp_id,
        user_id,
        password_hash,
    )
    assert row is not None, "an upsert gives the row"
    return Account(**row)


async def find_account(connection: Connection, corp_id: str, user_id: str) -> Account | None:
    """Return the member's account, or None."""
    row = await connection.fetchrow(
        """
        SELECT role, display_name, password_hash
          FROM identity.accounts
         WHERE corp_id = $1 AND user_id = $2
        """,
        corp_id,
        user_id,
    )
    return None if row is None else Account(**row)


async def lock_account(connection: Connection, corp_id: str, user_id: str) -> Account | None:
    """Return the account, or None; no password is changed until the transaction ends."""
    row = await connection.fetchrow(
        """
        SELECT role, display_name, password_hash
          FROM identity.accounts
         WHERE corp_id = $1 AND user_id = $2
           FOR SHARE
        """,
        corp_id,
        user_id,
    )
    return None if row is None else Account(**row)


async def lock_account_alone(connection: Connection, corp_id: str, user_id: str) -> None:
    """Lock the account, if there is one, against whoever signs in, until the transaction ends."""
    await connection.execute(
        "SELECT FROM identity.accounts WHERE corp_id = $1 AND user_id = $2 FOR UPDATE",
        corp_id,
        user_id,
    )


async def has_account(connection: Connection, corp_id: str, user_id: str) -> bool:
    """Tell whether the member has signed in once."""
    return bool(
        await connection.fetchval(
            "SELECT true FROM identity.accounts WHERE corp_id = $1 AND user_id = $2",
            corp_id,
            user_id,
        )
    )


async def find_platform_password_hash(connection: Connection, name: str) -> str | None:
    """Return the password's hash of the platform administrator, or None."""
    password_hash: str | None = await connection.fetchval(
        "SELECT password_hash FROM identity.platform_administrators WHERE name = $1", name
    )
    return password_hash


async def insert_platform_administrator(
    connection: Connection, name: str, password_hash: str
) -> None:
    """Create the account; one that exists stays as it is."""
    await connection.execute(
        """
        INSERT INTO identity.platform_administrators (name, password_hash)
        VALUES ($1, $2)
        ON CONFLICT ON CONSTRAINT platform_administrators_pkey DO NOTHING
        """,
        name,
        password_hash,
    )
