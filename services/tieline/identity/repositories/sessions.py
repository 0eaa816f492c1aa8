"""Sessions and where their refresh tokens stand."""

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from tieline.chassis.command_tags import count_rows
from tieline.chassis.postgres import Connection, Record
from tieline.chassis.principals import Principal, PrincipalKind
from tieline.identity.sessions.devices import Device
from tieline.identity.sessions.refresh_tokens import RefreshState


@dataclass(frozen=True, slots=True)
class Session:
    """A session under lock."""

    principal_kind: PrincipalKind
    principal_id: str
    create_time: dt.datetime
    refresh: RefreshState


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How long sessions last."""

    refresh_lifetime: dt.timedelta
    """From each refresh to the next."""

    max_age: dt.timedelta
    """From the sign-in, however often it is refreshed."""


@dataclass(frozen=True, slots=True)
class SignedInSession:
    """A session as its owner sees it."""

    session_id: uuid.UUID
    device: Device
    address: str
    create_time: dt.datetime
    refresh_time: dt.datetime
    expire_time: dt.datetime


@dataclass(frozen=True, slots=True)
class Issued:
    """A refresh token's end, and the moment of issue, later than every lock that was waited for."""

    expire_time: dt.datetime
    now: dt.datetime


async def insert_session(
    connection: Connection,
    principal: Principal,
    seed_hash: bytes,
    limits: SessionLimits,
    device: Device,
    address: str,
) -> Issued:
    """Insert the principal's new session; return when its first refresh token ends."""
    row = await connection.fetchrow(
        """
        INSERT INTO identity.sessions
               (corp_id, session_id, principal_kind, principal_id, seed_hash, expire_time,
                device_name, device_platform, address)
        VALUES ($1, $2, $3, $4, $5, now() + $6::interval, $7, $8, $9)
        RETURNING expire_time, clock_timestamp() AS now
        """,
        principal.corp_id,
        uuid.UUID(principal.session_id),
        principal.kind.value,
        principal.id,
        seed_hash,
        min(limits.refresh_lifetime, limits.max_age),
        device.name,
        device.platform,
        address,
    )
    assert row is not None, "INSERT … RETURNING gives the row"
    return Issued(**row)


async def list_sessions(
    connection: Connection,
    corp_id: str,
    kind: PrincipalKind,
    principal_id: str,
    *,
    before: uuid.UUID | None,
    maximum_rows: int,
) -> Sequence[SignedInSession]:
    """Return sessions that are signed in, the latest first: their ids are ordered by time."""
    rows = await connection.fetch(
        """
        SELECT session_id, device_name, device_platform, address, create_time, refresh_time,
               expire_time
          FROM identity.sessions
         WHERE corp_id = $1 AND principal_kind = $2 AND principal_id = $3
           AND end_time IS NULL AND expire_time > now()
           AND ($4::uuid IS NULL OR session_id < $4)
           AND create_time >= coalesce(
               (SELECT session_floor_time FROM identity.corps WHERE corp_id = $1), '-infinity')
         ORDER BY session_id DESC
         LIMIT $5
        """,
        corp_id,
        kind.value,
        principal_id,
        before,
        maximum_rows,
    )
    return [
        SignedInSession(
            session_id=row["session_id"],
            device=Device(row["device_name"], row["device_platform"]),
            address=row["address"],
            create_time=row["create_time"],
            refresh_time=row["refresh_time"],
            expire_time=row["expire_time"],
        )
        for row in rows
    ]


async def find_owner(
    connection: Connection, corp_id: str, session_id: uuid.UUID
) -> tuple[PrincipalKind, str] | None:
    """Return whose session this is, or None."""
    row = await connection.fetchrow(
        """
        SELECT principal_kind, principal_id
          FROM identity.sessions
         WHERE corp_id = $1 AND session_id = $2
        """,
        corp_id,
        session_id,
    )
    return None if row is None else (PrincipalKind(row["principal_kind"]), row["principal_id"])


async def end_session(connection: Connection, corp_id: str, session_id: uuid.UUID) -> bool:
    """End the session; it can't be refreshed any more. False if it was over before."""
    ended = await connection.fetchval(
        """
        UPDATE identity.sessions
           SET end_time = now()
         WHERE corp_id = $1 AND session_id = $2 AND end_time IS NULL
        RETURNING true
        """,
        corp_id,
        session_id,
    )
    return ended is True


async def end_sessions_of(
    connection: Connection,
    corp_id: str,
    kind: PrincipalKind,
    principal_id: str,
    *,
    keep: uuid.UUID | None = None,
) -> int:
    """End every session of the party but the one to keep; return how many were ended."""
    status = await connection.execute(
        """
        UPDATE identity.sessions
           SET end_time = now()
         WHERE corp_id = $1 AND principal_kind = $2 AND principal_id = $3
           AND end_time IS NULL AND expire_time > now()
           AND ($4::uuid IS NULL OR session_id <> $4)
        """,
        corp_id,
        kind.value,
        principal_id,
        keep,
    )
    return count_rows(status)


async def is_open(connection: Connection, corp_id: str, session_id: uuid.UUID) -> bool:
    """Tell whether the session is signed in, as the list of sessions has it."""
    found = await connection.fetchval(
        """
        SELECT true
          FROM identity.sessions
         WHERE corp_id = $1 AND session_id = $2 AND end_time IS NULL AND expire_time > now()
           AND create_time >= coalesce(
               (SELECT session_floor_time FROM identity.corps WHERE corp_id = $1), '-infinity')
        """,
        corp_id,
        session_id,
    )
    return found is True


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
    return count_rows(status)


def to_session(row: Record) -> Session:
    """Return the session that a row with its columns and the time ``now`` is."""
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
