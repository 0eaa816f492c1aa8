"""The SQL that keeps the tables of messages in shape."""

import datetime as dt

from tieline.chassis.command_tags import count_rows
from tieline.chassis.postgres import Connection


class UpkeepRepository:
    """What keeps the tables of messages in shape."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def create_parts(self, *, months_ahead: int) -> int:
        """Make the parts of the months up to that one which are missing; return how many."""
        made: int = await self._connection.fetchval(
            "SELECT messaging.create_message_parts($1)", months_ahead
        )
        return made

    async def delete_old_sends(self, *, age: dt.timedelta, maximum_rows: int) -> int:
        """Forget sends of more than that age; return how many. Leaves alone what others delete."""
        tag = await self._connection.execute(
            """
            WITH old AS (
                SELECT corp_id, conversation_id, sender_kind, sender_id, client_message_id
                  FROM messaging.recent_sends
                 WHERE create_time < now() - $1::interval
                 ORDER BY create_time
                 LIMIT $2
                   FOR UPDATE SKIP LOCKED
            )
            DELETE FROM messaging.recent_sends
             USING old
             WHERE recent_sends.corp_id = old.corp_id
               AND recent_sends.conversation_id = old.conversation_id
               AND recent_sends.sender_kind = old.sender_kind
               AND recent_sends.sender_id = old.sender_id
               AND recent_sends.client_message_id = old.client_message_id
            """,
            age,
            maximum_rows,
        )
        return count_rows(tag)
