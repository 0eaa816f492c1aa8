"""Members who leave because a file does not name them."""

from collections.abc import Collection

from tieline.chassis.postgres import Connection


async def find_last_change_number(connection: Connection, corp_id: str) -> int:
    """Return the number of the corp's last committed change."""
    number: int = await connection.fetchval(
        "SELECT last_change_number FROM directory.corps WHERE corp_id = $1", corp_id
    )
    return number


async def count_listed(connection: Connection, corp_id: str) -> int:
    """Return how many members the corp has."""
    count: int = await connection.fetchval(
        "SELECT count(*) FROM directory.members WHERE corp_id = $1 AND state <> 'left'", corp_id
    )
    return count


async def find_listed(connection: Connection, corp_id: str, user_ids: Collection[str]) -> set[str]:
    """Return which of these are members of the corp."""
    rows = await connection.fetch(
        """
        SELECT user_id
          FROM directory.members
         WHERE corp_id = $1 AND user_id = ANY($2::text[]) AND state <> 'left'
        """,
        corp_id,
        list(user_ids),
    )
    return {row["user_id"] for row in rows}


async def list_unchanged(
    connection: Connection, corp_id: str, change_number: int, after_user_id: str, limit: int
) -> list[str]:
    """Return members by user id whose last change is not behind the number."""
    rows = await connection.fetch(
        """
        SELECT user_id
          FROM directory.members
         WHERE corp_id = $1 AND user_id > $2 AND change_number <= $3 AND state <> 'left'
         ORDER BY user_id
         LIMIT $4
        """,
        corp_id,
        after_user_id,
        change_number,
        limit,
    )
    return [row["user_id"] for row in rows]


async def list_still_unchanged(
    connection: Connection, corp_id: str, user_ids: Collection[str], change_number: int
) -> list[str]:
    """Return those of the members who are of the corp and were not changed behind the number."""
    rows = await connection.fetch(
        """
        SELECT user_id
          FROM directory.members
         WHERE corp_id = $1 AND user_id = ANY($2::text[]) AND change_number <= $3
           AND state <> 'left'
         ORDER BY user_id
        """,
        corp_id,
        list(user_ids),
        change_number,
    )
    return [row["user_id"] for row in rows]


async def find_owner(connection: Connection, corp_id: str) -> str:
    """Return the corp's owner; empty where it is not known."""
    owner: str = await connection.fetchval(
        "SELECT owner_user_id FROM directory.corps WHERE corp_id = $1", corp_id
    )
    return owner
