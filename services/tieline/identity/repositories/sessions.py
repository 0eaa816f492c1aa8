"""Sessions and where their refresh tokens stand."""

import datetime as dt
import uuid
from dataclasses import dataclass

from tieline.chassis.postgres import Connection, Record
from tieline.chassis.principals import Principal, PrincipalKind
from tieline.identity.refresh_tokens import RefreshState


@dataclass(frozen=True, slots=True)
class Session:
    """A session under lock."""

    principal_kind: PrincipalKind
    principal_id: str
    create_time: dt.datetime
    refresh: RefreshState


async def insert_session(
    connection: Connection, principal: Principal, seed_hash: bytes, lifetime: dt.timedelta
) -> dt.datetime:
    """Insert the principal's new session; return when its first refresh token ends."""
    expire_time = await connection.fetchval(
        """
        INSERT INTO identity.sessions
               (corp_id, session_id, principal_kind, principal_id, seed_hash, expire_time)
        VALUES ($1, $2, $3, $4, $5, now() + $6::interval)
        RETURNING expire_time
        """,
        principal.corp_id,
        uuid.UUID(principal.session_id),
        principal.kind.value,
        principal.id,
        seed_hash,
        lifetime,
    )
    assert isinstance(expire_time, dt.datetime), "INSERT … RETURNING gives the row"
    return expire_time


async def lock_session(
    connection: Connection, corp_id: str, session_id: uuid.UUID
) -> Session | None:
    """Lock the session until the transaction ends; return it, or None.

    ``now`` is read under the lock: ``now()`` is older than the wait for it.
    """
    row = await connection.fetchrow(
        """
        SELECT principal_kind, principal_id, seed_hash, refresh_generation, refresh_time,
               expire_time, end_time, create_time, clock_timestamp() AS now
          FROM identity.sessions
         WHERE corp_id = $1 AND session_id = $2
           FOR UPDATE
        """,
        corp_id,
        session_id,
    )
    return None if row is None else _to_session(row)


async def advance_session(
    connection: Connection, corp_id: str, session_id: uuid.UUID, lifetime: dt.timedelta
) -> dt.datetime:
    """Issue the session's next refresh token; return when it ends. The session is locked."""
    expire_time = await connection.fetchval(
        """
        UPDATE identity.sessions
           SET refresh_generation = refresh_generation + 1,
               refresh_time = clock_timestamp(),
               expire_time = clock_timestamp() + $3::interval
         WHERE corp_id = $1 AND session_id = $2
        RETURNING expire_time
        """,
        corp_id,
        session_id,
        lifetime,
    )
    assert isinstance(expire_time, dt.datetime), "the locked session is there"
    return expire_time


async def end_session(connection: Connection, corp_id: str, session_id: uuid.UUID) -> None:
    """End the session; it can't be refreshed any more."""
    await connection.execute(
        """
        UPDATE identity.sessions
           SET end_time = now()
         WHERE corp_id = $1 AND session_id = $2 AND end_time IS NULL
        """,
        corp_id,
        session_id,
    )


async def end_member_sessions(connection: Connection, corp_id: str, user_id: str) -> None:
    """End every session of the member."""
    await connection.execute(
        """
        UPDATE identity.sessions
           SET end_time = now()
         WHERE corp_id = $1 AND principal_kind = 'member' AND principal_id = $2
           AND end_time IS NULL
        """,
        corp_id,
        user_id,
    )


async def end_other_member_sessions(
    connection: Connection, corp_id: str, user_id: str, session_id: uuid.UUID
) -> None:
    """End every session of the member but one."""
    await connection.execute(
        """
        UPDATE identity.sessions
           SET end_time = now()
         WHERE corp_id = $1 AND principal_kind = 'member' AND principal_id = $2
           AND session_id <> $3 AND end_time IS NULL
        """,
        corp_id,
        user_id,
        session_id,
    )


async def is_younger(
    connection: Connection, corp_id: str, session_id: uuid.UUID, age: dt.timedelta
) -> bool:
    """Tell whether the session is open and began less than ``age`` ago."""
    younger = await connection.fetchval(
        """
        SELECT true
          FROM identity.sessions
         WHERE corp_id = $1 AND session_id = $2 AND end_time IS NULL
           AND create_time > now() - $3::interval
        """,
        corp_id,
        session_id,
        age,
    )
    return younger is True


async def delete_over(connection: Connection, *, maximum_rows: int) -> int:
    """Delete sessions that nobody can refresh any more; return how many rows.

    Rows that another replica is deleting are left to it.
    """
    status = await connection.execute(
        """
        DELETE FROM identity.sessions
         WHERE (corp_id, session_id) IN (
               SELECT corp_id, session_id
                 FROM identity.sessions
                WHERE expire_time < now()
                LIMIT $1
                  FOR UPDATE SKIP LOCKED)
        """,
        maximum_rows,
    )
    return int(status.rpartition(" ")[2])


def _to_session(row: Record) -> Session:
    return Session(
        principal_kind=PrincipalKind(row["principal_kind"]),
        principal_id=row["principal_id"],
        create_time=row["create_time"],
        refresh=RefreshState(
            seed_hash=row["seed_hash"],
            generation=row["refresh_generation"],
            refresh_time=row["refresh_time"],
            expire_time=row["expire_time"],
            end_time=row["end_time"],
            now=row["now"],
        ),
    )
