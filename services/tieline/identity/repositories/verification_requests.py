"""Corps' requests to be verified."""

import datetime as dt
import uuid

from tieline.chassis.postgres import Connection, Record
from tieline.identity.corps.verifications import Evidence, VerificationRequest, VerificationState

_COLUMNS = """
    corp_id, verification_request_id, display_name, evidence, registration_number, media_ids,
    requester_user_id, state, create_time, decide_time, reject_reason
"""


async def insert_request(
    connection: Connection,
    corp_id: str,
    verification_request_id: str,
    display_name: str,
    evidence: Evidence,
    requester_user_id: str,
) -> VerificationRequest:
    """Insert an open request; the corp is locked and has none."""
    row = await connection.fetchrow(
        f"""
        INSERT INTO identity.verification_requests
               (corp_id, verification_request_id, display_name, evidence, registration_number,
                media_ids, requester_user_id)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        RETURNING {_COLUMNS}
        """,  # noqa: S608 -- constants
        corp_id,
        uuid.UUID(verification_request_id),
        display_name,
        evidence.text,
        evidence.registration_number,
        list(evidence.media_ids),
        requester_user_id,
    )
    assert row is not None, "INSERT … RETURNING gives the row"
    return _to_request(row)


async def find_request(
    connection: Connection, corp_id: str, verification_request_id: str
) -> VerificationRequest | None:
    """Return the corp's request, or None."""
    row = await connection.fetchrow(
        f"""
        SELECT {_COLUMNS}
          FROM identity.verification_requests
         WHERE corp_id = $1 AND verification_request_id = $2
        """,  # noqa: S608 -- constants
        corp_id,
        uuid.UUID(verification_request_id),
    )
    return None if row is None else _to_request(row)


async def decide_open_request(
    connection: Connection,
    corp_id: str,
    state: VerificationState,
    *,
    reviewer: str = "",
    reject_reason: str = "",
) -> VerificationRequest | None:
    """End the locked corp's open request and return it; None if there is none."""
    row = await connection.fetchrow(
        f"""
        UPDATE identity.verification_requests
           SET state = $2, decide_time = now(), reviewer = $3, reject_reason = $4
         WHERE corp_id = $1 AND state = 'open'
        RETURNING {_COLUMNS}
        """,  # noqa: S608 -- constants
        corp_id,
        state.value,
        reviewer,
        reject_reason,
    )
    return None if row is None else _to_request(row)


async def list_requests(
    connection: Connection,
    corp_id: str | None,
    state: VerificationState | None,
    after: tuple[dt.datetime, str] | None,
    limit: int,
) -> list[VerificationRequest]:
    """Return requests of one corp or of all, the oldest first, from after this time and id on."""
    rows = await connection.fetch(
        f"""
        SELECT {_COLUMNS}
          FROM identity.verification_requests
         WHERE ($1::text IS NULL OR corp_id = $1)
           AND ($2::text IS NULL OR state = $2)
           AND ($3::timestamptz IS NULL OR (create_time, verification_request_id) > ($3, $4::uuid))
         ORDER BY create_time, verification_request_id
         LIMIT $5
        """,  # noqa: S608 -- constants
        corp_id,
        None if state is None else state.value,
        None if after is None else after[0],
        None if after is None else uuid.UUID(after[1]),
        limit,
    )
    return [_to_request(row) for row in rows]


def _to_request(row: Record) -> VerificationRequest:
    return VerificationRequest(
        corp_id=row["corp_id"],
        verification_request_id=str(row["verification_request_id"]),
        display_name=row["display_name"],
        evidence=Evidence(row["evidence"], row["registration_number"], row["media_ids"]),
        requester_user_id=row["requester_user_id"],
        state=VerificationState(row["state"]),
        create_time=row["create_time"],
        decide_time=row["decide_time"],
        reject_reason=row["reject_reason"],
    )
