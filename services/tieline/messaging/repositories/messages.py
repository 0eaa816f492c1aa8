"""The SQL of storing messages: a constant number of statements, however many rows."""

import datetime as dt
from collections.abc import Collection, Iterator, Sequence
from functools import cache

from tieline.chassis.command_tags import count_rows
from tieline.chassis.outbox import Event, build_insert, insert_parameters
from tieline.chassis.packed_arrays import (
    pack_numbers,
    pack_texts,
    unpack_numbers,
    unpack_texts,
)
from tieline.chassis.postgres import Connection, wake_after_commit
from tieline.messaging.messages.rules import StoredMessage
from tieline.messaging.repositories import SCHEMA
from tieline.messaging.repositories.send_look_ups import POSTING, LookUp
from tieline.messaging.sending.numbering import ConversationKey, Counter

# Whether the conversations are still what they were seen as, their rows locked from here on, and
# the time of the look-up is not before that of their last message. Behind the parameters of the
# statement that it is a part of.
_UNCHANGED = f"""
    SELECT count(*) = cardinality({unpack_texts(16)}) AS holds
      FROM unnest({unpack_texts(16)}, {unpack_texts(17)}, {unpack_numbers(18)},
                  {unpack_numbers(19)}, {unpack_texts(20)})
           AS seen (corp_id, conversation_id, last_sequence, participants_version, posting)
     CROSS JOIN LATERAL (
           SELECT conversations.last_sequence, conversations.participants_version,
                  conversations.last_activity_time, {POSTING} AS posting
             FROM messaging.conversations
            WHERE conversations.corp_id = seen.corp_id
              AND conversations.conversation_id BETWEEN seen.conversation_id
                                                    AND seen.conversation_id
            ORDER BY conversations.conversation_id
            LIMIT 1
              FOR NO KEY UPDATE
     ) AS counter
     WHERE counter.last_sequence = seen.last_sequence
       AND counter.participants_version = seen.participants_version
       AND counter.posting = seen.posting
       AND counter.last_activity_time <= $8
"""  # noqa: S608 -- a part of it is a constant


class MessageRepository:
    """Messages, and the counters that number them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def lock_counters(
        self, keys: Collection[ConversationKey]
    ) -> dict[ConversationKey, Counter]:
        """Lock the conversations that exist until the transaction ends; return how far they go.

        In key order, so that two batches with the same conversations wait for each other instead
        of deadlocking. People may join meanwhile.
        """
        # The subquery runs, and locks, once for each key in the order of the parameters. Why it is
        # one, and asks for a range in order: see `conversations`.
        keys = sorted(keys)
        rows = await self._connection.fetch(
            """
            SELECT conversation.corp_id, conversation.conversation_id,
                   conversation.last_sequence, conversation.uncounted
              -- One of unknown length: see ``overviews``.
              FROM unnest((SELECT $1::text[]), $2::text[]) AS wanted (corp_id, conversation_id)
             CROSS JOIN LATERAL (
                   SELECT corp_id, conversation_id, last_sequence, uncounted
                     FROM messaging.conversations
                    WHERE conversations.corp_id = wanted.corp_id
                      AND conversations.conversation_id BETWEEN wanted.conversation_id
                                                            AND wanted.conversation_id
                    ORDER BY conversations.conversation_id
                    LIMIT 1
                      FOR NO KEY UPDATE
             ) AS conversation
            """,
            [corp_id for corp_id, _ in keys],
            [conversation_id for _, conversation_id in keys],
        )
        return {
            (row["corp_id"], row["conversation_id"]): Counter(
                row["last_sequence"], row["uncounted"]
            )
            for row in rows
        }

    async def read_clock(self) -> dt.datetime:
        """Return the time, not before that of anything committed under a lock held now."""
        now: dt.datetime = await self._connection.fetchval("SELECT statement_timestamp()")
        return now

    async def insert_messages(
        self,
        messages: Sequence[StoredMessage],
        now: dt.datetime,
        events: Sequence[Event],
    ) -> None:
        """Store the messages, remember their ids, count their conversations up, and tell of it.

        Notes have no client message id, and nothing of them is remembered. The caller holds the
        locks of the conversations.
        """
        await self._connection.execute(
            _build_insert(is_guarded=False), *_insert_parameters(messages, now, events)
        )
        await self.insert_references(messages)
        await self._insert_flags([message for message in messages if message.flagged])
        wake_after_commit(SCHEMA)

    async def insert_unchanged(
        self, messages: Sequence[StoredMessage], look_up: LookUp, events: Sequence[Event]
    ) -> bool:
        """Do what :meth:`insert_messages` does, unless the look-up is not true any more.

        Then nothing is written and it returns False. Locks what it looks at until its transaction
        ends; the messages have no media and no flags.
        """
        tag = await self._connection.execute(
            _build_insert(is_guarded=True),
            *_insert_parameters(messages, look_up.now, events),
            *_seen_parameters(messages, look_up),
        )
        if not count_rows(tag):
            return False
        wake_after_commit(SCHEMA)
        return True

    async def insert_references(self, messages: Sequence[StoredMessage]) -> None:
        """Note which media the messages refer to, so that whoever reads them may read those."""
        references = [(message, use) for message in messages for use in message.media]
        if not references:
            return
        await self._connection.execute(
            """
            INSERT INTO messaging.media_references
                   (corp_id, media_id, conversation_id, sequence, message_time)
            SELECT corp_id, media_id, conversation_id, sequence, message_time
              FROM unnest($1::text[], $2::uuid[], $3::text[], $4::bigint[], $5::timestamptz[])
                   AS new (corp_id, media_id, conversation_id, sequence, message_time)
            ON CONFLICT ON CONSTRAINT media_references_pkey DO NOTHING
            """,
            [message.corp_id for message, _ in references],
            [use.media_id for _, use in references],
            [message.conversation_id for message, _ in references],
            [message.sequence for message, _ in references],
            [message.create_time for message, _ in references],
        )

    async def _insert_flags(self, messages: Sequence[StoredMessage]) -> None:
        """Note which messages officers want to see."""
        if not messages:
            return
        await self._connection.executemany(
            """
            INSERT INTO messaging.flagged_messages
                   (corp_id, conversation_id, sequence, sender_kind, sender_id, words,
                    message_time)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            """,
            [
                (
                    message.corp_id,
                    message.conversation_id,
                    message.sequence,
                    *message.sender,
                    list(message.flagged),
                    message.create_time,
                )
                for message in messages
            ],
        )


@cache
def _build_insert(*, is_guarded: bool) -> str:
    """Return the statement of ``insert_messages``, or with a guard that of ``insert_unchanged``."""
    guard = f"unchanged AS MATERIALIZED ({_UNCHANGED})," if is_guarded else ""
    holds = "(SELECT holds FROM unchanged)" if is_guarded else "true"
    # The upsert always finds its row. As an UPDATE with a join it would leave the planner a
    # choice, which it makes badly for as long as it takes the table for a small one.
    return f"""
        WITH {guard} new AS MATERIALIZED (
            SELECT *
              FROM unnest({unpack_texts(1)}, {unpack_texts(2)}, {unpack_numbers(3)},
                          {unpack_texts(4)}, {unpack_texts(5)}, $6::text[], $7::bytea[],
                          {unpack_numbers(9)})
                   AS new (corp_id, conversation_id, sequence, sender_kind, sender_id,
                           client_message_id, content, uncounted)
             WHERE {holds}
        ), counted AS (
            INSERT INTO messaging.conversations
                   (corp_id, conversation_id, kind, last_sequence, uncounted, last_activity_time)
            SELECT corp_id, conversation_id, 'group', max(sequence), max(uncounted), $8
              FROM new
             GROUP BY corp_id, conversation_id
            ON CONFLICT ON CONSTRAINT conversations_pkey
            DO UPDATE SET last_sequence = excluded.last_sequence,
                          uncounted = excluded.uncounted,
                          last_activity_time = excluded.last_activity_time
        ), remembered AS (
            INSERT INTO messaging.recent_sends
                   (corp_id, conversation_id, sequence, sender_kind, sender_id, client_message_id,
                    create_time)
            SELECT corp_id, conversation_id, sequence, sender_kind, sender_id, client_message_id,
                   $8
              FROM new
             WHERE client_message_id <> ''
        ), told AS (
            {build_insert(SCHEMA, first_parameter=10, condition=holds)}
        )
        INSERT INTO messaging.stored_messages
               (corp_id, conversation_id, sequence, sender_kind, sender_id, client_message_id,
                content, create_time, uncounted)
        SELECT corp_id, conversation_id, sequence, sender_kind, sender_id, client_message_id,
               content, $8, uncounted
          FROM new
    """  # noqa: S608 -- the parts are constants and the outbox's


def _insert_parameters(
    messages: Sequence[StoredMessage], now: dt.datetime, events: Sequence[Event]
) -> Iterator[object]:
    yield pack_texts([message.corp_id for message in messages])
    yield pack_texts([message.conversation_id for message in messages])
    yield pack_numbers([message.sequence for message in messages])
    yield pack_texts([message.sender.kind for message in messages])
    yield pack_texts([message.sender.id for message in messages])
    # Notes have none.
    yield [message.client_message_id for message in messages]
    yield [message.content for message in messages]
    yield now
    yield pack_numbers([message.uncounted for message in messages])
    yield from insert_parameters(events)


def _seen_parameters(messages: Sequence[StoredMessage], look_up: LookUp) -> Iterator[str]:
    # In key order, as everybody locks.
    keys = sorted({(message.corp_id, message.conversation_id) for message in messages})
    seen = [look_up.seen[key] for key in keys]
    yield pack_texts([corp_id for corp_id, _ in keys])
    yield pack_texts([conversation_id for _, conversation_id in keys])
    yield pack_numbers([each.last_sequence for each in seen])
    yield pack_numbers([each.participants_version for each in seen])
    yield pack_texts([each.posting for each in seen])
