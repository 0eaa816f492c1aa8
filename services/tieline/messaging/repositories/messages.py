"""The SQL of sending messages: a constant number of statements, however many rows."""

import datetime as dt
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from tieline.chassis.command_tags import count_rows
from tieline.chassis.outbox import Event, build_insert, insert_parameters
from tieline.chassis.postgres import Connection, Record, wake_after_commit
from tieline.messaging.groups.rules import find_content_refusal, find_refusal
from tieline.messaging.messages.rules import Send, StoredMessage
from tieline.messaging.repositories import SCHEMA
from tieline.messaging.sending.numbering import ConversationKey, Counter, SendFacts

_NOTHING_KNOWN = SendFacts(participating=False, repeated=None)

# Who may say something in a conversation as it is now.
_POSTING = """
    CASE WHEN conversations.dismiss_time IS NOT NULL THEN 'nobody'
         WHEN conversations.is_muted AND conversations.posting = 'everyone' THEN 'admins'
         ELSE conversations.posting END
"""

# What is asked about each send besides its conversation.
_SENDER_AND_REPEAT = """
    LEFT JOIN LATERAL (
         SELECT participants.role
           FROM messaging.participants
          WHERE participants.corp_id = send.corp_id
            AND participants.conversation_id = send.conversation_id
            AND participants.kind = send.kind
            AND participants.id = send.id
          LIMIT 1
    ) AS participant ON true
    LEFT JOIN LATERAL (
         SELECT recent_sends.sequence, recent_sends.create_time, recent_sends.recalled_digest
           FROM messaging.recent_sends
          WHERE recent_sends.corp_id = send.corp_id
            AND recent_sends.conversation_id = send.conversation_id
            AND recent_sends.sender_kind = send.kind
            AND recent_sends.sender_id = send.id
            AND recent_sends.client_message_id = send.client_message_id
          LIMIT 1
    ) AS repeated ON true
"""

# Whether the conversations are still what they were seen as, their rows locked from here on, and
# the time of the look-up is not before that of their last message. Behind the parameters of the
# statement that it is a part of.
_UNCHANGED = f"""
    SELECT count(*) = cardinality($16::text[]) AS holds
      FROM unnest($16::text[], $17::text[], $18::bigint[], $19::bigint[], $20::text[])
           AS seen (corp_id, conversation_id, last_sequence, participants_version, posting)
     CROSS JOIN LATERAL (
           SELECT conversations.last_sequence, conversations.participants_version,
                  conversations.last_activity_time, {_POSTING} AS posting
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


class Seen(NamedTuple):
    """A conversation's row as a look-up saw it: one of these changes whenever anything does by
    which a message is refused or numbered."""

    last_sequence: int
    participants_version: int
    posting: str


class LookUp(NamedTuple):
    """What the database knows about a batch; with the conversations' locks it stays true."""

    facts: Sequence[SendFacts]
    """One for each send."""

    counters: Mapping[ConversationKey, Counter]
    """Of the conversations that exist."""

    seen: Mapping[ConversationKey, Seen]
    """The same conversations."""

    now: dt.datetime
    """The database's clock."""


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
              FROM unnest($1::text[], $2::text[]) AS wanted (corp_id, conversation_id)
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

    async def lock_and_look_up(self, sends: Sequence[Send]) -> LookUp:
        """Lock the conversations of the sends until the transaction ends; return what is known.

        The look is of after the locks: what a transaction that these waited for has changed, a
        repeat, a participant who left, is seen.
        """
        look_up, has_waited = await self._lock_and_read(sends)
        if has_waited:
            # With all locks held nothing changes any more.
            look_up, _ = await self._lock_and_read(sends)
        return look_up

    async def look_up_new(self, sends: Sequence[Send]) -> LookUp | None:
        """Return what is known now, without locks: for :meth:`insert_unchanged`.

        None where one of the sends is a repeat, whose message may be changing.
        """
        order = _order_of(sends)
        rows = await self._connection.fetch(
            f"""
            SELECT counter.last_sequence, counter.uncounted, counter.participants_version,
                   counter.kind AS conversation_kind, counter.posting, participant.role,
                   repeated.sequence AS repeated_sequence,
                   repeated.create_time AS repeated_time, repeated.recalled_digest,
                   statement_timestamp() AS now
              FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
                   WITH ORDINALITY
                   AS send (corp_id, conversation_id, kind, id, client_message_id, position)
              LEFT JOIN LATERAL (
                   SELECT conversations.last_sequence, conversations.uncounted,
                          conversations.participants_version, conversations.kind,
                          {_POSTING} AS posting
                     FROM messaging.conversations
                    WHERE conversations.corp_id = send.corp_id
                      AND conversations.conversation_id BETWEEN send.conversation_id
                                                            AND send.conversation_id
                    ORDER BY conversations.conversation_id
                    LIMIT 1
              ) AS counter ON true
              {_SENDER_AND_REPEAT}
             ORDER BY send.position
            """,  # noqa: S608 -- parts of it are constants
            *_look_up_parameters(sends, order),
        )
        if any(row["repeated_sequence"] is not None for row in rows):
            return None
        return _read_look_up(sends, order, rows, {})

    async def _lock_and_read(self, sends: Sequence[Send]) -> tuple[LookUp, bool]:
        """Lock and read in one statement; tell whether a row changed between the two.

        A statement reads what was committed when it began, and locks the newest rows.
        """
        order = _order_of(sends)
        rows = await self._connection.fetch(
            f"""
            SELECT counter.last_sequence, counter.uncounted, counter.participants_version,
                   (counter.last_sequence, counter.participants_version)
                   IS DISTINCT FROM (seen.last_sequence, seen.participants_version) AS has_changed,
                   counter.kind AS conversation_kind, counter.posting, participant.role,
                   repeated.sequence AS repeated_sequence,
                   repeated.create_time AS repeated_time, repeated.recalled_digest,
                   statement_timestamp() AS now
              FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
                   WITH ORDINALITY
                   AS send (corp_id, conversation_id, kind, id, client_message_id, position)
              LEFT JOIN LATERAL (
                   SELECT conversations.last_sequence, conversations.uncounted,
                          conversations.participants_version, conversations.kind,
                          {_POSTING} AS posting
                     FROM messaging.conversations
                    WHERE conversations.corp_id = send.corp_id
                      AND conversations.conversation_id BETWEEN send.conversation_id
                                                            AND send.conversation_id
                    ORDER BY conversations.conversation_id
                    LIMIT 1
                      FOR NO KEY UPDATE
              ) AS counter ON true
              LEFT JOIN LATERAL (
                   SELECT conversations.last_sequence, conversations.participants_version
                     FROM messaging.conversations
                    WHERE conversations.corp_id = send.corp_id
                      AND conversations.conversation_id BETWEEN send.conversation_id
                                                            AND send.conversation_id
                    ORDER BY conversations.conversation_id
                    LIMIT 1
              ) AS seen ON true
              {_SENDER_AND_REPEAT}
             ORDER BY send.position
            """,  # noqa: S608 -- parts of it are constants
            *_look_up_parameters(sends, order),
        )
        if any(row["has_changed"] for row in rows):
            return LookUp((), {}, {}, rows[0]["now"]), True
        repeats = await self._read_repeats(sends, order, rows)
        return _read_look_up(sends, order, rows, repeats), False

    async def _read_repeats(
        self, sends: Sequence[Send], order: Sequence[int], rows: Sequence[Record]
    ) -> dict[int, StoredMessage]:
        """Return the first message of each send that is a repeat, by the send's index."""
        repeats = [
            (index, row)
            for index, row in zip(order, rows, strict=True)
            if row["repeated_sequence"] is not None
        ]
        if not repeats:
            return {}
        found = await self._connection.fetch(
            """
            SELECT message.content, message.uncounted, message.edit_time, message.recall_time,
                   message.original_content
              FROM unnest($1::text[], $2::text[], $3::bigint[], $4::timestamptz[])
                   WITH ORDINALITY
                   AS repeated (corp_id, conversation_id, sequence, create_time, position)
             CROSS JOIN LATERAL (
                   SELECT stored_messages.content, stored_messages.uncounted,
                          stored_messages.edit_time, stored_messages.recall_time,
                          stored_messages.original_content
                     FROM messaging.stored_messages
                    WHERE stored_messages.corp_id = repeated.corp_id
                      AND stored_messages.conversation_id = repeated.conversation_id
                      AND stored_messages.sequence = repeated.sequence
                      AND stored_messages.create_time = repeated.create_time
                    LIMIT 1
             ) AS message
             ORDER BY repeated.position
            """,
            [sends[index].corp_id for index, _ in repeats],
            [sends[index].conversation_id for index, _ in repeats],
            [row["repeated_sequence"] for _, row in repeats],
            [row["repeated_time"] for _, row in repeats],
        )
        return {
            index: _build_repeated(sends[index], row, message)
            for (index, row), message in zip(repeats, found, strict=True)
        }

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
        # In key order, as everybody locks.
        seen = [
            (*key, *look_up.seen[key])
            for key in sorted({(each.corp_id, each.conversation_id) for each in messages})
        ]
        tag = await self._connection.execute(
            _build_insert(is_guarded=True),
            *_insert_parameters(messages, look_up.now, events),
            *zip(*seen, strict=True),
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


def _key_of(send: Send) -> ConversationKey:
    return send.corp_id, send.conversation_id


def _order_of(sends: Sequence[Send]) -> list[int]:
    """Return the indexes of the sends in key order, as everybody locks."""
    return sorted(range(len(sends)), key=lambda index: _key_of(sends[index]))


def _look_up_parameters(sends: Sequence[Send], order: Sequence[int]) -> Iterator[list[str]]:
    # Why the statements have LATERAL and BETWEEN: see `conversations`.
    yield [sends[index].corp_id for index in order]
    yield [sends[index].conversation_id for index in order]
    yield [sends[index].sender.kind for index in order]
    yield [sends[index].sender.id for index in order]
    yield [sends[index].client_message_id for index in order]


def _read_look_up(
    sends: Sequence[Send],
    order: Sequence[int],
    rows: Sequence[Record],
    repeats: Mapping[int, StoredMessage],
) -> LookUp:
    facts: list[SendFacts] = [_NOTHING_KNOWN] * len(sends)
    counters: dict[ConversationKey, Counter] = {}
    seen: dict[ConversationKey, Seen] = {}
    for index, row in zip(order, rows, strict=True):
        key = _key_of(sends[index])
        if row["last_sequence"] is not None and key not in counters:
            counters[key] = Counter(row["last_sequence"], row["uncounted"])
            seen[key] = Seen(row["last_sequence"], row["participants_version"], row["posting"])
        role = row["role"]
        if role is not None:
            refusal = find_refusal(role, row["posting"]) or find_content_refusal(
                row["conversation_kind"],
                role,
                is_notice=sends[index].is_notice,
                mentions_everyone=sends[index].mentions_everyone,
            )
            facts[index] = SendFacts(True, repeats.get(index), refusal)
    return LookUp(facts, counters, seen, rows[0]["now"])


@cache
def _build_insert(*, is_guarded: bool) -> str:
    """Return the statement of ``insert_messages``, or with a guard that of ``insert_unchanged``."""
    guard = f"unchanged AS MATERIALIZED ({_UNCHANGED})," if is_guarded else ""
    holds = "(SELECT holds FROM unchanged)" if is_guarded else "true"
    # The upsert always finds its row. As an UPDATE with a join it would leave the planner a
    # choice, which it makes badly for as long as it takes the table for a small one.
    return f"""
        WITH {guard} counted AS (
            INSERT INTO messaging.conversations
                   (corp_id, conversation_id, kind, last_sequence, uncounted, last_activity_time)
            SELECT corp_id, conversation_id, 'group', max(sequence), max(uncounted), $8
              FROM unnest($1::text[], $2::text[], $3::bigint[], $9::bigint[])
                   AS new (corp_id, conversation_id, sequence, uncounted)
             WHERE {holds}
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
              FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[])
                   AS new (corp_id, conversation_id, sequence, sender_kind, sender_id,
                           client_message_id)
             WHERE client_message_id <> '' AND {holds}
        ), told AS (
            {build_insert(SCHEMA, first_parameter=10, condition=holds)}
        )
        INSERT INTO messaging.stored_messages
               (corp_id, conversation_id, sequence, sender_kind, sender_id, client_message_id,
                content, create_time, uncounted)
        SELECT corp_id, conversation_id, sequence, sender_kind, sender_id, client_message_id,
               content, $8, uncounted
          FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[],
                      $7::bytea[], $9::bigint[])
               AS new (corp_id, conversation_id, sequence, sender_kind, sender_id,
                       client_message_id, content, uncounted)
         WHERE {holds}
    """  # noqa: S608 -- the parts are constants and the outbox's


def _insert_parameters(
    messages: Sequence[StoredMessage], now: dt.datetime, events: Sequence[Event]
) -> Iterator[object]:
    yield [message.corp_id for message in messages]
    yield [message.conversation_id for message in messages]
    yield [message.sequence for message in messages]
    yield [message.sender.kind for message in messages]
    yield [message.sender.id for message in messages]
    yield [message.client_message_id for message in messages]
    yield [message.content for message in messages]
    yield now
    yield [message.uncounted for message in messages]
    yield from insert_parameters(events)


def _build_repeated(send: Send, row: Record, message: Record) -> StoredMessage:
    return StoredMessage(
        send.corp_id,
        send.conversation_id,
        row["repeated_sequence"],
        send.sender,
        send.client_message_id,
        message["content"],
        row["repeated_time"],
        message["uncounted"],
        message["edit_time"],
        message["recall_time"],
        message["original_content"],
        recalled_digest=row["recalled_digest"],
    )
