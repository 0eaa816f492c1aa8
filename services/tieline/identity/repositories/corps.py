"""Corps and their verification."""

from tieline.chassis.postgres import Connection
from tieline.identity.corps import Corp, CorpKind, NewCorp


async def insert_corp(connection: Connection, corp_id: str, corp: NewCorp) -> Corp:
    """Insert the corp and its owner's account, which has no password yet."""
    assert corp.kind is not None, "a checked corp has a kind"
    row = await connection.fetchrow(
        """
        INSERT INTO identity.corps (corp_id, display_name, kind, owner_user_id)
        VALUES ($1, $2, $3, $4)
        RETURNING corp_id, display_name, kind, owner_user_id, create_time
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
    assert row is not None, "INSERT … RETURNING gives the row"
    return Corp(**{**row, "kind": CorpKind(row["kind"])})


async def find_corp(connection: Connection, corp_id: str) -> Corp | None:
    """Return the corp with its verification, or None."""
    row = await connection.fetchrow(
        """
        SELECT corp_id, display_name, kind, owner_user_id, create_time, verify_time
          FROM identity.corps
          LEFT JOIN identity.verifications USING (corp_id)
         WHERE corp_id = $1
        """,
        corp_id,
    )
    return None if row is None else Corp(**{**row, "kind": CorpKind(row["kind"])})


async def insert_verification(
    connection: Connection, corp_id: str, evidence: str, reviewer: str
) -> None:
    """Record the verification of an existing corp; the first one stands."""
    await connection.execute(
        """
        INSERT INTO identity.verifications (corp_id, evidence, reviewer)
        VALUES ($1, $2, $3)
        ON CONFLICT ON CONSTRAINT verifications_pkey DO NOTHING
        """,
        corp_id,
        evidence,
        reviewer,
    )
