"""The people of each corp."""

from collections.abc import Sequence

from tieline.chassis.postgres import Connection
from tieline.directory.departments import ROOT_DEPARTMENT_ID
from tieline.directory.members import Member, fold


async def insert_owner(connection: Connection, corp_id: str, user_id: str, name: str) -> None:
    """Add the corp's first member to the root department; a repeat changes nothing."""
    await connection.execute(
        """
        INSERT INTO directory.members (corp_id, user_id, name, name_folded, department_id)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT DO NOTHING
        """,
        corp_id,
        user_id,
        name,
        fold(name),
        ROOT_DEPARTMENT_ID,
    )


async def find_members(
    connection: Connection, corp_id: str, user_ids: Sequence[str]
) -> dict[str, Member]:
    """Return those of the members that exist, by user id."""
    records = await connection.fetch(
        """
        SELECT user_id, name, department_id, position, mobile, email, create_time, update_time
          FROM directory.members
         WHERE corp_id = $1 AND user_id = ANY($2::text[])
        """,
        corp_id,
        list(user_ids),
    )
    return {record["user_id"]: Member(*record) for record in records}


async def find_present(connection: Connection, corp_id: str, user_ids: Sequence[str]) -> set[str]:
    """Return which of the user ids are members'."""
    records = await connection.fetch(
        """
        SELECT user_id
          FROM directory.members
         WHERE corp_id = $1 AND user_id = ANY($2::text[])
        """,
        corp_id,
        list(user_ids),
    )
    return {record["user_id"] for record in records}


async def list_members(
    connection: Connection, corp_id: str, *, department_id: int, after_user_id: str, limit: int
) -> list[Member]:
    """Return members by user id, from behind ``after_user_id`` on."""
    if department_id:
        records = await connection.fetch(
            """
            SELECT user_id, name, department_id, position, mobile, email, create_time,
                   update_time
              FROM directory.members
             WHERE corp_id = $1 AND department_id = $2 AND user_id > $3
             ORDER BY user_id
             LIMIT $4
            """,
            corp_id,
            department_id,
            after_user_id,
            limit,
        )
    else:
        records = await connection.fetch(
            """
            SELECT user_id, name, department_id, position, mobile, email, create_time,
                   update_time
              FROM directory.members
             WHERE corp_id = $1 AND user_id > $2
             ORDER BY user_id
             LIMIT $3
            """,
            corp_id,
            after_user_id,
            limit,
        )
    return [Member(*record) for record in records]
