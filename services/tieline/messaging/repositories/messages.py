"""The SQL of sending and reading messages: a constant number of statements, however many rows."""

import datetime as dt
from collections.abc import Mapping, Sequence

from tieline.chassis.postgres import Connection, Record
from tieline.messaging.conversations import Participant
from tieline.messaging.messages import Send, StoredMessage
from tieline.messaging.numbering import ConversationKey, SendFacts


class MessageRepository:
    """Messages, and the counters that number them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def lock_counters(self, keys: Sequence[ConversationKey]) -> dict[ConversationKey, int]:
        """Lock the conversations that exist until the transaction ends; return their last numbers.

        In key order, so that two batches with the same conversations wait for each other instead
        of deadlocking. People may join meanwhile.
        """
        # The subquery runs, and locks, once for each key in the order of the parameters. Why it is
        # one, and asks for a range in order: see `conversations`.
        keys = sorted(keys)
        rows = await self._connection.fetch(
            """
            SELECT conversation.corp_id, conversation.conversation_id, conversation.last_sequence
              FROM unnest($1::text[], $2::text[]) AS wanted (corp_id, conversation_id)
             CROSS JOIN LATERAL (
                   SELECT corp_id, conversation_id, last_sequence
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
        return {(row["corp_id"], row["conversation_id"]): row["last_sequence"] for row in rows}

    async def list_send_facts(
        self, sends: Sequence[Send]
    ) -> tuple[Sequence[SendFacts], dt.datetime]:
        """Return what is known about each send, and the time of the database's clock.

        The LATERAL subqueries keep the planner at one index lookup each: a plan that was made when
        the tables were small would otherwise read them whole for as long as it is cached.
        """
        rows = await self._connection.fetch(
            """
            SELECT participant.id IS NOT NULL AS participating,
                   message.sequence, message.content, message.create_time,
                   statement_timestamp() AS now
              FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
                   WITH ORDINALITY
                   AS send (corp_id, conversation_id, kind, id, client_message_id, position)
              LEFT JOIN LATERAL (
                   SELECT participants.id
                     FROM messaging.participants
                    WHERE participants.corp_id = send.corp_id
                      AND participants.conversation_id = send.conversation_id
                      AND participants.kind = send.kind
                      AND participants.id = send.id
                    LIMIT 1
              ) AS participant ON true
              LEFT JOIN LATERAL (
                   SELECT messages.sequence, messages.content, messages.create_time
                     FROM messaging.messages
                    WHERE messages.corp_id = send.corp_id
                      AND messages.conversation_id = send.conversation_id
                      AND messages.sender_kind = send.kind
                      AND messages.sender_id = send.id
                      AND messages.client_message_id = send.client_message_id
                    LIMIT 1
              ) AS message ON true
             ORDER BY send.position
            """,
            [send.corp_id for send in sends],
            [send.conversation_id for send in sends],
            [send.sender.kind for send in sends],
            [send.sender.id for send in sends],
            [send.client_message_id for send in sends],
        )
        facts = [
            SendFacts(row["participating"], _repeated(send, row))
            for send, row in zip(sends, rows, strict=True)
        ]
        now: dt.datetime = rows[0]["now"]
        return facts, now

    async def insert_messages(
        self,
        messages: Sequence[StoredMessage],
        last_sequences: Mapping[ConversationKey, int],
        now: dt.datetime,
    ) -> None:
        """Store the messages and count their conversations up, in one statement."""
        await self._connection.execute(
            """
            WITH counted AS (
                UPDATE messaging.conversations
                   SET last_sequence = counter.last_sequence, last_activity_time = $4
                  FROM unnest($1::text[], $2::text[], $3::bigint[])
                       AS counter (corp_id, conversation_id, last_sequence)
                 WHERE conversations.corp_id = counter.corp_id
                   AND conversations.conversation_id = counter.conversation_id
            )
            INSERT INTO messaging.messages
                   (corp_id, conversation_id, sequence, sender_kind, sender_id, client_message_id,
                    content, create_time)
            SELECT corp_id, conversation_id, sequence, sender_kind, sender_id, client_message_id,
                   content, $4
              FROM unnest($5::text[], $6::text[], $7::bigint[], $8::text[], $9::text[],
                          $10::text[], $11::bytea[])
                   AS new (corp_id, conversation_id, sequence, sender_kind, sender_id,
                           client_message_id, content)
            """,
            [corp_id for corp_id, _ in last_sequences],
            [conversation_id for _, conversation_id in last_sequences],
            list(last_sequences.values()),
            now,
            [message.corp_id for message in messages],
            [message.conversation_id for message in messages],
            [message.sequence for message in messages],
            [message.sender.kind for message in messages],
            [message.sender.id for message in messages],
            [message.client_message_id for message in messages],
            [message.content for message in messages],
        )

    async def list_messages(
        self, key: ConversationKey, *, after: int, up_to: int, limit: int
    ) -> Sequence[StoredMessage]:
        """Return messages with numbers above ``after``, up to ``up_to``, in order."""
        rows = await self._connection.fetch(
            """
            SELECT sequence, sender_kind, sender_id, client_message_id, content, create_time
              FROM messaging.messages
             WHERE corp_id = $1 AND conversation_id = $2 AND sequence > $3 AND sequence <= $4
             ORDER BY sequence
             LIMIT $5
            """,
            *key,
            after,
            up_to,
            limit,
        )
        return [
            StoredMessage(
                *key,
                row["sequence"],
                Participant(row["sender_kind"], row["sender_id"]),
                row["client_message_id"],
                row["content"],
                row["create_time"],
            )
            for row in rows
        ]


def _repeated(send: Send, row: Record) -> StoredMessage | None:
    if row["sequence"] is None:
        return None
    return StoredMessage(
        send.corp_id,
        send.conversation_id,
        row["sequence"],
        send.sender,
        send.client_message_id,
        row["content"],
        row["create_time"],
    )
