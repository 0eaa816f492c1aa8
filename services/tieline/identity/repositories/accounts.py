"""Accounts of members, by which they sign in."""

from collections.abc import Sequence
from dataclasses import dataclass

from tieline.chassis.postgres import Connection


@dataclass(frozen=True, slots=True)
class Account:
    """A member who may sign in."""

    role: str
    display_name: str
    password_hash: str | None
    state: str
    """``active``, ``disabled`` or ``left``."""

    @property
    def is_active(self) -> bool:
        """Whether the member may sign in."""
        return self.state == "active"


async def set_password(
    connection: Connection,
    corp_id: str,
    user_id: str,
    password_hash: str,
    *,
    may_rejoin: bool = False,
) -> Account:
    """Give the account a new password and create it where it is missing; return it.

    One whose member had left is active again where the member ``may_rejoin``, as by an invitation;
    otherwise it is returned as ``left``, and the caller refuses it.
    """
    row = await connection.fetchrow(
        """
        INSERT INTO identity.accounts (corp_id, user_id, role, password_hash)
        VALUES ($1, $2, 'member', $3)
        ON CONFLICT ON CONSTRAINT accounts_pkey
        DO UPDATE SET password_hash = excluded.password_hash,
                      state = CASE WHEN $4 AND accounts.state = 'left' THEN 'active'
                                   ELSE accounts.state END
        RETURNING role, display_name, password_hash, state
        """,
        corp_id,
        user_id,
        password_hash,
        may_rejoin,
    )
    assert row is not None, "an upsert gives the row"
    return Account(**row)


async def find_account(connection: Connection, corp_id: str, user_id: str) -> Account | None:
    """Return the member's account, or None."""
    row = await connection.fetchrow(
        """
        SELECT role, display_name, password_hash, state
          FROM identity.accounts
         WHERE corp_id = $1 AND user_id = $2
        """,
        corp_id,
        user_id,
    )
    return None if row is None else Account(**row)


async def find_password(
    connection: Connection, corp_id: str, user_id: str
) -> tuple[Account | None, str | None]:
    """Return the member's account, or None, and the hash to compare with where it has none.

    That is the hash of the corp's next account with one, by user id, and after the last one the
    first: hashes with the parameters of earlier settings stand beside the members who do not exist
    as often as beside those who do. None where nobody has a password.
    """
    row = await connection.fetchrow(
        """
        SELECT account.user_id, role, display_name, password_hash, state, stand_in
          FROM (SELECT coalesce(
                   (SELECT password_hash
                      FROM identity.accounts
                     WHERE corp_id = $1 AND user_id >= $2 AND password_hash IS NOT NULL
                     ORDER BY user_id
                     LIMIT 1),
                   (SELECT password_hash
                      FROM identity.accounts
                     WHERE corp_id = $1 AND password_hash IS NOT NULL
                     ORDER BY user_id
                     LIMIT 1)) AS stand_in) AS one_row
          LEFT JOIN identity.accounts AS account ON corp_id = $1 AND account.user_id = $2
        """,
        corp_id,
        user_id,
    )
    assert row is not None, "a left join gives a row"
    if row["user_id"] is None:
        return None, row["stand_in"]
    account = Account(row["role"], row["display_name"], row["password_hash"], row["state"])
    return account, row["stand_in"]


async def lock_account(connection: Connection, corp_id: str, user_id: str) -> Account | None:
    """Return the account, or None; nothing is taken from the member until the transaction ends.

    Revocations of the member's tokens wait for it too: see ``revocations``.
    """
    row = await connection.fetchrow(
        """
        SELECT role, display_name, password_hash, state
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


async def activate_account(
    connection: Connection, corp_id: str, user_id: str, *, may_rejoin: bool
) -> tuple[Account, bool]:
    """Return the account of somebody whom the directory has named; lock it as lock does.

    It is made where it is missing, and active again where its member had left and ``may_rejoin``:
    then True. That is for who has just asked the directory, and for nobody else: what it said when
    a code was sent or an account linked, the member may have left since.
    """
    activated = await connection.fetchval(
        """
        INSERT INTO identity.accounts (corp_id, user_id, role)
        VALUES ($1, $2, 'member')
        ON CONFLICT ON CONSTRAINT accounts_pkey
        DO UPDATE SET state = 'active' WHERE $3 AND accounts.state = 'left'
        RETURNING true
        """,
        corp_id,
        user_id,
        may_rejoin,
    )
    account = await lock_account(connection, corp_id, user_id)
    assert account is not None, "it was there or has been inserted"
    return account, activated is True


async def replace_password_hash(
    connection: Connection, corp_id: str, user_id: str, old_hash: str, new_hash: str
) -> None:
    """Store another hash of the same password; nothing where the password has changed."""
    await connection.execute(
        """
        UPDATE identity.accounts
           SET password_hash = $4
         WHERE corp_id = $1 AND user_id = $2 AND password_hash = $3
        """,
        corp_id,
        user_id,
        old_hash,
        new_hash,
    )


async def set_states(
    connection: Connection, corp_id: str, user_ids: Sequence[str], state: str
) -> None:
    """Put the accounts into a state, in the order of their ids; missing ones are made.

    Somebody who is disabled before the first sign-in must not get in by an invitation.
    """
    await connection.execute(
        """
        INSERT INTO identity.accounts (corp_id, user_id, role, state)
        SELECT $1, user_id, 'member', $3
          FROM unnest($2::text[]) AS member (user_id)
         ORDER BY user_id COLLATE "C"
        ON CONFLICT ON CONSTRAINT accounts_pkey DO UPDATE SET state = excluded.state
        """,
        corp_id,
        list(user_ids),
        state,
    )


async def delete_credentials(connection: Connection, corp_id: str, user_ids: Sequence[str]) -> None:
    """Take away everything that these members could sign in by, but one-time codes."""
    members = (corp_id, list(user_ids))
    await connection.execute(
        "UPDATE identity.accounts SET password_hash = NULL"
        " WHERE corp_id = $1 AND user_id = ANY($2::text[])",
        *members,
    )
    for statement in (
        "DELETE FROM identity.invitations WHERE corp_id = $1 AND user_id = ANY($2::text[])",
        "DELETE FROM identity.second_factors WHERE corp_id = $1 AND user_id = ANY($2::text[])",
        "DELETE FROM identity.provider_links WHERE corp_id = $1 AND user_id = ANY($2::text[])",
        "DELETE FROM identity.known_addresses WHERE corp_id = $1 AND user_id = ANY($2::text[])",
    ):
        await connection.execute(statement, *members)
