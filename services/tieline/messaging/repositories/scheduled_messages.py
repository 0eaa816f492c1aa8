"""The SQL of scheduled messages."""

import datetime as dt
from collections.abc import Collection, Sequence
from typing import NamedTuple

from tieline.chassis.postgres import Connection, Record
from tieline.messaging.conversations.rules import Participant
from tieline.messaging.repositories.participants import UserKey
from tieline.messaging.repositories.statements import lock_name, qualify
from tieline.messaging.scheduled_messages.rules import ScheduledMessage, State

_COLUMNS = """
    corp_id, scheduled_message_id, conversation_id, sender_kind, sender_id, content, schedule,
    state, next_send_time, sent_count, last_send_time, failure, version, create_time
"""


class NewScheduledMessage(NamedTuple):
    """A message to be scheduled, checked."""

    corp_id: str
    scheduled_message_id: str
    conversation_id: str
    sender: Participant
    content: bytes
    schedule: bytes
    next_send_time: dt.datetime


class ScheduledMessageRepository:
    """Scheduled messages."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def read_time(self) -> dt.datetime:
        """Return the time of the transaction, by the database's clock."""
        now: dt.datetime = await self._connection.fetchval("SELECT now()")
        return now

    async def count_active(self, sender: UserKey) -> int:
        """Return how many of a person's are active; until the transaction ends none is added.

        By another transaction that counts first, as everybody does.
        """
        corp_id, participant = sender
        await lock_name(
            self._connection, f"scheduled_messages {corp_id} {participant.kind} {participant.id}"
        )
        count: int = await self._connection.fetchval(
            """
            SELECT count(*)
              FROM messaging.scheduled_messages
             WHERE corp_id = $1 AND sender_kind = $2 AND sender_id = $3 AND state = 'active'
            """,
            corp_id,
            *participant,
        )
        return count

    async def insert(self, new: NewScheduledMessage) -> ScheduledMessage:
        """Add an active one."""
        row = await self._connection.fetchrow(
            f"""
            INSERT INTO messaging.scheduled_messages
                   (corp_id, scheduled_message_id, conversation_id, sender_kind, sender_id, content,
                    schedule, next_send_time)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
            RETURNING {_COLUMNS}
            """,  # noqa: S608 -- columns are named by the code
            new.corp_id,
            new.scheduled_message_id,
            new.conversation_id,
            *new.sender,
            new.content,
            new.schedule,
            new.next_send_time,
        )
        assert row is not None, "an INSERT returns its row"
        return _read(row)

    async def keep_media(
        self, corp_id: str, scheduled_message_id: str, media_ids: Collection[str]
    ) -> None:
        """Have these media stay until it ends, and no others; the caller holds their locks."""
        await self._connection.execute(
            """
            DELETE FROM messaging.scheduled_media
             WHERE corp_id = $1 AND scheduled_message_id = $2
            """,
            corp_id,
            scheduled_message_id,
        )
        await self._connection.execute(
            """
            INSERT INTO messaging.scheduled_media (corp_id, media_id, scheduled_message_id)
            SELECT DISTINCT $1, media_id, $2
              FROM unnest($3::uuid[]) AS kept (media_id)
            """,
            corp_id,
            scheduled_message_id,
            list(media_ids),
        )

    async def find(
        self, sender: UserKey, scheduled_message_id: str, *, locks: bool = False
    ) -> ScheduledMessage | None:
        """Return one of a person's, or None; locked until the transaction ends where asked for."""
        corp_id, participant = sender
        row = await self._connection.fetchrow(
            f"""
            SELECT {_COLUMNS}
              FROM messaging.scheduled_messages
             WHERE corp_id = $1 AND scheduled_message_id = $2
               AND sender_kind = $3 AND sender_id = $4
            {"FOR UPDATE" if locks else ""}
            """,  # noqa: S608 -- columns are named by the code
            corp_id,
            scheduled_message_id,
            *participant,
        )
        return None if row is None else _read(row)

    async def list_of(
        self,
        sender: UserKey,
        *,
        conversation_id: str,
        shows_ended: bool,
        before_id: str,
        limit: int,
    ) -> Sequence[ScheduledMessage]:
        """Return a person's, the newest first, from behind ``before_id`` (empty: all) on."""
        corp_id, participant = sender
        rows = await self._connection.fetch(
            f"""
            SELECT {_COLUMNS}
              FROM messaging.scheduled_messages
             WHERE corp_id = $1 AND sender_kind = $2 AND sender_id = $3
               AND ($4 = '' OR conversation_id = $4)
               AND ($5 OR state = 'active')
               AND ($6 = '' OR scheduled_message_id < $6)
             ORDER BY scheduled_message_id DESC
             LIMIT $7
            """,  # noqa: S608 -- columns are named by the code
            corp_id,
            *participant,
            conversation_id,
            shows_ended,
            before_id,
            limit,
        )
        return [_read(row) for row in rows]

    async def claim_due(self, *, lease: dt.timedelta, limit: int) -> Sequence[ScheduledMessage]:
        """Take those that are due and that no replica has taken, those due longest first.

        Those of suspended corps wait.
        """
        rows = await self._connection.fetch(
            f"""
            WITH due AS (
                SELECT corp_id, scheduled_message_id
                  FROM messaging.scheduled_messages
                 WHERE state = 'active' AND next_send_time <= now() AND claimed_until < now()
                   AND NOT EXISTS (
                       SELECT FROM messaging.corps
                        WHERE corps.corp_id = scheduled_messages.corp_id
                          AND (corps.is_suspended OR corps.delete_time IS NOT NULL))
                 ORDER BY next_send_time
                 LIMIT $2
                   FOR UPDATE SKIP LOCKED
            )
            UPDATE messaging.scheduled_messages
               SET claimed_until = now() + $1::interval
              FROM due
             WHERE scheduled_messages.corp_id = due.corp_id
               AND scheduled_messages.scheduled_message_id = due.scheduled_message_id
            RETURNING {qualify("scheduled_messages", _COLUMNS)}
            """,  # noqa: S608 -- columns are named by the code
            lease,
            limit,
        )
        return [_read(row) for row in rows]

    async def lock_unchanged(self, messages: Collection[ScheduledMessage]) -> set[ScheduledMessage]:
        """Lock those that are as they were read, until the transaction ends; return them."""
        rows = await self._connection.fetch(
            """
            SELECT corp_id, scheduled_message_id, version
              FROM messaging.scheduled_messages
             WHERE (corp_id, scheduled_message_id) IN (
                   SELECT * FROM unnest($1::text[], $2::text[]))
             ORDER BY corp_id, scheduled_message_id
               FOR NO KEY UPDATE
            """,
            [message.corp_id for message in messages],
            [message.scheduled_message_id for message in messages],
        )
        # Compared here: the condition of a row that was waited for would be that of before.
        locked = {tuple(row) for row in rows}
        return {
            message
            for message in messages
            if (message.corp_id, message.scheduled_message_id, message.version) in locked
        }

    async def update(self, message: ScheduledMessage) -> ScheduledMessage:
        """Write what may change of a locked one, under the next version; gives up a claim on it.

        What has ended lets its media go.
        """
        row = await self._connection.fetchrow(
            f"""
            WITH released AS (
                DELETE FROM messaging.scheduled_media
                 WHERE corp_id = $1 AND scheduled_message_id = $2 AND $5 <> 'active'
            )
            UPDATE messaging.scheduled_messages
               SET content = $3, schedule = $4, state = $5, next_send_time = $6, sent_count = $7,
                   last_send_time = $8, failure = $9, version = version + 1,
                   claimed_until = '-infinity'
             WHERE corp_id = $1 AND scheduled_message_id = $2
            RETURNING {_COLUMNS}
            """,  # noqa: S608 -- columns are named by the code
            message.corp_id,
            message.scheduled_message_id,
            message.content,
            message.schedule,
            message.state,
            message.next_send_time,
            message.sent_count,
            message.last_send_time,
            message.failure,
        )
        assert row is not None, "the row is locked"
        return _read(row)

    async def cancel_all_of(self, corp_id: str, user_ids: Collection[str]) -> None:
        """End all active ones of these members; their media may go."""
        await self._connection.execute(
            """
            WITH active AS (
                SELECT scheduled_message_id
                  FROM messaging.scheduled_messages
                 WHERE corp_id = $1 AND sender_kind = 'member' AND sender_id = ANY ($2::text[])
                   AND state = 'active'
                 ORDER BY scheduled_message_id
                   FOR UPDATE
            ), released AS (
                DELETE FROM messaging.scheduled_media
                 USING active
                 WHERE scheduled_media.corp_id = $1
                   AND scheduled_media.scheduled_message_id = active.scheduled_message_id
            )
            UPDATE messaging.scheduled_messages
               SET state = 'cancelled', next_send_time = NULL, version = version + 1,
                   claimed_until = '-infinity'
              FROM active
             WHERE scheduled_messages.corp_id = $1
               AND scheduled_messages.scheduled_message_id = active.scheduled_message_id
            """,
            corp_id,
            list(user_ids),
        )


def _read(row: Record) -> ScheduledMessage:
    return ScheduledMessage(
        corp_id=row["corp_id"],
        scheduled_message_id=row["scheduled_message_id"],
        conversation_id=row["conversation_id"],
        sender=Participant(row["sender_kind"], row["sender_id"]),
        content=row["content"],
        schedule=row["schedule"],
        state=State(row["state"]),
        next_send_time=row["next_send_time"],
        sent_count=row["sent_count"],
        last_send_time=row["last_send_time"],
        failure=row["failure"],
        version=row["version"],
        create_time=row["create_time"],
    )
