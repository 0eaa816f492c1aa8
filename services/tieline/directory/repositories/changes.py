"""The SQL of the feed of changes. The caller owns the transaction."""

import datetime as dt

from tieline.chassis.postgres import Connection
from tieline.directory.changes.rules import ChangedRow, Cursor, FeedState


async def find_feed_state(connection: Connection, corp_id: str) -> FeedState | None:
    """Return where the corp's feed stands; None for a corp that has not arrived here."""
    record = await connection.fetchrow(
        """
        SELECT create_time, feed_epoch, last_change_number, removals_purged_through
          FROM directory.corps
         WHERE corp_id = $1
        """,
        corp_id,
    )
    if record is None:
        return None
    create_time, feed_epoch, last_change_number, removals_purged_through = record
    # A corp that was purged and made again has begun its numbers anew.
    epoch = f"{create_time.timestamp():.6f}/{feed_epoch}"
    return FeedState(epoch, last_change_number, removals_purged_through)


async def list_changed_rows(
    connection: Connection, corp_id: str, cursor: Cursor, *, limit: int
) -> list[ChangedRow]:
    """Return what changed behind the cursor, in the order of the changes.

    Each branch reads its index from the cursor on and ends at the limit, so that a page costs the
    same wherever it begins.
    """
    records = await connection.fetch(
        """
        SELECT kind, change_number, resource_id, is_removal
          FROM (
                (SELECT 'department' AS kind, change_number, department_id::text AS resource_id,
                        false AS is_removal
                   FROM directory.departments
                  WHERE corp_id = $1 AND change_number > $2
                  ORDER BY change_number
                  LIMIT $4)
                 UNION ALL
                (SELECT 'member', change_number, user_id, state = 'left'
                   FROM directory.members
                  WHERE corp_id = $1 AND change_number > $2
                    AND (state <> 'left' OR change_number > $3)
                  ORDER BY change_number
                  LIMIT $4)
                 UNION ALL
                (SELECT 'tag', change_number, tag_id::text, false
                   FROM directory.tags
                  WHERE corp_id = $1 AND change_number > $2
                  ORDER BY change_number
                  LIMIT $4)
                 UNION ALL
                (SELECT 'tag_member', change_number, tag_id || '/' || user_id, false
                   FROM directory.tag_members
                  WHERE corp_id = $1 AND change_number > $2
                  ORDER BY change_number
                  LIMIT $4)
                 UNION ALL
                (SELECT 'tag_department', change_number, tag_id || '/' || department_id, false
                   FROM directory.tag_departments
                  WHERE corp_id = $1 AND change_number > $2
                  ORDER BY change_number
                  LIMIT $4)
                 UNION ALL
                (SELECT kind, change_number, resource_id, true
                   FROM directory.removals
                  WHERE corp_id = $1 AND change_number > $3
                  ORDER BY change_number
                  LIMIT $4)
               ) AS change
         ORDER BY change_number
         LIMIT $4
        """,
        corp_id,
        cursor.change_number,
        cursor.removals_after,
        limit,
    )
    return [ChangedRow(*record) for record in records]


async def list_old_removals(
    connection: Connection, removed_before: dt.datetime, *, limit: int
) -> dict[str, int]:
    """Return the corps of the oldest removals, each with the number to forget them through."""
    records = await connection.fetch(
        """
        SELECT corp_id, max(change_number) AS through
          FROM (SELECT corp_id, change_number
                  FROM directory.removals
                 WHERE remove_time < $1
                 ORDER BY remove_time
                 LIMIT $2) AS removal
         GROUP BY corp_id
        """,
        removed_before,
        limit,
    )
    return {record["corp_id"]: record["through"] for record in records}


async def forget_removals(connection: Connection, corp_id: str, through: int) -> None:
    """Forget the corp's removals up to a number, and remember that they are forgotten."""
    await connection.execute(
        """
        UPDATE directory.corps
           SET removals_purged_through = greatest(removals_purged_through, $2)
         WHERE corp_id = $1
        """,
        corp_id,
        through,
    )
    await connection.execute(
        "DELETE FROM directory.removals WHERE corp_id = $1 AND change_number <= $2",
        corp_id,
        through,
    )
