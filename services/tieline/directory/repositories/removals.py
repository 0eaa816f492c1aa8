"""Members who leave because a file does not name them."""

from collections.abc import Collection, Sequence

from tieline.api.directory.v1 import directory_pb2
from tieline.chassis.outbox import build_event, insert_events
from tieline.chassis.postgres import Connection
from tieline.directory.repositories import SCHEMA, corps

MEMBER_LEFT = "tieline.directory.v1.member_left"

# 64 bytes a user id and a few for framing: an eighth of what an event may have.
_EVENT_USER_IDS = 1000


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


async def remove_members(
    connection: Connection, corp_id: str, user_ids: Sequence[str], change_number: int
) -> int:
    """Have those of the members leave who were not changed behind the number; return how many.

    The caller's transaction takes the corp's lock here.
    """
    await corps.lock_corp(connection, corp_id)
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
    leaving = [row["user_id"] for row in rows]
    if leaving:
        await _leave(connection, corp_id, leaving)
    return len(leaving)


async def _leave(connection: Connection, corp_id: str, user_ids: Sequence[str]) -> None:
    first = await corps.advance_change_number(connection, corp_id, len(user_ids))
    await connection.execute(
        """
        UPDATE directory.members
           SET state = 'left', leave_time = now(), department_id = 1, mobile = '', email = '',
               biz_email = '', telephone = '', address = '', direct_leader = '',
               change_number = $3 + gone.row_number - 1, update_time = now()
          FROM unnest($2::text[]) WITH ORDINALITY AS gone (gone_id, row_number)
         WHERE corp_id = $1 AND user_id = gone.gone_id
        """,
        corp_id,
        list(user_ids),
        first,
    )
    await connection.execute(
        "DELETE FROM directory.member_departments WHERE corp_id = $1 AND user_id = ANY($2::text[])",
        corp_id,
        list(user_ids),
    )
    events = [
        build_event(
            MEMBER_LEFT,
            corp_id,
            corp_id,
            directory_pb2.MemberLeft(
                corp_id=corp_id, user_ids=user_ids[start : start + _EVENT_USER_IDS]
            ),
        )
        for start in range(0, len(user_ids), _EVENT_USER_IDS)
    ]
    await insert_events(connection, SCHEMA, events)
