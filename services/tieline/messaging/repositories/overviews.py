"""The SQL of what a list shows beside each conversation, and of whom messages mention."""

import datetime as dt
from collections.abc import Collection, Sequence
from typing import NamedTuple

from tieline.chassis.command_tags import count_rows
from tieline.chassis.postgres import Connection, Record
from tieline.messaging.conversations.rules import Participant
from tieline.messaging.reading.rules import ReadingState
from tieline.messaging.repositories.participants import UserKey
from tieline.messaging.repositories.reading import read_state
from tieline.messaging.sending.numbering import ConversationKey

EVERYONE = Participant("everyone", "")
"""Whom a mention of everyone is stored for."""

MAX_MENTIONS = 100


class Mention(NamedTuple):
    """One row of ``mentions``."""

    corp_id: str
    conversation_id: str
    sequence: int
    participant: Participant
    create_time: dt.datetime


class LastMessage(NamedTuple):
    """The newest message of a conversation."""

    sequence: int
    sender: Participant
    content: bytes
    create_time: dt.datetime
    is_recalled: bool


class OverviewRow(NamedTuple):
    """How a participant stands to a conversation, and what is newest in it."""

    state: ReadingState
    last_sequence: int
    uncounted: int
    read_sequence: int
    """Up to where nothing counts as unread: what was there when the participant came included."""

    read_uncounted: int
    mention_count: int
    last_message: LastMessage | None
    now: dt.datetime


async def insert_mentions(connection: Connection, mentions: Sequence[Mention]) -> None:
    """Store whom messages mention; in the transaction that stores or edits them."""
    await connection.execute(
        """
        INSERT INTO messaging.mentions
               (corp_id, conversation_id, sequence, kind, id, create_time)
        SELECT *
          FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[],
                      $6::timestamptz[])
        """,
        [each.corp_id for each in mentions],
        [each.conversation_id for each in mentions],
        [each.sequence for each in mentions],
        [each.participant.kind for each in mentions],
        [each.participant.id for each in mentions],
        [each.create_time for each in mentions],
    )


async def delete_mentions(connection: Connection, key: ConversationKey, sequence: int) -> None:
    """Forget whom a message mentions."""
    await connection.execute(
        """
        DELETE FROM messaging.mentions
         WHERE corp_id = $1 AND conversation_id = $2 AND sequence = $3
        """,
        *key,
        sequence,
    )


async def list_overviews(
    connection: Connection, user: UserKey, conversation_ids: Collection[str]
) -> dict[str, OverviewRow]:
    """Return how the user stands to those of the conversations that the user is in."""
    corp_id, participant = user
    rows = await connection.fetch(
        """
        SELECT conversation.conversation_id, state.read_sequence, state.read_uncounted,
               state.delivered_sequence, state.muted, state.mute_until_time, state.pin_time,
               state.draft, state.draft_reply_sequence, state.draft_time, state.revision,
               conversation.last_sequence, conversation.uncounted,
               place.read_sequence AS place_sequence,
               coalesce(joined.uncounted, state.read_uncounted, 0) AS place_uncounted,
               mentioned.mention_count, last.sequence AS last_number, last.sender_kind,
               last.sender_id, last.content, last.create_time,
               last.recall_time IS NOT NULL AS is_recalled, statement_timestamp() AS now
          -- An array of unknown length: otherwise this would be planned anew for each call, which
          -- takes five times as long as the answer. With one conversation in it such a plan looks
          -- cheaper than one for any number, which the driver's prepared statement would keep.
          FROM unnest((SELECT $4::text[])) AS wanted (conversation_id)
         CROSS JOIN LATERAL (
               SELECT joined_sequence, visible_from_sequence
                 FROM messaging.participants
                WHERE participants.corp_id = $1
                  AND participants.conversation_id = wanted.conversation_id
                  AND participants.kind = $2
                  AND participants.id = $3
                LIMIT 1
         ) AS own
         CROSS JOIN LATERAL (
               SELECT conversation_id, last_sequence, uncounted, last_activity_time
                 FROM messaging.conversations
                WHERE conversations.corp_id = $1
                  AND conversations.conversation_id BETWEEN wanted.conversation_id
                                                        AND wanted.conversation_id
                ORDER BY conversations.conversation_id
                LIMIT 1
         ) AS conversation
          LEFT JOIN LATERAL (
               SELECT *
                 FROM messaging.reading_states
                WHERE reading_states.corp_id = $1
                  AND reading_states.kind = $2
                  AND reading_states.id = $3
                  AND reading_states.conversation_id = wanted.conversation_id
                LIMIT 1
         ) AS state ON true
         CROSS JOIN LATERAL (
               SELECT greatest(coalesce(state.read_sequence, 0), own.joined_sequence)
                      AS read_sequence
         ) AS place
          LEFT JOIN LATERAL (
               SELECT uncounted
                 FROM messaging.stored_messages
                WHERE stored_messages.corp_id = $1
                  AND stored_messages.conversation_id = wanted.conversation_id
                  AND stored_messages.sequence = own.joined_sequence
                  AND own.joined_sequence > coalesce(state.read_sequence, 0)
                LIMIT 1
         ) AS joined ON true
         CROSS JOIN LATERAL (
               SELECT count(*) AS mention_count
                 FROM (
                      SELECT
                        FROM messaging.mentions
                        JOIN messaging.stored_messages AS message
                          ON message.corp_id = mentions.corp_id
                         AND message.conversation_id = mentions.conversation_id
                         AND message.sequence = mentions.sequence
                         AND message.create_time = mentions.create_time
                       WHERE mentions.corp_id = $1
                         AND mentions.conversation_id = wanted.conversation_id
                         AND (mentions.kind, mentions.id) IN (($2, $3), ('everyone', ''))
                         AND mentions.sequence > place.read_sequence
                         AND message.recall_time IS NULL
                       LIMIT $5
                 ) AS found
         ) AS mentioned
          LEFT JOIN LATERAL (
               -- The time names the part.
               SELECT sequence, sender_kind, sender_id, content, create_time, recall_time
                 FROM messaging.stored_messages
                WHERE stored_messages.corp_id = $1
                  AND stored_messages.conversation_id = wanted.conversation_id
                  AND stored_messages.sequence = conversation.last_sequence
                  AND stored_messages.create_time = conversation.last_activity_time
                  AND stored_messages.sequence > own.visible_from_sequence
                LIMIT 1
         ) AS last ON true
        """,
        corp_id,
        *participant,
        list(conversation_ids),
        MAX_MENTIONS,
    )
    return {row["conversation_id"]: _read(row) for row in rows}


async def delete_old_mentions(
    connection: Connection, *, age: dt.timedelta, maximum_rows: int
) -> int:
    """Forget mentions of more than that age; return how many. Leaves alone what others delete."""
    tag = await connection.execute(
        """
        WITH old AS (
            SELECT corp_id, conversation_id, kind, id, sequence
              FROM messaging.mentions
             WHERE create_time < now() - $1::interval
             ORDER BY create_time
             LIMIT $2
               FOR UPDATE SKIP LOCKED
        )
        DELETE FROM messaging.mentions
         USING old
         WHERE mentions.corp_id = old.corp_id
           AND mentions.conversation_id = old.conversation_id
           AND mentions.kind = old.kind
           AND mentions.id = old.id
           AND mentions.sequence = old.sequence
        """,
        age,
        maximum_rows,
    )
    return count_rows(tag)


def _read(row: Record) -> OverviewRow:
    last = None
    if row["last_number"] is not None:
        last = LastMessage(
            row["last_number"],
            Participant(row["sender_kind"], row["sender_id"]),
            row["content"],
            row["create_time"],
            row["is_recalled"],
        )
    return OverviewRow(
        read_state(row),
        row["last_sequence"],
        row["uncounted"],
        row["place_sequence"],
        row["place_uncounted"],
        row["mention_count"],
        last,
        row["now"],
    )
