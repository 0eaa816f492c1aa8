"""The SQL of reading ranges of many conversations at once."""

from collections.abc import Sequence

from tieline.chassis.postgres import Connection
from tieline.messaging.conversations.rules import Participant
from tieline.messaging.messages.ranges import Range
from tieline.messaging.messages.rules import StoredMessage
from tieline.messaging.repositories.participants import Span
from tieline.messaging.repositories.stored_messages import read_message


async def list_ranges(
    connection: Connection, corp_id: str, ranges: Sequence[Range]
) -> list[StoredMessage]:
    """Return the messages of all ranges, in their order and that of the numbers."""
    rows = await connection.fetch(
        """
        SELECT message.conversation_id, message.sequence, message.sender_kind, message.sender_id,
               message.client_message_id, message.content, message.create_time,
               message.uncounted, message.edit_time, message.recall_time,
               message.original_content
          -- Arrays of unknown length, or it would be planned anew for each: see ``overviews``.
          FROM unnest((SELECT $2::text[]), (SELECT $3::bigint[]), (SELECT $4::bigint[]))
               WITH ORDINALITY AS wanted (conversation_id, after, up_to, position)
         CROSS JOIN LATERAL (
               SELECT conversation_id, sequence, sender_kind, sender_id, client_message_id, content,
                      create_time, uncounted, edit_time, recall_time, original_content
                 FROM messaging.stored_messages
                WHERE stored_messages.corp_id = $1
                  AND stored_messages.conversation_id = wanted.conversation_id
                  AND stored_messages.sequence > wanted.after
                  AND stored_messages.sequence <= wanted.up_to
                ORDER BY stored_messages.sequence
               OFFSET 0  -- keeps this a subquery, which is looked up for each range
         ) AS message
         ORDER BY wanted.position, message.sequence
        """,
        corp_id,
        [each.conversation_id for each in ranges],
        [each.after for each in ranges],
        [each.up_to for each in ranges],
    )
    return [read_message((corp_id, row["conversation_id"]), row) for row in rows]


async def list_readable(
    connection: Connection, corp_id: str, participant: Participant, ids: Sequence[str]
) -> dict[str, Span]:
    """Return what they may read of those of the conversations that they are in."""
    rows = await connection.fetch(
        """
        SELECT own.conversation_id, own.visible_from_sequence, conversation.last_sequence
          FROM unnest((SELECT $4::text[])) AS wanted (conversation_id)
         CROSS JOIN LATERAL (
               SELECT conversation_id, visible_from_sequence
                 FROM messaging.participants
                WHERE participants.corp_id = $1
                  AND participants.conversation_id = wanted.conversation_id
                  AND participants.kind = $2
                  AND participants.id = $3
                LIMIT 1
         ) AS own
         CROSS JOIN LATERAL (
               SELECT last_sequence
                 FROM messaging.conversations
                WHERE conversations.corp_id = $1
                  AND conversations.conversation_id BETWEEN own.conversation_id
                                                        AND own.conversation_id
                ORDER BY conversations.conversation_id
                LIMIT 1
         ) AS conversation
        """,
        corp_id,
        *participant,
        ids,
    )
    return {
        row["conversation_id"]: Span(row["visible_from_sequence"], row["last_sequence"])
        for row in rows
    }


async def find_first_sequence(connection: Connection, corp_id: str, wanted: Range) -> int | None:
    """Return the lowest number above the range's ``after`` that is kept."""
    first: int | None = await connection.fetchval(
        """
        SELECT sequence
          FROM messaging.stored_messages
         WHERE corp_id = $1 AND conversation_id = $2 AND sequence > $3
         ORDER BY sequence
         LIMIT 1
        """,
        corp_id,
        wanted.conversation_id,
        wanted.after,
    )
    return first
