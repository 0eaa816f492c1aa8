"""The people of each corp: reading them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from tieline.chassis.postgres import Connection
from tieline.directory.members.cache import CorpNumbers
from tieline.directory.members.rules import (
    LISTED_STATES,
    PRESENT_STATES,
    Member,
    MemberDepartment,
    MemberState,
)
from tieline.directory.repositories.viewers import department_filter, member_filter
from tieline.directory.visibility.decision import Viewer

_SELECT = """
    SELECT user_id, name, department_id, position, mobile, email, alias, gender, telephone,
           biz_email, address, avatar_media_id, direct_leader, external_position,
           external_profile, extended_attributes, state, change_number, create_time, update_time,
           activate_time, leave_time, joined.department_ids, joined.orders, joined.are_leader
      FROM directory.members
      LEFT JOIN LATERAL (
           SELECT array_agg(department_id ORDER BY is_other, department_id) AS department_ids,
                  array_agg(member_order ORDER BY is_other, department_id) AS orders,
                  array_agg(is_leader ORDER BY is_other, department_id) AS are_leader
             FROM (SELECT department_id, member_order, is_leader,
                          department_id <> members.department_id AS is_other
                     FROM directory.member_departments AS at
                    WHERE at.corp_id = members.corp_id AND at.user_id = members.user_id) AS each
      ) AS joined ON true
"""

# So many who changed are told by name; where more did, nobody is.
MAX_CHANGED = 1000


@dataclass(frozen=True, slots=True)
class CorpState:
    """At what a corp is, and who has changed since a number."""

    numbers: CorpNumbers
    changed: Sequence[str]
    is_whole: bool
    """Whether ``changed`` names them all."""


async def find_members(
    connection: Connection, corp_id: str, user_ids: Collection[str]
) -> dict[str, Member]:
    """Return those of the members that exist, by user id; those who left too."""
    records = await connection.fetch(
        _SELECT + "WHERE corp_id = $1 AND user_id = ANY($2::text[])",
        corp_id,
        list(user_ids),
    )
    return {record["user_id"]: _to_member(*record.values()) for record in records}


async def find_corp_state(
    connection: Connection, corp_id: str, known_number: int
) -> CorpState | None:
    """Return at what the corp is, and whose change has a number above ``known_number``.

    In one statement, so that both are of one moment; ordered, so that the planner never walks all
    members to find that nobody changed. None for a corp that is not there or gone.
    """
    row = await connection.fetchrow(
        """
        SELECT last_change_number, visibility_number, feed_epoch,
               CASE WHEN last_change_number > $2 THEN ARRAY(
                   SELECT user_id
                     FROM directory.members
                    WHERE corp_id = $1 AND change_number > $2
                    ORDER BY change_number
                    LIMIT $3
               ) END AS changed
          FROM directory.corps
         WHERE corp_id = $1 AND delete_time IS NULL
        """,
        corp_id,
        known_number,
        MAX_CHANGED + 1,
    )
    if row is None:
        return None
    *numbers, changed = row
    return CorpState(CorpNumbers(*numbers), changed or (), len(changed or ()) <= MAX_CHANGED)


async def find_present(connection: Connection, corp_id: str, user_ids: Collection[str]) -> set[str]:
    """Return which of the user ids are members', neither disabled nor gone."""
    return await _find_in_states(connection, corp_id, user_ids, PRESENT_STATES)


async def find_listed(connection: Connection, corp_id: str, user_ids: Collection[str]) -> set[str]:
    """Return which of the user ids are members' who have not left."""
    return await _find_in_states(connection, corp_id, user_ids, LISTED_STATES)


async def _find_in_states(
    connection: Connection,
    corp_id: str,
    user_ids: Collection[str],
    states: Collection[MemberState],
) -> set[str]:
    records = await connection.fetch(
        """
        SELECT user_id
          FROM directory.members
         WHERE corp_id = $1 AND user_id = ANY($2::text[]) AND state = ANY($3::text[])
        """,
        corp_id,
        list(user_ids),
        list(states),
    )
    return {record["user_id"] for record in records}


async def find_in_department(
    connection: Connection, corp_id: str, department_id: int, user_ids: Collection[str]
) -> set[str]:
    """Return which of the user ids are of members of the department."""
    records = await connection.fetch(
        """
        SELECT user_id
          FROM directory.member_departments
         WHERE corp_id = $1 AND department_id = $2 AND user_id = ANY($3::text[])
        """,
        corp_id,
        department_id,
        list(user_ids),
    )
    return {record["user_id"] for record in records}


async def list_members(
    connection: Connection,
    corp_id: str,
    *,
    viewer: Viewer,
    states: Collection[MemberState],
    after_user_id: str,
    limit: int,
) -> list[Member]:
    """Return the members that the viewer sees by user id, from behind ``after_user_id`` on."""
    condition, parameters = member_filter(viewer, 5, "members")
    records = await connection.fetch(
        _SELECT
        + f"""
        WHERE corp_id = $1 AND user_id > $2 AND state = ANY($3::text[]) AND {condition}
        ORDER BY user_id
        LIMIT $4
        """,
        corp_id,
        after_user_id,
        list(states),
        limit,
        *parameters,
    )
    return [_to_member(*record.values()) for record in records]


async def list_members_of(
    connection: Connection,
    corp_id: str,
    department_ids: Sequence[int],
    *,
    viewer: Viewer,
    states: Collection[MemberState],
    after_user_id: str,
    limit: int,
) -> list[Member]:
    """Return the members of any of the departments, as ``list_members`` does."""
    condition, parameters = member_filter(viewer, 6, "members")
    records = await connection.fetch(
        f"""
        {_SELECT}
        WHERE corp_id = $1 AND user_id > $2 AND state = ANY($3::text[])
          AND user_id IN (SELECT user_id
                            FROM directory.member_departments
                           WHERE corp_id = $1 AND department_id = ANY($5::bigint[])
                             AND user_id > $2)
          AND {condition}
        ORDER BY user_id
        LIMIT $4
        """,  # noqa: S608 -- constants of the code
        corp_id,
        after_user_id,
        list(states),
        limit,
        list(department_ids),
        *parameters,
    )
    return [_to_member(*record.values()) for record in records]


async def list_member_ids(
    connection: Connection, corp_id: str, *, viewer: Viewer, after: tuple[str, int], limit: int
) -> list[tuple[str, int]]:
    """Return user ids that the viewer sees with one department each, from behind ``after`` on.

    Departments that are not shown to the viewer are left out.
    """
    shown, department_ids = department_filter(viewer, 5)
    condition, parameters = member_filter(viewer, 5 + len(department_ids), "listed")
    records = await connection.fetch(
        f"""
        SELECT user_id, department_id
          FROM directory.member_departments AS listed
         WHERE corp_id = $1 AND (user_id, department_id) > ($2, $3)
           AND {shown} AND {condition}
         ORDER BY user_id, department_id
         LIMIT $4
        """,  # noqa: S608 -- constants of the code
        corp_id,
        *after,
        limit,
        *department_ids,
        *parameters,
    )
    return [(record["user_id"], record["department_id"]) for record in records]


async def find_taken(
    connection: Connection,
    corp_id: str,
    *,
    mobiles: Collection[str],
    emails: Collection[str],
    biz_emails: Collection[str],
    but_user_ids: Collection[str],
) -> set[tuple[str, str]]:
    """Return which numbers and addresses others have, each with its field's name.

    Addresses are compared, and come back, in lower case.
    """
    records = await connection.fetch(
        """
        SELECT 'mobile' AS field, mobile AS value
          FROM directory.members
         WHERE corp_id = $1 AND mobile <> '' AND mobile = ANY($2::text[])
           AND user_id <> ALL($5::text[])
         UNION ALL
        SELECT 'email', lower(email)
          FROM directory.members
         WHERE corp_id = $1 AND email <> '' AND lower(email) = ANY($3::text[])
           AND user_id <> ALL($5::text[])
         UNION ALL
        SELECT 'biz_email', lower(biz_email)
          FROM directory.members
         WHERE corp_id = $1 AND biz_email <> '' AND lower(biz_email) = ANY($4::text[])
           AND user_id <> ALL($5::text[])
        """,
        corp_id,
        list(mobiles),
        [email.lower() for email in emails],
        [email.lower() for email in biz_emails],
        list(but_user_ids),
    )
    return {(record["field"], record["value"]) for record in records}


async def find_leader_cycle(
    connection: Connection, corp_id: str, user_ids: Collection[str]
) -> str | None:
    """Return one of the members who reports to himself or herself through others, or None."""
    user_id: str | None = await connection.fetchval(
        """
        WITH RECURSIVE above AS (
            SELECT user_id AS start_id, direct_leader AS leader_id
              FROM directory.members
             WHERE corp_id = $1 AND user_id = ANY($2::text[]) AND direct_leader <> ''
             UNION
            SELECT above.start_id, member.direct_leader
              FROM above
              JOIN directory.members AS member
                ON member.corp_id = $1 AND member.user_id = above.leader_id
             WHERE member.direct_leader <> '' AND above.leader_id <> above.start_id
        )
        SELECT start_id FROM above WHERE leader_id = start_id ORDER BY start_id LIMIT 1
        """,
        corp_id,
        list(user_ids),
    )
    return user_id


def _to_member(*columns: Any) -> Member:
    *values, department_ids, orders, are_leader = columns
    values[16] = MemberState(values[16])
    if not department_ids:
        return Member(*values)
    departments = zip(department_ids, orders, are_leader, strict=True)
    values.append(tuple(MemberDepartment(*at) for at in departments))
    return Member(*values)


async def find_by_contact(
    connection: Connection, corp_id: str, *, mobile: str, email: str
) -> list[str]:
    """Return who has the number, or the address, and is neither disabled nor gone."""
    records = await connection.fetch(
        """
        SELECT user_id
          FROM directory.members
         WHERE corp_id = $1 AND mobile = $2 AND mobile <> ''
           AND state IN ('invited', 'active')
         UNION
        SELECT user_id
          FROM directory.members
         WHERE corp_id = $1 AND lower(email) = lower($3) AND email <> ''
           AND state IN ('invited', 'active')
        """,
        corp_id,
        mobile,
        email,
    )
    return [record["user_id"] for record in records]
