"""The SQL of what is known about messages before they are stored, with locks and without."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from tieline.chassis.packed_arrays import pack_texts, unpack_texts
from tieline.chassis.postgres import Connection, Record
from tieline.messaging.groups.rules import find_content_refusal, find_refusal
from tieline.messaging.messages.rules import Send, StoredMessage
from tieline.messaging.sending.numbering import ConversationKey, Counter, SendFacts

_NOTHING_KNOWN = SendFacts(participating=False, repeated=None)

# Who may say something in a conversation as it is now.
POSTING = """
    CASE WHEN conversations.dismiss_time IS NOT NULL THEN 'nobody'
         WHEN conversations.is_muted AND conversations.posting = 'everyone' THEN 'admins'
         ELSE conversations.posting END
"""

_SENDS = f"""
    unnest({", ".join(map(unpack_texts, range(1, 6)))})
    WITH ORDINALITY AS send (corp_id, conversation_id, kind, id, client_message_id, position)
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


class SendLookUps:
    """What the database knows about batches of sends."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def lock_and_look_up(self, sends: Sequence[Send]) -> LookUp:
        """Lock the conversations of the sends until the transaction ends; return what is known.

        The look is of after the locks: what a transaction that these waited for has changed, a
        repeat, a participant who left, is seen.
        """
        look_up = await self._lock_and_read(sends)
        if look_up is None:
            # With all locks held nothing changes any more.
            look_up = await self._lock_and_read(sends)
        assert look_up is not None, "what is locked does not change"
        return look_up

    async def look_up_new(self, sends: Sequence[Send]) -> LookUp | None:
        """Return what is known now, without locks: for ``MessageRepository.insert_unchanged``.

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
              FROM {_SENDS}
              LEFT JOIN LATERAL (
                   SELECT conversations.last_sequence, conversations.uncounted,
                          conversations.participants_version, conversations.kind,
                          {POSTING} AS posting
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

    async def _lock_and_read(self, sends: Sequence[Send]) -> LookUp | None:
        """Lock and read in one statement; None if a row changed between the two.

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
              FROM {_SENDS}
              LEFT JOIN LATERAL (
                   SELECT conversations.last_sequence, conversations.uncounted,
                          conversations.participants_version, conversations.kind,
                          {POSTING} AS posting
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
            return None
        repeats = await self._read_repeats(sends, order, rows)
        return _read_look_up(sends, order, rows, repeats)

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


def _key_of(send: Send) -> ConversationKey:
    return send.corp_id, send.conversation_id


def _order_of(sends: Sequence[Send]) -> list[int]:
    """Return the indexes of the sends in key order, as everybody locks."""
    return sorted(range(len(sends)), key=lambda index: _key_of(sends[index]))


def _look_up_parameters(sends: Sequence[Send], order: Sequence[int]) -> Iterator[str]:
    # Why the statements have LATERAL and BETWEEN: see `conversations`.
    ordered = [sends[index] for index in order]
    yield pack_texts([send.corp_id for send in ordered])
    yield pack_texts([send.conversation_id for send in ordered])
    yield pack_texts([send.sender.kind for send in ordered])
    yield pack_texts([send.sender.id for send in ordered])
    yield pack_texts([send.client_message_id for send in ordered])


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
