"""Administrators and auditors, and who owns a corp."""

from collections.abc import Sequence

from tieline.chassis.postgres import Connection, Record
from tieline.identity.roles.rules import Grant, Role, parse_rights

_COLUMNS = "user_id, role, rights, department_ids, granter_user_id, grant_time"


async def find_grant(
    connection: Connection, corp_id: str, user_id: str, role: Role
) -> Grant | None:
    """Return the member's grant of this role, or None."""
    row = await connection.fetchrow(
        f"""
        SELECT {_COLUMNS}
          FROM identity.role_grants
         WHERE corp_id = $1 AND user_id = $2 AND role = $3
        """,  # noqa: S608 -- constants
        corp_id,
        user_id,
        role.value,
    )
    return None if row is None else to_grant(row)


async def list_member_grants(connection: Connection, corp_id: str, user_id: str) -> list[Grant]:
    """Return what the member was granted: at most one of each role."""
    rows = await connection.fetch(
        f"""
        SELECT {_COLUMNS}
          FROM identity.role_grants
         WHERE corp_id = $1 AND user_id = $2
        """,  # noqa: S608 -- constants
        corp_id,
        user_id,
    )
    return [to_grant(row) for row in rows]


async def upsert_grant(connection: Connection, corp_id: str, grant: Grant) -> Grant:
    """Grant the role, or replace what it was granted with; the corp is locked."""
    row = await connection.fetchrow(
        f"""
        INSERT INTO identity.role_grants
               (corp_id, user_id, role, rights, department_ids, granter_user_id)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT ON CONSTRAINT role_grants_pkey
        DO UPDATE SET rights = excluded.rights,
                      department_ids = excluded.department_ids,
                      granter_user_id = excluded.granter_user_id,
                      grant_time = excluded.grant_time
        RETURNING {_COLUMNS}
        """,  # noqa: S608 -- constants
        corp_id,
        grant.user_id,
        grant.role.value,
        sorted(grant.rights),
        grant.department_ids,
        grant.granter_user_id,
    )
    assert row is not None, "an upsert gives the row"
    return to_grant(row)


async def delete_grant(connection: Connection, corp_id: str, user_id: str, role: Role) -> None:
    """Take the role away."""
    await connection.execute(
        "DELETE FROM identity.role_grants WHERE corp_id = $1 AND user_id = $2 AND role = $3",
        corp_id,
        user_id,
        role.value,
    )


async def delete_member_grants(connection: Connection, corp_id: str, user_id: str) -> bool:
    """Take every role away from the member; False if there was none."""
    status = await connection.execute(
        "DELETE FROM identity.role_grants WHERE corp_id = $1 AND user_id = $2", corp_id, user_id
    )
    return not status.endswith(" 0")


async def count_grants(connection: Connection, corp_id: str) -> int:
    """Return how many grants the corp has."""
    count: int = await connection.fetchval(
        "SELECT count(*) FROM identity.role_grants WHERE corp_id = $1", corp_id
    )
    return count


async def list_grants(
    connection: Connection, corp_id: str, after: tuple[str, str], limit: int
) -> list[Grant]:
    """Return the corp's grants in the order of user ids and roles, from after these two on."""
    rows = await connection.fetch(
        f"""
        SELECT {_COLUMNS}
          FROM identity.role_grants
         WHERE corp_id = $1 AND (user_id, role) > ($2, $3)
         ORDER BY user_id, role
         LIMIT $4
        """,  # noqa: S608 -- constants
        corp_id,
        *after,
        limit,
    )
    return [to_grant(row) for row in rows]


async def list_members_with_grants(
    connection: Connection, corp_id: str, user_ids: Sequence[str]
) -> list[str]:
    """Return those of the members who administer or audit the corp."""
    rows = await connection.fetch(
        """
        SELECT DISTINCT user_id
          FROM identity.role_grants
         WHERE corp_id = $1 AND user_id = ANY($2::text[])
        """,
        corp_id,
        user_ids,
    )
    return [row["user_id"] for row in rows]


async def transfer_ownership(
    connection: Connection, corp_id: str, former_user_id: str, user_id: str
) -> None:
    """Give the owner's role from one account to the other; the corp is locked."""
    await connection.execute(
        """
        UPDATE identity.accounts
           SET role = CASE user_id WHEN $3 THEN 'owner' ELSE 'member' END
         WHERE corp_id = $1 AND user_id IN ($2, $3)
        """,
        corp_id,
        former_user_id,
        user_id,
    )


def to_grant(row: Record) -> Grant:
    """Return the grant that a row with its columns is."""
    return Grant(
        user_id=row["user_id"],
        role=Role(row["role"]),
        rights=parse_rights(row["rights"]),
        department_ids=tuple(row["department_ids"]),
        granter_user_id=row["granter_user_id"],
        grant_time=row["grant_time"],
    )
