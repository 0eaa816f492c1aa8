"""The SQL of the task ids of apps' cards."""

import datetime as dt
from collections.abc import Collection
from typing import NamedTuple

from tieline.chassis.command_tags import count_rows
from tieline.chassis.postgres import Connection


class CardTask(NamedTuple):
    """What names a card among those of its app. Rows are locked in this order."""

    corp_id: str
    app_id: str
    task_id: str


async def claim_tasks(connection: Connection, tasks: Collection[CardTask]) -> frozenset[CardTask]:
    """Give these to the cards of the caller's transaction; return those that were free.

    Waits for transactions that are just claiming one of them.
    """
    ordered = sorted(tasks)
    rows = await connection.fetch(
        """
        INSERT INTO messaging.card_tasks (corp_id, app_id, task_id)
        SELECT corp_id, app_id, task_id
          FROM unnest($1::text[], $2::text[], $3::text[]) AS wanted (corp_id, app_id, task_id)
        ON CONFLICT ON CONSTRAINT card_tasks_pkey DO NOTHING
        RETURNING corp_id, app_id, task_id
        """,
        [task.corp_id for task in ordered],
        [task.app_id for task in ordered],
        [task.task_id for task in ordered],
    )
    return frozenset(CardTask(*row) for row in rows)


async def delete_old_tasks(connection: Connection, *, age: dt.timedelta, maximum_rows: int) -> int:
    """Forget task ids of more than that age; return how many. Leaves alone what others delete."""
    tag = await connection.execute(
        """
        WITH old AS (
            SELECT corp_id, app_id, task_id
              FROM messaging.card_tasks
             WHERE create_time < now() - $1::interval
             ORDER BY create_time
             LIMIT $2
               FOR UPDATE SKIP LOCKED
        )
        DELETE FROM messaging.card_tasks
         USING old
         WHERE card_tasks.corp_id = old.corp_id
           AND card_tasks.app_id = old.app_id
           AND card_tasks.task_id = old.task_id
        """,
        age,
        maximum_rows,
    )
    return count_rows(tag)
