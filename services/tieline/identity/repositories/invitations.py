"""Invitations: the latest one of each member."""

import datetime as dt
from collections.abc import Mapping

from tieline.chassis.postgres import Connection
from tieline.chassis.principals import Principal, PrincipalKind
from tieline.identity.roles.invitations import LIFETIME, Invitation, Inviter


async def replace_invitations(
    connection: Connection, corp_id: str, code_hashes: Mapping[str, bytes], inviter: Principal
) -> dt.datetime:
    """Invite the members, by user id; earlier codes of theirs end. Return when the new ones end.

    Rows are locked in the order of user ids, so that two requests for the same members wait for
    each other instead of deadlocking.
    """
    user_ids = sorted(code_hashes)
    expire_time = await connection.fetchval("SELECT now() + $1::interval", LIFETIME)
    await connection.execute(
        """
        INSERT INTO identity.invitations
               (corp_id, user_id, code_hash, expire_time, inviter_kind, inviter_id)
        SELECT $1, user_id, code_hash, $4, $5, $6
          FROM unnest($2::text[], $3::bytea[]) AS invited (user_id, code_hash)
         ORDER BY user_id COLLATE "C"
        ON CONFLICT ON CONSTRAINT invitations_pkey
        DO UPDATE SET code_hash = excluded.code_hash,
                      expire_time = excluded.expire_time,
                      use_time = NULL,
                      inviter_kind = excluded.inviter_kind,
                      inviter_id = excluded.inviter_id
        """,
        corp_id,
        user_ids,
        [code_hashes[user_id] for user_id in user_ids],
        expire_time,
        inviter.kind.value,
        inviter.id,
    )
    assert isinstance(expire_time, dt.datetime), "now() plus an interval is a time"
    return expire_time


async def find_invitation(
    connection: Connection, corp_id: str, user_id: str
) -> tuple[Invitation | None, dt.datetime]:
    """Return the member's latest invitation, or None, and the database's time."""
    row = await connection.fetchrow(
        """
        SELECT code_hash, expire_time, use_time, inviter_kind, inviter_id, now() AS now
          FROM (SELECT) AS one_row
          LEFT JOIN identity.invitations ON corp_id = $1 AND user_id = $2
        """,
        corp_id,
        user_id,
    )
    assert row is not None, "a left join gives a row"
    if row["code_hash"] is None:
        return None, row["now"]
    kind = row["inviter_kind"]
    inviter = None if kind is None else Inviter(PrincipalKind(kind), row["inviter_id"])
    return Invitation(row["code_hash"], row["expire_time"], row["use_time"], inviter), row["now"]


async def claim_invitation(
    connection: Connection, corp_id: str, user_id: str, code_hash: bytes
) -> bool:
    """Use the code up; False if somebody else was faster, or it was replaced or ended meanwhile."""
    claimed = await connection.fetchval(
        """
        UPDATE identity.invitations
           SET use_time = now()
         WHERE corp_id = $1 AND user_id = $2 AND code_hash = $3
           AND use_time IS NULL AND expire_time > now()
        RETURNING true
        """,
        corp_id,
        user_id,
        code_hash,
    )
    return claimed is True
