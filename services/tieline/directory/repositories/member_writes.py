"""The people of each corp: writing them. The caller holds the corp's lock.

Rows are numbered in the order in which they are given.
"""

from collections.abc import Collection, Sequence

from tieline.chassis.postgres import Connection
from tieline.directory.departments.rules import ROOT_DEPARTMENT_ID
from tieline.directory.members.rules import Member, MemberState
from tieline.directory.repositories.corps import advance_change_number


async def insert_owner(connection: Connection, corp_id: str, user_id: str, name: str) -> None:
    """Add a new corp's first member to the root department."""
    change_number = await advance_change_number(connection, corp_id, 1)
    await connection.execute(
        """
        INSERT INTO directory.members
               (corp_id, user_id, name, department_id, change_number)
        VALUES ($1, $2, $3, $4, $5)
        """,
        corp_id,
        user_id,
        name,
        ROOT_DEPARTMENT_ID,
        change_number,
    )
    await connection.execute(
        """
        INSERT INTO directory.member_departments (corp_id, user_id, department_id)
        VALUES ($1, $2, $3)
        """,
        corp_id,
        user_id,
        ROOT_DEPARTMENT_ID,
    )


async def clear_unique_values(
    connection: Connection, corp_id: str, user_ids: Collection[str]
) -> None:
    """Free the numbers and addresses of members who are written next, so that they may swap."""
    await connection.execute(
        """
        UPDATE directory.members
           SET mobile = '', email = '', biz_email = ''
         WHERE corp_id = $1 AND user_id = ANY($2::text[])
        """,
        corp_id,
        list(user_ids),
    )


async def upsert_members(
    connection: Connection, corp_id: str, members: Sequence[Member], first_change_number: int
) -> None:
    """Add members, or write them over those of the same user ids, gone ones included."""
    await connection.execute(
        """
        INSERT INTO directory.members
               (corp_id, user_id, name, department_id, position, mobile, email, alias,
                gender, telephone, biz_email, address, avatar_media_id, direct_leader,
                external_position, external_profile, extended_attributes, state, activate_time,
                change_number)
        SELECT $1, user_id, name, department_id, position, mobile, email, alias,
               gender, telephone, biz_email, address, avatar_media_id, direct_leader,
               external_position, external_profile, extended_attributes, state, activate_time,
               $2 + row_number - 1
          FROM unnest($3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::text[],
                      $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[],
                      $15::text[], $16::text[], $17::bytea[], $18::jsonb[], $19::text[],
                      $20::timestamptz[])
               WITH ORDINALITY
               AS member (user_id, name, department_id, position, mobile, email,
                          alias, gender, telephone, biz_email, address, avatar_media_id,
                          direct_leader, external_position, external_profile,
                          extended_attributes, state, activate_time, row_number)
        ON CONFLICT ON CONSTRAINT members_pkey
        DO UPDATE SET
               name = excluded.name,
               department_id = excluded.department_id,
               position = excluded.position,
               mobile = excluded.mobile,
               email = excluded.email,
               alias = excluded.alias,
               gender = excluded.gender,
               telephone = excluded.telephone,
               biz_email = excluded.biz_email,
               address = excluded.address,
               avatar_media_id = excluded.avatar_media_id,
               direct_leader = excluded.direct_leader,
               external_position = excluded.external_position,
               external_profile = excluded.external_profile,
               extended_attributes = excluded.extended_attributes,
               state = excluded.state,
               activate_time = excluded.activate_time,
               change_number = excluded.change_number,
               -- Who comes back begins anew.
               create_time = CASE
                   WHEN members.state = 'left' THEN now()
                   ELSE members.create_time
               END,
               leave_time = NULL,
               update_time = now()
        """,
        corp_id,
        first_change_number,
        [member.user_id for member in members],
        [member.name for member in members],
        [member.department_id for member in members],
        [member.position for member in members],
        [member.mobile for member in members],
        [member.email for member in members],
        [member.alias for member in members],
        [member.gender for member in members],
        [member.telephone for member in members],
        [member.biz_email for member in members],
        [member.address for member in members],
        [member.avatar_media_id for member in members],
        [member.direct_leader for member in members],
        [member.external_position for member in members],
        [member.external_profile for member in members],
        [member.extended_attributes for member in members],
        [member.state for member in members],
        [member.activate_time for member in members],
    )


async def replace_departments(
    connection: Connection, corp_id: str, members: Sequence[Member]
) -> None:
    """Have the members be in the departments that they name, and in no others."""
    rows = [(member.user_id, *at) for member in members for at in member.departments]
    user_ids = [row[0] for row in rows]
    department_ids = [row[1] for row in rows]
    await connection.execute(
        """
        DELETE FROM directory.member_departments
         WHERE corp_id = $1 AND user_id = ANY($2::text[])
           AND NOT EXISTS (SELECT
                             FROM unnest($3::text[], $4::bigint[]) AS kept (user_id, department_id)
                            WHERE kept.user_id = member_departments.user_id
                              AND kept.department_id = member_departments.department_id)
        """,
        corp_id,
        [member.user_id for member in members],
        user_ids,
        department_ids,
    )
    await connection.execute(
        """
        INSERT INTO directory.member_departments
               (corp_id, user_id, department_id, member_order, is_leader)
        SELECT $1, user_id, department_id, member_order, is_leader
          FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::boolean[])
               AS at (user_id, department_id, member_order, is_leader)
        ON CONFLICT ON CONSTRAINT member_departments_pkey
        DO UPDATE SET member_order = excluded.member_order, is_leader = excluded.is_leader
        """,
        corp_id,
        user_ids,
        department_ids,
        [row[2] for row in rows],
        [row[3] for row in rows],
    )


async def replace_leadership(
    connection: Connection, corp_id: str, members: Sequence[Member]
) -> list[int]:
    """Have the members lead what they are marked as leaders of; return what leads otherwise now.

    Who comes to lead a department stands behind those who do already.
    """
    rows = [
        (member.user_id, at.department_id)
        for member in members
        for at in member.departments
        if at.is_leader
    ]
    user_ids = [row[0] for row in rows]
    department_ids = [row[1] for row in rows]
    dismissed = await connection.fetch(
        """
        DELETE FROM directory.department_leaders
         WHERE corp_id = $1 AND user_id = ANY($2::text[])
           AND NOT EXISTS (SELECT
                             FROM unnest($3::text[], $4::bigint[]) AS kept (user_id, department_id)
                            WHERE kept.user_id = department_leaders.user_id
                              AND kept.department_id = department_leaders.department_id)
        RETURNING department_id
        """,
        corp_id,
        [member.user_id for member in members],
        user_ids,
        department_ids,
    )
    appointed = await connection.fetch(
        """
        INSERT INTO directory.department_leaders (corp_id, department_id, user_id, leader_order)
        SELECT $1, leader.department_id, leader.user_id,
               leader.row_number
               + coalesce((SELECT max(leader_order)
                             FROM directory.department_leaders AS before
                            WHERE before.corp_id = $1
                              AND before.department_id = leader.department_id), 0)
          FROM unnest($2::text[], $3::bigint[]) WITH ORDINALITY
               AS leader (user_id, department_id, row_number)
        ON CONFLICT ON CONSTRAINT department_leaders_pkey DO NOTHING
        RETURNING department_id
        """,
        corp_id,
        user_ids,
        department_ids,
    )
    return sorted({record["department_id"] for record in [*dismissed, *appointed]})


async def set_state(
    connection: Connection, corp_id: str, user_id: str, state: MemberState, change_number: int
) -> None:
    """Disable a member, or end that."""
    await connection.execute(
        """
        UPDATE directory.members
           SET state = $3, change_number = $4, update_time = now()
         WHERE corp_id = $1 AND user_id = $2
        """,
        corp_id,
        user_id,
        state,
        change_number,
    )


async def activate(connection: Connection, corp_id: str, user_id: str, change_number: int) -> None:
    """Note that the member accepted an invitation; who is disabled stays so."""
    await connection.execute(
        """
        UPDATE directory.members
           SET state = CASE WHEN state = 'invited' THEN 'active' ELSE state END,
               activate_time = now(), change_number = $3, update_time = now()
         WHERE corp_id = $1 AND user_id = $2
        """,
        corp_id,
        user_id,
        change_number,
    )


async def touch_members(
    connection: Connection, corp_id: str, user_ids: Sequence[str], first_change_number: int
) -> None:
    """Number a change of members whose own rows stay as they are."""
    await connection.execute(
        """
        UPDATE directory.members
           SET change_number = $3 + touched.row_number - 1, update_time = now()
          FROM unnest($2::text[]) WITH ORDINALITY AS touched (touched_id, row_number)
         WHERE corp_id = $1 AND user_id = touched.touched_id
        """,
        corp_id,
        list(user_ids),
        first_change_number,
    )
