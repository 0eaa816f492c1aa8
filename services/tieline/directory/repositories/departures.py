"""Members who leave: what they had goes, who they were stays. The caller holds the corp's lock."""

from collections.abc import Sequence

from tieline.chassis.postgres import Connection
from tieline.directory.departments.rules import ROOT_DEPARTMENT_ID


async def find_reports(connection: Connection, corp_id: str, leaders: Sequence[str]) -> list[str]:
    """Return those who report to any of the leaders and are none of them."""
    records = await connection.fetch(
        """
        SELECT user_id
          FROM directory.members
         WHERE corp_id = $1 AND direct_leader <> '' AND direct_leader = ANY($2::text[])
        """,
        corp_id,
        list(leaders),
    )
    return sorted({record["user_id"] for record in records} - set(leaders))


async def clear_direct_leader(
    connection: Connection, corp_id: str, user_ids: Sequence[str]
) -> None:
    """Have these members report to nobody."""
    await connection.execute(
        """
        UPDATE directory.members
           SET direct_leader = ''
         WHERE corp_id = $1 AND user_id = ANY($2::text[])
        """,
        corp_id,
        list(user_ids),
    )


async def mark_left(
    connection: Connection, corp_id: str, user_ids: Sequence[str], first_change_number: int
) -> None:
    """Clear what only members have, and keep by what others know who it was.

    The root as main department keeps no other department from being deleted.
    """
    await connection.execute(
        """
        UPDATE directory.members
           SET state = 'left', leave_time = now(), department_id = $4, mobile = '', email = '',
               biz_email = '', telephone = '', address = '', direct_leader = '',
               external_position = '', external_profile = '', extended_attributes = '{}',
               activate_time = NULL, change_number = $3 + gone.row_number - 1, update_time = now()
          FROM unnest($2::text[]) WITH ORDINALITY AS gone (gone_id, row_number)
         WHERE corp_id = $1 AND user_id = gone.gone_id
        """,
        corp_id,
        list(user_ids),
        first_change_number,
        ROOT_DEPARTMENT_ID,
    )
    await connection.execute(
        "DELETE FROM directory.member_departments WHERE corp_id = $1 AND user_id = ANY($2::text[])",
        corp_id,
        list(user_ids),
    )


async def remove_leadership(
    connection: Connection, corp_id: str, user_ids: Sequence[str]
) -> list[int]:
    """Have these members lead nothing; return what they led."""
    records = await connection.fetch(
        """
        DELETE FROM directory.department_leaders
         WHERE corp_id = $1 AND user_id = ANY($2::text[])
        RETURNING department_id
        """,
        corp_id,
        list(user_ids),
    )
    return sorted({record["department_id"] for record in records})
