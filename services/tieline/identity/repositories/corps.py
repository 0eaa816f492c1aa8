"""Corps and their verification. Deleted ones are not there for anybody but the purge."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from tieline.chassis.postgres import Connection, Record
from tieline.identity.corps.rules import Corp, CorpKind, CorpState, NewCorp

COLUMNS = """
    corp_id, display_name, kind, owner_user_id, corps.create_time, verify_time, suspend_time,
    suspend_reason, delete_request_time, purge_time, delete_time, session_floor_time, change_number
"""
FROM = "FROM identity.corps LEFT JOIN identity.verifications USING (corp_id)"


async def insert_corp(connection: Connection, corp_id: str, corp: NewCorp) -> Corp:
    """Insert the corp and its owner's account, which has no password yet."""
    assert corp.kind is not None, "a checked corp has a kind"
    create_time = await connection.fetchval(
        """
        INSERT INTO identity.corps (corp_id, display_name, kind, owner_user_id)
        VALUES ($1, $2, $3, $4)
        RETURNING create_time
        """,
        corp_id,
        corp.display_name,
        corp.kind.value,
        corp.owner_user_id,
    )
    await connection.execute(
        """
        INSERT INTO identity.accounts (corp_id, user_id, role, display_name)
        VALUES ($1, $2, 'owner', $3)
        """,
        corp_id,
        corp.owner_user_id,
        corp.owner_name,
    )
    return Corp(corp_id, corp.display_name, corp.kind, corp.owner_user_id, create_time)


async def find_corp(connection: Connection, corp_id: str) -> Corp | None:
    """Return the corp with its verification, or None."""
    row = await connection.fetchrow(
        f"SELECT {COLUMNS} {FROM} WHERE corp_id = $1 AND delete_time IS NULL",
        corp_id,
    )
    return None if row is None else to_corp(row)


async def find_corps(connection: Connection, corp_ids: Sequence[str]) -> dict[str, Corp]:
    """Return those of the corps that are there, by id."""
    rows = await connection.fetch(
        f"SELECT {COLUMNS} {FROM} WHERE corp_id = ANY($1::text[]) AND delete_time IS NULL",
        corp_ids,
    )
    return {row["corp_id"]: to_corp(row) for row in rows}


async def share_corp(connection: Connection, corp_id: str) -> Corp | None:
    """Return the corp, or None; it stays as it is until the transaction ends.

    For whoever lets its people in: a suspension waits for them, and ends what they opened.
    """
    row = await connection.fetchrow(
        f"""
        SELECT {COLUMNS} {FROM}
         WHERE corp_id = $1 AND delete_time IS NULL
           FOR SHARE OF corps
        """,
        corp_id,
    )
    return None if row is None else to_corp(row)


async def lock_corp(connection: Connection, corp_id: str) -> tuple[Corp | None, dt.datetime]:
    """Lock the corp until the transaction ends; return it, or None, and the time under the lock.

    NO KEY: rows that refer to the corp's can still be written.
    """
    now: dt.datetime
    row = await connection.fetchrow(
        "SELECT true FROM identity.corps WHERE corp_id = $1 FOR NO KEY UPDATE", corp_id
    )
    # A second statement, so that the verification is the one that is there under the lock.
    now = await connection.fetchval("SELECT clock_timestamp()")
    return None if row is None else await find_corp(connection, corp_id), now


async def update_corp(connection: Connection, corp: Corp) -> Corp:
    """Write the locked corp as it is to be; return it with its new etag."""
    if corp.verify_time is None:
        await connection.execute(
            "DELETE FROM identity.verifications WHERE corp_id = $1", corp.corp_id
        )
    await connection.execute(
        """
        UPDATE identity.corps
           SET display_name = $2, suspend_time = $3, suspend_reason = $4,
               delete_request_time = $5, purge_time = $6, session_floor_time = $7,
               change_number = change_number + 1
         WHERE corp_id = $1
        """,
        corp.corp_id,
        corp.display_name,
        corp.suspend_time,
        corp.suspend_reason,
        corp.delete_request_time,
        corp.purge_time,
        corp.session_floor_time,
    )
    updated = await find_corp(connection, corp.corp_id)
    assert updated is not None, "the locked corp is there"
    return updated


async def update_owner(connection: Connection, corp_id: str, owner_user_id: str) -> Corp:
    """Write who owns the locked corp; return it with its new etag."""
    await connection.execute(
        """
        UPDATE identity.corps
           SET owner_user_id = $2, change_number = change_number + 1
         WHERE corp_id = $1
        """,
        corp_id,
        owner_user_id,
    )
    corp = await find_corp(connection, corp_id)
    assert corp is not None, "the locked corp is there"
    return corp


async def touch_corp(connection: Connection, corp_id: str) -> Corp:
    """Give the locked corp a new etag, because its verification changed; return it."""
    await connection.execute(
        "UPDATE identity.corps SET change_number = change_number + 1 WHERE corp_id = $1", corp_id
    )
    corp = await find_corp(connection, corp_id)
    assert corp is not None, "the locked corp is there"
    return corp


async def insert_verification(
    connection: Connection, corp_id: str, evidence: str, reviewer: str
) -> None:
    """Record the verification of the locked corp, which has none."""
    await connection.execute(
        """
        INSERT INTO identity.verifications (corp_id, evidence, reviewer)
        VALUES ($1, $2, $3)
        """,
        corp_id,
        evidence,
        reviewer,
    )


async def list_corps(
    connection: Connection,
    kind: CorpKind | None,
    state: CorpState | None,
    before: tuple[dt.datetime, str] | None,
    limit: int,
) -> list[Corp]:
    """Return corps, the newest first, from before this creation time and corp on."""
    rows = await connection.fetch(
        f"""
        SELECT {COLUMNS} {FROM}
         WHERE delete_time IS NULL
           AND ($1::text IS NULL OR kind = $1)
           AND ($2::text IS NULL
                OR $2 = CASE WHEN delete_request_time IS NOT NULL THEN 'deleting'
                             WHEN suspend_time IS NOT NULL THEN 'suspended'
                             ELSE 'active' END)
           AND ($3::timestamptz IS NULL OR (corps.create_time, corp_id) < ($3, $4::text))
         ORDER BY corps.create_time DESC, corp_id DESC
         LIMIT $5
        """,
        None if kind is None else kind.value,
        None if state is None else state.value,
        None if before is None else before[0],
        None if before is None else before[1],
        limit,
    )
    return [to_corp(row) for row in rows]


def to_corp(row: Record | Mapping[str, Any]) -> Corp:
    """Return the corp that a row with its columns is."""
    return Corp(**{**row, "kind": CorpKind(row["kind"])})
