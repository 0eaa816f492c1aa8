"""The SQL of the recipients of what apps send to many; written under their job's lock."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from tieline.chassis.command_tags import count_rows
from tieline.chassis.postgres import Connection
from tieline.messaging.app_messages.rules import Job
from tieline.messaging.conversations.rules import app, build_direct_key, member
from tieline.messaging.repositories.app_messages import JobKey
from tieline.messaging.repositories.pairs import find_conversation_ids
from tieline.messaging.sending.numbering import ConversationKey


class Recipient(NamedTuple):
    """Somebody who gets a job's message."""

    user_id: str
    conversation_id: str
    """Empty while the member has yet to get it."""

    sequence: int


class Reader(NamedTuple):
    """A member whom an app writes to."""

    corp_id: str
    app_id: str
    user_id: str
    conversation_id: str
    """Of the two; empty where there is none yet."""


class SentCounts(NamedTuple):
    """How many messages of an app a member got, or is to get of a job."""

    in_minute: int
    in_hour: int


async def count_recent(
    connection: Connection, readers: Collection[Reader]
) -> dict[Reader, SentCounts]:
    """Return how many messages these members got of those apps, or are to get of jobs."""
    rows = await connection.fetch(
        """
        SELECT reader.corp_id, reader.app_id, reader.user_id, reader.conversation_id,
               sent.in_minute + planned.in_minute AS in_minute,
               sent.in_hour + planned.in_hour AS in_hour
          FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
               AS reader (corp_id, app_id, user_id, conversation_id)
         CROSS JOIN LATERAL (
               SELECT count(*) FILTER (
                          WHERE create_time > statement_timestamp() - interval '1 minute'
                      ) AS in_minute,
                      count(*) AS in_hour
                 FROM messaging.recent_sends
                WHERE recent_sends.corp_id = reader.corp_id
                  AND recent_sends.conversation_id = reader.conversation_id
                  AND recent_sends.sender_kind = 'app'
                  AND recent_sends.sender_id = reader.app_id
                  AND create_time > statement_timestamp() - interval '1 hour'
         ) AS sent
         CROSS JOIN LATERAL (
               SELECT count(*) FILTER (
                          WHERE plan_time > statement_timestamp() - interval '1 minute'
                      ) AS in_minute,
                      count(*) AS in_hour
                 FROM (
                      -- In order, which the index by members alone gives: of a table that it knows
                      -- nothing about, the planner would as soon take the one of jobs' states.
                      SELECT plan_time, state
                        FROM messaging.app_message_recipients
                       WHERE app_message_recipients.corp_id = reader.corp_id
                         AND app_message_recipients.app_id = reader.app_id
                         AND app_message_recipients.user_id = reader.user_id
                         AND plan_time > statement_timestamp() - interval '1 hour'
                       ORDER BY plan_time
                      OFFSET 0
                 ) AS listed
                WHERE state = 'waiting'
         ) AS planned
        """,
        [reader.corp_id for reader in readers],
        [reader.app_id for reader in readers],
        [reader.user_id for reader in readers],
        [reader.conversation_id for reader in readers],
    )
    return {Reader(*row[:4]): SentCounts(*row[4:]) for row in map(tuple, rows)}


class RecipientRepository:
    """The recipients of jobs."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def count_recent(self, job: Job, user_ids: Collection[str]) -> Mapping[str, SentCounts]:
        """Return how many messages these members got of the job's app, or are to get."""
        keys = {
            user_id: build_direct_key((app(job.app_id), member(user_id))) for user_id in user_ids
        }
        found = await find_conversation_ids(self._connection, job.corp_id, list(keys.values()))
        readers = [
            Reader(job.corp_id, job.app_id, user_id, found.get(direct_key, ""))
            for user_id, direct_key in keys.items()
        ]
        counts = await count_recent(self._connection, readers)
        return {reader.user_id: counted for reader, counted in counts.items()}

    async def insert(self, job: Job, user_ids: Sequence[str], errors: Mapping[str, bytes]) -> None:
        """Add recipients; those with an error have failed already."""
        await self._connection.execute(
            """
            INSERT INTO messaging.app_message_recipients
                   (corp_id, job_id, app_id, user_id, state, error)
            SELECT $1, $2, $3, user_id,
                   CASE WHEN error IS NULL THEN 'waiting' ELSE 'failed' END, error
              FROM unnest($4::text[], $5::bytea[]) AS new (user_id, error)
            """,
            *job.key,
            job.app_id,
            list(user_ids),
            [errors.get(user_id) for user_id in user_ids],
        )

    async def list_waiting(self, job: Job, limit: int) -> list[str]:
        """Return recipients who have yet to get the message, by user id."""
        rows = await self._connection.fetch(
            """
            SELECT user_id
              FROM messaging.app_message_recipients
             WHERE corp_id = $1 AND job_id = $2 AND state = 'waiting'
             ORDER BY user_id
             LIMIT $3
            """,
            *job.key,
            limit,
        )
        return [row["user_id"] for row in rows]

    async def mark_sent(self, job: Job, sent: Mapping[str, tuple[str, int]]) -> None:
        """Note in which conversation, under which number, recipients got the job's content."""
        await self._connection.execute(
            """
            UPDATE messaging.app_message_recipients AS recipient
               SET state = 'sent', conversation_id = done.conversation_id,
                   sequence = done.sequence, card_version = $3
              FROM unnest($4::text[], $5::text[], $6::bigint[])
                   AS done (user_id, conversation_id, sequence)
             WHERE recipient.corp_id = $1 AND recipient.job_id = $2
               AND recipient.user_id = done.user_id
            """,
            *job.key,
            job.card_version,
            list(sent),
            [conversation_id for conversation_id, _ in sent.values()],
            [sequence for _, sequence in sent.values()],
        )

    async def mark_failed(self, job: Job, errors: Mapping[str, bytes]) -> None:
        """Note why recipients do not get the message."""
        await self._connection.execute(
            """
            UPDATE messaging.app_message_recipients AS recipient
               SET state = 'failed', error = failed.error
              FROM unnest($3::text[], $4::bytea[]) AS failed (user_id, error)
             WHERE recipient.corp_id = $1 AND recipient.job_id = $2
               AND recipient.user_id = failed.user_id
            """,
            *job.key,
            list(errors),
            list(errors.values()),
        )

    async def fail_waiting(self, job: Job, error: bytes) -> int:
        """Have nobody wait any more; return how many did."""
        status = await self._connection.execute(
            """
            UPDATE messaging.app_message_recipients
               SET state = 'failed', error = $3
             WHERE corp_id = $1 AND job_id = $2 AND state = 'waiting'
            """,
            *job.key,
            error,
        )
        return count_rows(status)

    async def list_sent(self, job: Job, limit: int) -> list[Recipient]:
        """Return recipients who have the message, by the keys of their conversations."""
        return await self._list_sent(job, "", limit)

    async def list_outdated(self, job: Job, limit: int) -> list[Recipient]:
        """Return recipients whose message has an older card, in the same order."""
        return await self._list_sent(job, "AND card_version < $4", limit, job.card_version)

    async def _list_sent(
        self, job: Job, condition: str, limit: int, *parameters: int
    ) -> list[Recipient]:
        rows = await self._connection.fetch(
            f"""
            SELECT user_id, conversation_id, sequence
              FROM (
                   SELECT user_id, conversation_id, sequence
                     FROM messaging.app_message_recipients
                    WHERE corp_id = $1 AND job_id = $2 AND state = 'sent' {condition}
                    ORDER BY user_id
                    LIMIT $3
              ) AS page
             ORDER BY conversation_id
            """,  # noqa: S608 -- conditions are code
            *job.key,
            limit,
            *parameters,
        )
        return [Recipient(*row) for row in rows]

    async def mark_recalled(self, job: Job, user_ids: Sequence[str]) -> None:
        """Note whose message was taken back."""
        await self._connection.execute(
            """
            UPDATE messaging.app_message_recipients
               SET state = 'recalled'
             WHERE corp_id = $1 AND job_id = $2 AND user_id = ANY($3::text[])
            """,
            *job.key,
            list(user_ids),
        )

    async def mark_updated(self, job: Job, user_ids: Sequence[str]) -> None:
        """Note whose message has the job's content now."""
        await self._connection.execute(
            """
            UPDATE messaging.app_message_recipients
               SET card_version = $4
             WHERE corp_id = $1 AND job_id = $2 AND user_id = ANY($3::text[])
            """,
            *job.key,
            list(user_ids),
            job.card_version,
        )

    async def is_recipient(self, key: JobKey, user_id: str, message: ConversationKey) -> bool:
        """Return whether the job sent to this member in that conversation."""
        found: bool = await self._connection.fetchval(
            """
            SELECT EXISTS (
                SELECT FROM messaging.app_message_recipients
                 WHERE corp_id = $1 AND job_id = $2 AND user_id = $3 AND conversation_id = $4)
            """,
            *key,
            user_id,
            message[1],
        )
        return found

    async def list_failed(
        self, job: Job, *, after_user_id: str, limit: int
    ) -> list[tuple[str, bytes]]:
        """Return whom the job did not reach, by user id from behind ``after_user_id`` on."""
        rows = await self._connection.fetch(
            """
            SELECT user_id, error
              FROM messaging.app_message_recipients
             WHERE corp_id = $1 AND job_id = $2 AND state = 'failed' AND user_id > $3
             ORDER BY user_id
             LIMIT $4
            """,
            *job.key,
            after_user_id,
            limit,
        )
        return [(row["user_id"], row["error"]) for row in rows]
