"""The SQL of messages that are there: edits, recalls, reactions, pins.

What changes is changed under the lock of the conversation's row.
"""

import datetime as dt
from collections.abc import Collection, Sequence
from typing import NamedTuple

from tieline.chassis.postgres import Connection
from tieline.messaging.conversations.rules import Participant
from tieline.messaging.messages.rules import StoredMessage, digest_content
from tieline.messaging.repositories.stored_messages import read_message
from tieline.messaging.sending.numbering import ConversationKey


class ReactionCount(NamedTuple):
    """One reaction on a message."""

    reaction: str
    people: int
    is_own: bool
    participants: Sequence[Participant]
    """Who gave it first; a bounded number."""


class MessageChangeRepository:
    """Messages that are there, of one conversation at a time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def list_by_number(
        self, key: ConversationKey, sequences: Collection[int]
    ) -> dict[int, StoredMessage]:
        """Return those of the entries that are there, by their numbers."""
        rows = await self._connection.fetch(
            """
            SELECT message.sequence, message.sender_kind, message.sender_id,
                   message.client_message_id, message.content, message.create_time,
                   message.uncounted, message.edit_time, message.recall_time,
                   message.original_content
              FROM unnest($3::bigint[]) AS wanted (sequence)
             CROSS JOIN LATERAL (
                   SELECT sequence, sender_kind, sender_id, client_message_id, content,
                          create_time, uncounted, edit_time, recall_time, original_content
                     FROM messaging.stored_messages
                    WHERE stored_messages.corp_id = $1
                      AND stored_messages.conversation_id = $2
                      AND stored_messages.sequence = wanted.sequence
                    LIMIT 1
             ) AS message
             ORDER BY message.sequence
            """,
            *key,
            list(sequences),
        )
        return {row["sequence"]: read_message(key, row) for row in rows}

    async def list_edit_sequences(self, message: StoredMessage) -> list[int]:
        """Return the numbers of the notes of the message's edits."""
        sequences: list[int] | None = await self._connection.fetchval(
            """
            SELECT edit_sequences
              FROM messaging.stored_messages
             WHERE corp_id = $1 AND conversation_id = $2 AND sequence = $3 AND create_time = $4
            """,
            *_row_of(message),
        )
        return sequences or []

    async def edit(
        self, message: StoredMessage, content: bytes, edit_time: dt.datetime, note_sequence: int
    ) -> None:
        """Give the message another content."""
        await self._connection.execute(
            """
            UPDATE messaging.stored_messages
               SET content = $5, edit_time = $6,
                   original_content = coalesce(original_content, content),
                   edit_sequences = array_append(edit_sequences, $7)
             WHERE corp_id = $1 AND conversation_id = $2 AND sequence = $3 AND create_time = $4
            """,
            *_row_of(message),
            content,
            edit_time,
            note_sequence,
        )

    async def recall(self, message: StoredMessage, recall_time: dt.datetime) -> None:
        """Take the message's content away, with its reactions, answers, pin and mentions.

        A digest stays for as long as a repeat of its send is recognised.
        """
        await self._connection.execute(
            """
            UPDATE messaging.recent_sends
               SET recalled_digest = $7
             WHERE corp_id = $1 AND conversation_id = $2 AND sender_kind = $3 AND sender_id = $4
               AND client_message_id = $5 AND sequence = $6
            """,
            message.corp_id,
            message.conversation_id,
            *message.sender,
            message.client_message_id,
            message.sequence,
            digest_content(message.first_content),
        )
        await self._connection.execute(
            """
            UPDATE messaging.stored_messages
               SET content = '', original_content = NULL, edit_sequences = NULL, recall_time = $5
             WHERE corp_id = $1 AND conversation_id = $2 AND sequence = $3 AND create_time = $4
            """,
            *_row_of(message),
            recall_time,
        )
        for table in ("reactions", "pins", "mentions", "answer_choices"):
            await self._connection.execute(
                f"""
                DELETE FROM messaging.{table}
                 WHERE corp_id = $1 AND conversation_id = $2 AND sequence = $3
                """,  # noqa: S608 -- tables are named by this module
                *_row_of(message)[:3],
            )

    async def replace_content(self, note: StoredMessage, content: bytes) -> None:
        """Give a note other contents: what it told of is taken back."""
        await self._connection.execute(
            """
            UPDATE messaging.stored_messages
               SET content = $5
             WHERE corp_id = $1 AND conversation_id = $2 AND sequence = $3 AND create_time = $4
            """,
            *_row_of(note),
            content,
        )

    async def list_own_reactions(
        self, key: ConversationKey, sequence: int, participant: Participant
    ) -> list[str]:
        """Return the participant's reactions on a message."""
        rows = await self._connection.fetch(
            """
            SELECT reaction
              FROM messaging.reactions
             WHERE corp_id = $1 AND conversation_id = $2 AND sequence = $3 AND kind = $4 AND id = $5
            """,
            *key,
            sequence,
            *participant,
        )
        return [row["reaction"] for row in rows]

    async def insert_reaction(
        self, key: ConversationKey, sequence: int, reaction: str, participant: Participant
    ) -> None:
        """Note a reaction."""
        await self._connection.execute(
            """
            INSERT INTO messaging.reactions
                   (corp_id, conversation_id, sequence, reaction, kind, id)
            VALUES ($1, $2, $3, $4, $5, $6)
            """,
            *key,
            sequence,
            reaction,
            *participant,
        )

    async def delete_reaction(
        self, key: ConversationKey, sequence: int, reaction: str, participant: Participant
    ) -> None:
        """Forget a reaction."""
        await self._connection.execute(
            """
            DELETE FROM messaging.reactions
             WHERE corp_id = $1 AND conversation_id = $2 AND sequence = $3 AND reaction = $4
               AND kind = $5 AND id = $6
            """,
            *key,
            sequence,
            reaction,
            *participant,
        )

    async def count_reactions(
        self, key: ConversationKey, sequence: int, viewer: Participant, *, maximum_people: int
    ) -> list[ReactionCount]:
        """Return the reactions on a message, those given first before others."""
        rows = await self._connection.fetch(
            """
            SELECT reaction, count(*) AS count, bool_or(kind = $4 AND id = $5) AS is_own,
                   (array_agg(kind ORDER BY create_time, kind, id))[:$6] AS kinds,
                   (array_agg(id ORDER BY create_time, kind, id))[:$6] AS ids
              FROM messaging.reactions
             WHERE corp_id = $1 AND conversation_id = $2 AND sequence = $3
             GROUP BY reaction
             ORDER BY min(create_time), reaction
            """,
            *key,
            sequence,
            *viewer,
            maximum_people,
        )
        return [
            ReactionCount(
                row["reaction"],
                row["count"],
                row["is_own"],
                [Participant(*each) for each in zip(row["kinds"], row["ids"], strict=True)],
            )
            for row in rows
        ]

    async def list_pins(self, key: ConversationKey) -> list[int]:
        """Return the numbers of the pinned messages that are there, the last pinned first."""
        rows = await self._connection.fetch(
            """
            SELECT sequence
              FROM messaging.pins
             WHERE corp_id = $1 AND conversation_id = $2
               AND EXISTS (
                   SELECT
                     FROM messaging.stored_messages
                    WHERE stored_messages.corp_id = $1
                      AND stored_messages.conversation_id = $2
                      AND stored_messages.sequence = pins.sequence
               )
             ORDER BY create_time DESC, sequence DESC
            """,
            *key,
        )
        return [row["sequence"] for row in rows]

    async def has_pin(self, key: ConversationKey, sequence: int) -> bool:
        """Tell whether a message is pinned, whether or not it is still there."""
        found: bool = await self._connection.fetchval(
            """
            SELECT EXISTS (
                SELECT
                  FROM messaging.pins
                 WHERE corp_id = $1 AND conversation_id = $2 AND sequence = $3
            )
            """,
            *key,
            sequence,
        )
        return found

    async def insert_pin(self, key: ConversationKey, sequence: int) -> None:
        """Pin a message."""
        await self._connection.execute(
            """
            INSERT INTO messaging.pins (corp_id, conversation_id, sequence, create_time)
            VALUES ($1, $2, $3, statement_timestamp())
            """,
            *key,
            sequence,
        )

    async def delete_pin(self, key: ConversationKey, sequence: int) -> None:
        """Pin a message no longer."""
        await self._connection.execute(
            """
            DELETE FROM messaging.pins
             WHERE corp_id = $1 AND conversation_id = $2 AND sequence = $3
            """,
            *key,
            sequence,
        )


def _row_of(message: StoredMessage) -> tuple[str, str, int, dt.datetime]:
    return message.corp_id, message.conversation_id, message.sequence, message.create_time
