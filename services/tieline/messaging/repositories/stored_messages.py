"""The SQL of reading a conversation's messages back, and what a row of them is."""

from collections.abc import Sequence

from tieline.chassis.postgres import Connection, Record
from tieline.messaging.conversations.rules import Participant
from tieline.messaging.messages.rules import StoredMessage
from tieline.messaging.sending.numbering import ConversationKey

MAX_PAGE_BYTES = 2 * 1024 * 1024
"""Of contents in one list: with what else a message has, within the 4 MiB of a response."""


async def list_messages(
    connection: Connection, key: ConversationKey, *, after: int, up_to: int, limit: int
) -> Sequence[StoredMessage]:
    """Return messages with numbers above ``after``, up to ``up_to``, in order.

    Fewer than there are, but one at least, where their contents are large.
    """
    rows = await connection.fetch(
        """
        SELECT sequence, sender_kind, sender_id, client_message_id, content, create_time,
               uncounted, edit_time, recall_time, original_content
          FROM (
               SELECT sequence, sender_kind, sender_id, client_message_id, content,
                      create_time, uncounted, edit_time, recall_time, original_content,
                      sum(octet_length(content)) OVER (ORDER BY sequence)
                      - octet_length(content) AS bytes_before
                 FROM messaging.stored_messages
                WHERE corp_id = $1 AND conversation_id = $2
                  AND sequence > $3 AND sequence <= $4
                ORDER BY sequence
                LIMIT $5
          ) AS page
         WHERE bytes_before < $6
         ORDER BY sequence
        """,
        *key,
        after,
        up_to,
        limit,
        MAX_PAGE_BYTES,
    )
    return [read_message(key, row) for row in rows]


def read_message(key: ConversationKey, row: Record) -> StoredMessage:
    """Return the message of a row of ``stored_messages``."""
    return StoredMessage(
        *key,
        row["sequence"],
        Participant(row["sender_kind"], row["sender_id"]),
        row["client_message_id"],
        row["content"],
        row["create_time"],
        row["uncounted"],
        row["edit_time"],
        row["recall_time"],
        row["original_content"],
    )
