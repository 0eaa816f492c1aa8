"""What a refresh reads and writes, in two statements: every device of everybody makes one an hour.

The first locks what the second stands on, so that the second, which begins later, sees what whoever
held those locks has left.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from tieline.chassis.postgres import Connection, Record
from tieline.identity.corps.rules import Corp
from tieline.identity.repositories import corps
from tieline.identity.repositories.accounts import Account
from tieline.identity.repositories.role_grants import to_grant
from tieline.identity.repositories.sessions import Issued, Session, SessionLimits, to_session
from tieline.identity.roles.rules import Grant

_CORP_COLUMNS = [field.name for field in fields(Corp)]


@dataclass(frozen=True, slots=True)
class LockedSession:
    """A session with what it depends on, all of it under lock."""

    session: Session
    account: Account | None
    """A member's; None for other kinds, and for a member whose account is gone."""

    corp: Corp | None


async def lock_session(
    connection: Connection, corp_id: str, session_id: uuid.UUID, limits: SessionLimits
) -> LockedSession | None:
    """Lock a member's account, the session and the corp, in this order; return them, or None.

    Each waits for the one before: its condition counts that one's rows. Others lock in this order
    too (``revocations``). The time is read when all are locked.
    """
    row = await connection.fetchrow(
        f"""
        WITH account AS MATERIALIZED (
             SELECT role, display_name, password_hash, state
               FROM identity.accounts
              WHERE corp_id = $1
                AND user_id = (
                    SELECT principal_id
                      FROM identity.sessions
                     WHERE corp_id = $1 AND session_id = $2 AND principal_kind = 'member')
                FOR SHARE
        ), session AS MATERIALIZED (
             SELECT principal_kind, principal_id, seed_hash, refresh_generation, refresh_time,
                    least(expire_time, create_time + $3::interval) AS expire_time, end_time,
                    create_time
               FROM identity.sessions
              WHERE corp_id = $1 AND session_id = $2 AND (SELECT count(*) FROM account) >= 0
                FOR UPDATE
        ), corp AS MATERIALIZED (
             SELECT {corps.COLUMNS} {corps.FROM}
              WHERE corp_id = $1 AND delete_time IS NULL AND (SELECT count(*) FROM session) >= 0
                FOR SHARE OF corps
        )
        SELECT session.*, clock_timestamp() AS now,
               account.role AS account_role, account.display_name AS account_display_name,
               account.password_hash AS account_password_hash, account.state AS account_state,
               {", ".join(f"corp.{name} AS corp_{name}" for name in _CORP_COLUMNS)}
          FROM session
          LEFT JOIN account ON true
          LEFT JOIN corp ON true
        """,  # noqa: S608 -- constants
        corp_id,
        session_id,
        limits.max_age,
    )
    if row is None:
        return None
    return LockedSession(
        session=to_session(row),
        account=None if row["account_state"] is None else Account(**_pick(row, "account_")),
        corp=None if row["corp_corp_id"] is None else corps.to_corp(_pick(row, "corp_")),
    )


async def advance_session(
    connection: Connection,
    corp_id: str,
    session_id: uuid.UUID,
    limits: SessionLimits,
    address: str,
) -> tuple[Issued, list[Grant]]:
    """Issue the session's next refresh token; return when it ends, and what a member was granted.

    The session is locked, and a member's account, so that no grant changes meanwhile.
    """
    rows = await connection.fetch(
        """
        WITH issued AS (
             UPDATE identity.sessions
                SET refresh_generation = refresh_generation + 1,
                    refresh_time = clock_timestamp(),
                    expire_time =
                        least(clock_timestamp() + $3::interval, create_time + $4::interval),
                    address = $5
              WHERE corp_id = $1 AND session_id = $2
             RETURNING principal_kind, principal_id, expire_time, clock_timestamp() AS now
        )
        SELECT expire_time, now,
               user_id, role, rights, department_ids, granter_user_id, grant_time
          FROM issued
          LEFT JOIN identity.role_grants AS grants
            ON grants.corp_id = $1 AND grants.user_id = principal_id AND principal_kind = 'member'
        """,
        corp_id,
        session_id,
        limits.refresh_lifetime,
        limits.max_age,
        address,
    )
    # The locked session is there: a left join gives a row, and one for each grant.
    issued = Issued(rows[0]["expire_time"], rows[0]["now"])
    return issued, [to_grant(row) for row in rows if row["role"] is not None]


def _pick(row: Record, prefix: str) -> Mapping[str, Any]:
    """Return the columns with the prefix, without it."""
    return {
        name.removeprefix(prefix): value for name, value in row.items() if name.startswith(prefix)
    }
