"""Links of corps, and what one side sees of the other's directory.

The queries about departments and members are the only ones that read a corp's rows for somebody of
another one. Each takes the departments that the other one shares and the viewer that everybody
outside of it is to its own rules, and shows nothing beyond both.
"""

from collections.abc import Collection

from tieline.chassis.postgres import Connection, Record
from tieline.directory.linked_corps.rules import (
    LinkedCorp,
    LinkedDepartment,
    LinkedMember,
    Share,
    ShareScope,
)
from tieline.directory.repositories.viewers import member_filter
from tieline.directory.visibility.decision import Viewer


async def upsert_link(connection: Connection, corp_id: str, link: LinkedCorp) -> None:
    """Keep one side of a link, unless what is kept is newer."""
    await connection.execute(
        """
        INSERT INTO directory.linked_corps
               (corp_id, link_id, linked_corp_id, kind, is_active, is_upper, share_scope,
                share_department_ids, is_mobile_shared, is_email_shared, link_change_number)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        ON CONFLICT ON CONSTRAINT linked_corps_pkey
        DO UPDATE SET
               is_active = excluded.is_active,
               share_scope = excluded.share_scope,
               share_department_ids = excluded.share_department_ids,
               is_mobile_shared = excluded.is_mobile_shared,
               is_email_shared = excluded.is_email_shared,
               link_change_number = excluded.link_change_number
         WHERE linked_corps.link_change_number <= excluded.link_change_number
        """,
        corp_id,
        link.link_id,
        link.linked_corp_id,
        link.kind,
        link.is_active,
        link.is_upper,
        link.share.scope.value,
        sorted(link.share.department_ids),
        link.share.is_mobile_shared,
        link.share.is_email_shared,
        link.link_change_number,
    )


async def find_link(connection: Connection, corp_id: str, link_id: str) -> LinkedCorp | None:
    """Return the corp's side of a link that holds, or None."""
    record = await connection.fetchrow(
        """
        SELECT link_id, linked_corp_id, kind, is_active, is_upper, share_scope,
               share_department_ids, is_mobile_shared, is_email_shared, link_change_number
          FROM directory.linked_corps
         WHERE corp_id = $1 AND link_id = $2 AND is_active
        """,
        corp_id,
        link_id,
    )
    return None if record is None else _to_link(record)


async def list_links(
    connection: Connection, corp_id: str, *, after: str, limit: int
) -> list[LinkedCorp]:
    """Return the corp's sides of the links that hold, by id, from behind ``after`` on."""
    records = await connection.fetch(
        """
        SELECT link_id, linked_corp_id, kind, is_active, is_upper, share_scope,
               share_department_ids, is_mobile_shared, is_email_shared, link_change_number
          FROM directory.linked_corps
         WHERE corp_id = $1 AND link_id > $2 AND is_active
         ORDER BY link_id
         LIMIT $3
        """,
        corp_id,
        after,
        limit,
    )
    return [_to_link(record) for record in records]


def _to_link(record: Record) -> LinkedCorp:
    share = Share(
        ShareScope(record["share_scope"]),
        frozenset(record["share_department_ids"]),
        record["is_mobile_shared"],
        record["is_email_shared"],
    )
    return LinkedCorp(
        record["link_id"],
        record["linked_corp_id"],
        record["kind"],
        record["is_active"],
        record["is_upper"],
        share,
        record["link_change_number"],
    )


async def list_shared_department_ids(
    connection: Connection, linked_corp_id: str, share: Share
) -> list[int]:
    """Return every department that is shared, those below the named ones included."""
    records = await connection.fetch(
        """
        SELECT department_id
          FROM directory.departments
         WHERE corp_id = $1
           AND ($2 = 'whole_directory' OR $2 = 'departments' AND ancestor_ids && $3::bigint[])
        """,
        linked_corp_id,
        share.scope.value,
        list(share.department_ids),
    )
    return [record["department_id"] for record in records]


async def list_departments(
    connection: Connection,
    linked_corp_id: str,
    department_ids: Collection[int],
    *,
    after: int,
    limit: int,
) -> list[LinkedDepartment]:
    """Return the shared departments by id, from behind ``after`` on."""
    records = await connection.fetch(
        """
        SELECT department_id,
               CASE WHEN parent_department_id = ANY($2::bigint[]) THEN parent_department_id
                    ELSE 0 END,
               name, department_order
          FROM directory.departments
         WHERE corp_id = $1 AND department_id = ANY($2::bigint[]) AND department_id > $3
         ORDER BY department_id
         LIMIT $4
        """,
        linked_corp_id,
        list(department_ids),
        after,
        limit,
    )
    return [LinkedDepartment(*record) for record in records]


async def list_member_ids(
    connection: Connection,
    linked_corp_id: str,
    department_ids: Collection[int],
    viewer: Viewer,
    *,
    after: str,
    limit: int,
) -> list[str]:
    """Return who is in any of the departments, has not left and is not hidden, by user id."""
    condition, parameters = member_filter(viewer, 5, "members")
    records = await connection.fetch(
        f"""
        SELECT DISTINCT member_departments.user_id
          FROM directory.member_departments
          JOIN directory.members USING (corp_id, user_id)
         WHERE corp_id = $1
           AND member_departments.department_id = ANY($2::bigint[])
           AND user_id > $3
           AND members.state <> 'left'
           AND {condition}
         ORDER BY user_id
         LIMIT $4
        """,  # noqa: S608 -- the condition is the code's
        linked_corp_id,
        list(department_ids),
        after,
        limit,
        *parameters,
    )
    return [record["user_id"] for record in records]


async def find_members(
    connection: Connection,
    linked_corp_id: str,
    department_ids: Collection[int],
    viewer: Viewer,
    user_ids: Collection[str],
) -> dict[str, LinkedMember]:
    """Return those of the members who are in any of the departments and seen, by user id."""
    condition, parameters = member_filter(viewer, 4, "members")
    records = await connection.fetch(
        f"""
        SELECT user_id, name, alias, position, avatar_media_id, mobile, email,
               ARRAY(SELECT department_id
                       FROM directory.member_departments AS at
                      WHERE at.corp_id = members.corp_id AND at.user_id = members.user_id
                        AND at.department_id = ANY($2::bigint[])
                      ORDER BY department_id) AS department_ids
          FROM directory.members
         WHERE corp_id = $1 AND user_id = ANY($3::text[]) AND state <> 'left' AND {condition}
        """,  # noqa: S608 -- the condition is the code's
        linked_corp_id,
        list(department_ids),
        list(user_ids),
        *parameters,
    )
    members = [LinkedMember(*record) for record in records]
    return {member.user_id: member for member in members if member.department_ids}
