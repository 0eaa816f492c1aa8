"""The SQL of what apps send to many: jobs and their recipients.

Whatever a turn of a job writes, it writes while it holds the lock of the job's row, which is taken
before those of conversations.
"""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from tieline.chassis.postgres import Connection, Record
from tieline.messaging.app_messages import Job, State
from tieline.messaging.numbering import ConversationKey

JobKey = tuple[str, str]
"""``(corp_id, job_id)``"""

_COLUMNS = """
    corp_id, job_id, app_id, audience, invalid, content, state, is_listed, last_user_id,
    recipient_count, sent_count, failed_count, recalled_count, card_version, outdated_count,
    failure, create_time, finish_time
"""


class Recipient(NamedTuple):
    """Somebody who gets a job's message."""

    user_id: str
    conversation_id: str
    """Empty while the member has yet to get it."""

    sequence: int


class SentCounts(NamedTuple):
    """How many messages of an app a member got."""

    in_minute: int
    in_hour: int


class AppMessageRepository:
    """Jobs and recipients."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def read_time(self) -> dt.datetime:
        """Return the time of the transaction, by the database's clock."""
        now: dt.datetime = await self._connection.fetchval("SELECT now()")
        return now

    async def lock_app(self, corp_id: str, app_id: str) -> None:
        """Have others who lock the same app wait until the transaction ends."""
        await self._connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))",
            f"tieline.messaging.app_messages {corp_id} {app_id}",
        )

    async def count_with_work(self, corp_id: str, app_id: str) -> int:
        """Return how many of the locked app's jobs have work to do."""
        count: int = await self._connection.fetchval(
            """
            SELECT count(*)
              FROM messaging.app_message_jobs
             WHERE corp_id = $1 AND app_id = $2 AND has_work
            """,
            corp_id,
            app_id,
        )
        return count

    async def insert(
        self,
        key: JobKey,
        app_id: str,
        *,
        audience: bytes,
        invalid: bytes,
        content: bytes,
        digest: bytes,
    ) -> Job:
        """Add a job that has everything before it."""
        row = await self._connection.fetchrow(
            f"""
            INSERT INTO messaging.app_message_jobs
                   (corp_id, job_id, app_id, audience, invalid, content, digest)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            RETURNING {_COLUMNS}
            """,  # noqa: S608 -- columns are named by the code
            *key,
            app_id,
            audience,
            invalid,
            content,
            digest,
        )
        assert row is not None, "an INSERT returns its row"
        return _read(row)

    async def find_like(
        self, corp_id: str, app_id: str, digest: bytes, within: dt.timedelta
    ) -> Job | None:
        """Return the app's newest job of the same audience and content, if it is so young."""
        row = await self._connection.fetchrow(
            f"""
            SELECT {_COLUMNS}
              FROM messaging.app_message_jobs
             WHERE corp_id = $1 AND app_id = $2 AND digest = $3
               AND create_time > now() - $4::interval
             ORDER BY job_id DESC
             LIMIT 1
            """,  # noqa: S608 -- columns are named by the code
            corp_id,
            app_id,
            digest,
            within,
        )
        return None if row is None else _read(row)

    async def find(self, key: JobKey, *, app_id: str | None, locks: bool = False) -> Job | None:
        """Return a job, of that app where one is named; locked where asked for."""
        row = await self._connection.fetchrow(
            f"""
            SELECT {_COLUMNS}
              FROM messaging.app_message_jobs
             WHERE corp_id = $1 AND job_id = $2 AND ($3::text IS NULL OR app_id = $3)
            {"FOR NO KEY UPDATE" if locks else ""}
            """,  # noqa: S608 -- columns are named by the code
            *key,
            app_id,
        )
        return None if row is None else _read(row)

    async def list_of(
        self, corp_id: str, app_id: str, *, before_id: str, limit: int
    ) -> Sequence[Job]:
        """Return an app's jobs, the newest first, from behind ``before_id`` (empty: all) on."""
        rows = await self._connection.fetch(
            f"""
            SELECT {_COLUMNS}
              FROM messaging.app_message_jobs
             WHERE corp_id = $1 AND app_id = $2 AND ($3 = '' OR job_id < $3)
             ORDER BY job_id DESC
             LIMIT $4
            """,  # noqa: S608 -- columns are named by the code
            corp_id,
            app_id,
            before_id,
            limit,
        )
        return [_read(row) for row in rows]

    async def claim(self, *, lease: dt.timedelta) -> Job | None:
        """Take the job with work whose turn was longest ago, that no replica has taken."""
        row = await self._connection.fetchrow(
            f"""
            WITH next AS (
                SELECT corp_id, job_id
                  FROM messaging.app_message_jobs
                 WHERE has_work AND claimed_until < now()
                   AND NOT EXISTS (
                       SELECT FROM messaging.corps
                        WHERE corps.corp_id = app_message_jobs.corp_id
                          AND (corps.is_suspended OR corps.delete_time IS NOT NULL))
                 ORDER BY turn_time
                 LIMIT 1
                   FOR NO KEY UPDATE SKIP LOCKED
            )
            UPDATE messaging.app_message_jobs
               SET claimed_until = now() + $1::interval
              FROM next
             WHERE app_message_jobs.corp_id = next.corp_id AND app_message_jobs.job_id = next.job_id
            RETURNING {_qualify(_COLUMNS)}
            """,  # noqa: S608 -- columns are named by the code
            lease,
        )
        return None if row is None else _read(row)

    async def put_off(self, key: JobKey, delay: dt.timedelta) -> None:
        """End a turn; the next one comes after ``delay`` at the earliest."""
        await self._connection.execute(
            """
            UPDATE messaging.app_message_jobs
               SET claimed_until = now() + $3::interval, turn_time = clock_timestamp()
             WHERE corp_id = $1 AND job_id = $2
            """,
            *key,
            delay,
        )

    async def save(self, job: Job) -> None:
        """Write what may change of a locked job."""
        await self._connection.execute(
            """
            UPDATE messaging.app_message_jobs
               SET content = $3, state = $4, is_listed = $5, last_user_id = $6,
                   recipient_count = $7, sent_count = $8, failed_count = $9, recalled_count = $10,
                   card_version = $11, outdated_count = $12, failure = $13, finish_time = $14,
                   has_work = $15
             WHERE corp_id = $1 AND job_id = $2
            """,
            *job.key,
            job.content,
            job.state,
            job.is_listed,
            job.last_user_id,
            job.recipient_count,
            job.sent_count,
            job.failed_count,
            job.recalled_count,
            job.card_version,
            job.outdated_count,
            job.failure,
            job.finish_time,
            job.has_work,
        )

    async def count_recent(self, job: Job, user_ids: Collection[str]) -> Mapping[str, SentCounts]:
        """Return how many messages these members got of the job's app, or are to get."""
        rows = await self._connection.fetch(
            """
            SELECT member.user_id, counted.in_minute, counted.in_hour
              FROM unnest($3::text[]) AS member (user_id)
             CROSS JOIN LATERAL (
                   SELECT count(*) FILTER (WHERE plan_time > now() - interval '1 minute')
                              AS in_minute,
                          count(*) AS in_hour
                     FROM messaging.app_message_recipients
                    WHERE corp_id = $1 AND app_id = $2
                      AND app_message_recipients.user_id = member.user_id
                      AND plan_time > now() - interval '1 hour'
                      AND state <> 'failed'
             ) AS counted
            """,
            job.corp_id,
            job.app_id,
            list(user_ids),
        )
        return {row["user_id"]: SentCounts(row["in_minute"], row["in_hour"]) for row in rows}

    async def insert_recipients(
        self, job: Job, user_ids: Sequence[str], errors: Mapping[str, bytes]
    ) -> None:
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
        return int(status.rpartition(" ")[2])

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

    async def delete_old(self, *, age: dt.timedelta, maximum: int) -> int:
        """Forget so many jobs of longer ago, with their recipients; return how many."""
        status = await self._connection.execute(
            """
            DELETE FROM messaging.app_message_jobs
             USING (SELECT corp_id, job_id
                      FROM messaging.app_message_jobs
                     WHERE create_time < now() - $1::interval AND NOT has_work
                     ORDER BY create_time
                     LIMIT $2
                       FOR UPDATE SKIP LOCKED) AS old
             WHERE app_message_jobs.corp_id = old.corp_id AND app_message_jobs.job_id = old.job_id
            """,
            age,
            maximum,
        )
        return int(status.rpartition(" ")[2])


def _qualify(columns: str) -> str:
    names = [name.strip() for name in columns.split(",")]
    return ", ".join(f"app_message_jobs.{name}" for name in names)


def _read(row: Record) -> Job:
    fields = dict(row)
    return Job(**{**fields, "state": State(fields["state"])})
