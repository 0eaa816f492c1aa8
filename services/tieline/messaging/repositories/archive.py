"""The SQL of the archive."""

import datetime as dt
from collections.abc import Sequence

from tieline.chassis.postgres import Connection
from tieline.messaging.compliance.archive import ArchivedMessage, ArchivePosition
from tieline.messaging.messages.rules import StoredMessage
from tieline.messaging.repositories.stored_messages import read_message


class ArchiveRepository:
    """All that was said in a corp, in the order of time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def find_settled_time(self) -> dt.datetime:
        """Return the time before which no message will be added any more.

        A message's time is that of a statement in its transaction, so that none is older than the
        oldest transaction of this service that is open. Ask this before listing: what ended in
        between is then seen.
        """
        time: dt.datetime = await self._connection.fetchval(
            """
            SELECT least(now(), min(xact_start))
              FROM pg_stat_activity
             WHERE usename = current_user AND datname = current_database()
            """
        )
        return time

    async def find_first_time(self, corp_id: str) -> dt.datetime | None:
        """Return a time before the corp's first message; None where nobody ever talked."""
        time: dt.datetime | None = await self._connection.fetchval(
            "SELECT min(create_time) FROM messaging.conversations WHERE corp_id = $1", corp_id
        )
        return time

    async def list_entries(
        self, corp_id: str, after: ArchivePosition, until: dt.datetime, *, limit: int
    ) -> Sequence[ArchivedMessage]:
        """Return what was stored behind a position and before a time, in order."""
        rows = await self._connection.fetch(
            """
            SELECT conversation_id, sequence, sender_kind, sender_id, client_message_id, content,
                   create_time, uncounted, edit_time, recall_time, original_content, is_held
              FROM (
                   SELECT conversation_id, sequence, sender_kind, sender_id, client_message_id,
                          content, create_time, uncounted, edit_time, recall_time,
                          original_content, false AS is_held
                     FROM messaging.stored_messages
                    WHERE corp_id = $1 AND create_time >= $2 AND create_time < $5
                    UNION ALL
                   SELECT conversation_id, sequence, sender_kind, sender_id, client_message_id,
                          content, create_time, uncounted, edit_time, recall_time,
                          original_content, true
                     FROM messaging.held_messages
                    WHERE corp_id = $1 AND create_time >= $2 AND create_time < $5
              ) AS entry
             WHERE (create_time, conversation_id, sequence) > ($2, $3, $4)
             ORDER BY create_time, conversation_id, sequence
             LIMIT $6
            """,
            corp_id,
            *after,
            until,
            limit,
        )
        messages = [
            (read_message((corp_id, row["conversation_id"]), row), row["is_held"]) for row in rows
        ]
        replaced = await self._list_replaced([message for message, _ in messages])
        return [
            ArchivedMessage(
                message, replaced.get((message.conversation_id, message.sequence), []), is_held
            )
            for message, is_held in messages
        ]

    async def _list_replaced(
        self, messages: Sequence[StoredMessage]
    ) -> dict[tuple[str, int], list[tuple[bytes, dt.datetime]]]:
        rows = await self._connection.fetch(
            """
            SELECT version.conversation_id, version.sequence, version.content,
                   version.replace_time
              FROM unnest($1::text[], $2::text[], $3::bigint[])
                   AS wanted (corp_id, conversation_id, sequence)
              JOIN messaging.message_versions AS version
                ON version.corp_id = wanted.corp_id
               AND version.conversation_id = wanted.conversation_id
               AND version.sequence = wanted.sequence
             ORDER BY version.replace_time
            """,
            [message.corp_id for message in messages],
            [message.conversation_id for message in messages],
            [message.sequence for message in messages],
        )
        replaced: dict[tuple[str, int], list[tuple[bytes, dt.datetime]]] = {}
        for row in rows:
            versions = replaced.setdefault((row["conversation_id"], row["sequence"]), [])
            versions.append((row["content"], row["replace_time"]))
        return replaced

    async def find_acknowledged(self, corp_id: str, consumer_id: str) -> ArchivePosition | None:
        """Return up to where a consumer has acknowledged."""
        row = await self._connection.fetchrow(
            """
            SELECT message_time, conversation_id, sequence
              FROM messaging.archive_consumers
             WHERE corp_id = $1 AND consumer_id = $2
            """,
            corp_id,
            consumer_id,
        )
        return None if row is None else ArchivePosition(*row)

    async def count_consumers(self, corp_id: str, *, but: str) -> int:
        """Return how many others read a corp's archive."""
        count: int = await self._connection.fetchval(
            """
            SELECT count(*)
              FROM messaging.archive_consumers
             WHERE corp_id = $1 AND consumer_id <> $2
            """,
            corp_id,
            but,
        )
        return count

    async def acknowledge(self, corp_id: str, consumer_id: str, position: ArchivePosition) -> None:
        """Keep where a consumer stands."""
        await self._connection.execute(
            """
            INSERT INTO messaging.archive_consumers
                   (corp_id, consumer_id, message_time, conversation_id, sequence)
            VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT ON CONSTRAINT archive_consumers_pkey
            DO UPDATE SET message_time = excluded.message_time,
                          conversation_id = excluded.conversation_id,
                          sequence = excluded.sequence,
                          update_time = now()
            """,
            corp_id,
            consumer_id,
            *position,
        )
