"""The SQL of the jobs by which apps send to many.

Whatever a turn of a job writes, it writes while it holds the lock of the job's row, which is taken
before those of conversations.
"""

import datetime as dt
from collections.abc import Sequence

from tieline.chassis.command_tags import count_rows
from tieline.chassis.postgres import Connection, Record
from tieline.messaging.app_messages.rules import Job, State
from tieline.messaging.repositories.statements import lock_name, qualify

JobKey = tuple[str, str]
"""``(corp_id, job_id)``"""

_COLUMNS = """
    corp_id, job_id, app_id, audience, invalid, content, state, is_listed, last_user_id,
    recipient_count, sent_count, failed_count, recalled_count, card_version, outdated_count,
    failure, create_time, finish_time
"""


class AppMessageRepository:
    """Jobs."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def read_time(self) -> dt.datetime:
        """Return the time of the transaction, by the database's clock."""
        now: dt.datetime = await self._connection.fetchval("SELECT now()")
        return now

    async def lock_app(self, corp_id: str, app_id: str) -> None:
        """Have others who lock the same app wait until the transaction ends."""
        await lock_name(self._connection, f"app_messages {corp_id} {app_id}")

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
            RETURNING {qualify("app_message_jobs", _COLUMNS)}
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
        return count_rows(status)


def _read(row: Record) -> Job:
    fields = dict(row)
    return Job(**{**fields, "state": State(fields["state"])})
