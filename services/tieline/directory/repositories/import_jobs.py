"""Import jobs, their files and their errors."""

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import BinaryIO

from tieline.chassis.errors import AbortedError
from tieline.chassis.postgres import Connection, ConstraintErrors, Record
from tieline.directory.imports.jobs import (
    KEPT_JOBS,
    Failure,
    ImportJob,
    State,
    build_creator,
    options_from_json,
    options_to_json,
)
from tieline.directory.imports.member_rows import RowError
from tieline.directory.imports.run import RunState
from tieline.directory.imports.totals import Totals

CONSTRAINT_ERRORS: ConstraintErrors = {
    "import_jobs_one_running": lambda: AbortedError(
        "CONCURRENT_CHANGE", "another import job of the corp began meanwhile"
    ),
}

# A value is one piece of memory in the server and here.
_CHUNK_BYTES = 1024 * 1024

_COLUMNS = """
    corp_id, job_id, state, options, creator_kind, creator_id, range_ids, file_bytes, total_rows,
    totals, checked_change_number, failure, attempts, create_time, start_time, finish_time
"""


async def read_time(connection: Connection) -> dt.datetime:
    """Return the transaction's time."""
    now: dt.datetime = await connection.fetchval("SELECT now()")
    return now


async def insert_job(connection: Connection, job: ImportJob, file: BinaryIO) -> None:
    """Add a waiting job with its file."""
    await connection.execute(
        """
        INSERT INTO directory.import_jobs
               (corp_id, job_id, state, options, creator_kind, creator_id, range_ids, file_bytes)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        """,
        job.corp_id,
        job.job_id,
        job.state,
        json.dumps(options_to_json(job.options)),
        job.creator.kind,
        job.creator.id,
        sorted(job.creator.department_ids),
        job.file_bytes,
    )
    file.seek(0)
    number = 0
    while content := file.read(_CHUNK_BYTES):
        await connection.execute(
            """
            INSERT INTO directory.import_chunks (corp_id, job_id, chunk_number, content)
            VALUES ($1, $2, $3, $4)
            """,
            job.corp_id,
            job.job_id,
            number,
            content,
        )
        number += 1


async def find_chunk(
    connection: Connection, corp_id: str, job_id: str, number: int
) -> bytes | None:
    """Return a piece of a job's file; None behind the last one."""
    content: bytes | None = await connection.fetchval(
        """
        SELECT content
          FROM directory.import_chunks
         WHERE corp_id = $1 AND job_id = $2 AND chunk_number = $3
        """,
        corp_id,
        job_id,
        number,
    )
    return content


async def count_waiting(connection: Connection, corp_id: str) -> int:
    """Return how many jobs of the corp no replica has taken."""
    count: int = await connection.fetchval(
        "SELECT count(*) FROM directory.import_jobs WHERE corp_id = $1 AND state = 'waiting'",
        corp_id,
    )
    return count


async def find_job(connection: Connection, corp_id: str, job_id: str) -> ImportJob | None:
    """Return a job, or None."""
    record = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM directory.import_jobs WHERE corp_id = $1 AND job_id = $2",  # noqa: S608 -- columns are named by the code
        corp_id,
        job_id,
    )
    return None if record is None else _to_job(record)


async def list_jobs(
    connection: Connection, corp_id: str, *, creator_id: str, before_job_id: str, limit: int
) -> list[ImportJob]:
    """Return the corp's jobs, the newest first, from behind ``before_job_id`` (empty: all) on.

    With ``creator_id`` those of that member alone.
    """
    records = await connection.fetch(
        f"""
        SELECT {_COLUMNS}
          FROM directory.import_jobs
         WHERE corp_id = $1 AND ($2 = '' OR job_id < $2)
           AND ($3 = '' OR (creator_kind = 'member' AND creator_id = $3))
         ORDER BY job_id DESC
         LIMIT $4
        """,  # noqa: S608 -- columns are named by the code
        corp_id,
        before_job_id,
        creator_id,
        limit,
    )
    return [_to_job(record) for record in records]


async def list_errors(
    connection: Connection, corp_id: str, job_id: str, *, after_number: int, limit: int
) -> list[tuple[int, RowError]]:
    """Return numbered errors of a job from behind a number on."""
    records = await connection.fetch(
        """
        SELECT error_number, line, column_name, reason
          FROM directory.import_errors
         WHERE corp_id = $1 AND job_id = $2 AND error_number > $3
         ORDER BY error_number
         LIMIT $4
        """,
        corp_id,
        job_id,
        after_number,
        limit,
    )
    return [(record[0], RowError(*tuple(record)[1:])) for record in records]


async def list_takeable(connection: Connection, limit: int) -> list[tuple[str, str]]:
    """Return corps and ids of jobs that nobody works on, those that wait longest first."""
    records = await connection.fetch(
        """
        SELECT corp_id, job_id
          FROM directory.import_jobs AS job
         WHERE state IN ('waiting', 'running') AND lease_until < now()
           AND (state = 'running'
                OR NOT EXISTS (SELECT
                                 FROM directory.import_jobs AS other
                                WHERE other.corp_id = job.corp_id AND other.state = 'running'))
         ORDER BY job_id
         LIMIT $1
        """,
        limit,
    )
    return [(record[0], record[1]) for record in records]


async def claim_job(
    connection: Connection, corp_id: str, job_id: str, holder: str, lease_s: float
) -> ImportJob | None:
    """Take a job that nobody works on; None if somebody else was faster.

    A second job of the corp at the same time breaks ``import_jobs_one_running``.
    """
    record = await connection.fetchrow(
        f"""
        UPDATE directory.import_jobs
           SET state = 'running', attempts = attempts + 1, lease_holder = $3,
               lease_until = now() + make_interval(secs => $4),
               start_time = coalesce(start_time, now())
         WHERE corp_id = $1 AND job_id = $2 AND state IN ('waiting', 'running')
           AND lease_until < now()
        RETURNING {_COLUMNS}
        """,  # noqa: S608 -- columns are named by the code
        corp_id,
        job_id,
        holder,
        lease_s,
    )
    return None if record is None else _to_job(record)


async def keep_progress(
    connection: Connection, job: ImportJob, holder: str, state: RunState, lease_s: float
) -> bool:
    """Write down how far a job is and extend its lease; False if it is no longer the holder's."""
    kept = await connection.fetchval(
        """
        UPDATE directory.import_jobs
           SET total_rows = $4, totals = $5, checked_change_number = $6, attempts = 0,
               lease_until = now() + make_interval(secs => $7)
         WHERE corp_id = $1 AND job_id = $2 AND state = 'running' AND lease_holder = $3
        RETURNING true
        """,
        job.corp_id,
        job.job_id,
        holder,
        state.total_rows,
        json.dumps(asdict(state.totals)),
        state.checked_change_number,
        lease_s,
    )
    return bool(kept)


async def release_job(connection: Connection, job: ImportJob, holder: str) -> None:
    """Let another replica go on with the job at once; the attempt does not count."""
    await connection.execute(
        """
        UPDATE directory.import_jobs
           SET lease_until = '-infinity', attempts = greatest(attempts - 1, 0)
         WHERE corp_id = $1 AND job_id = $2 AND state = 'running' AND lease_holder = $3
        """,
        job.corp_id,
        job.job_id,
        holder,
    )


async def insert_errors(
    connection: Connection, job: ImportJob, first_number: int, errors: Sequence[RowError]
) -> None:
    """Add errors behind those that are there."""
    await connection.copy_records_to_table(
        "import_errors",
        schema_name="directory",
        columns=("corp_id", "job_id", "error_number", "line", "column_name", "reason"),
        records=[
            (job.corp_id, job.job_id, number, *error)
            for number, error in enumerate(errors, start=first_number)
        ],
    )


async def delete_errors(connection: Connection, job: ImportJob) -> None:
    """Forget what is wrong with the rows of a job that begins again."""
    await connection.execute(
        "DELETE FROM directory.import_errors WHERE corp_id = $1 AND job_id = $2",
        job.corp_id,
        job.job_id,
    )


async def finish_job(
    connection: Connection,
    corp_id: str,
    job_id: str,
    state: State,
    failure: Failure | None = None,
    *,
    holder: str | None = None,
) -> bool:
    """End a job, drop its file and the corp's oldest jobs; False if it is ended already.

    With ``holder``, also if it is no longer the holder's.
    """
    finished = await connection.fetchval(
        """
        UPDATE directory.import_jobs
           SET state = $3, failure = $4, finish_time = now()
         WHERE corp_id = $1 AND job_id = $2 AND state IN ('waiting', 'running')
           AND ($5::text IS NULL OR lease_holder = $5)
        RETURNING true
        """,
        corp_id,
        job_id,
        state,
        None if failure is None else json.dumps(asdict(failure)),
        holder,
    )
    if not finished:
        return False
    await connection.execute(
        "DELETE FROM directory.import_chunks WHERE corp_id = $1 AND job_id = $2", corp_id, job_id
    )
    await connection.execute(
        """
        DELETE FROM directory.import_jobs
         WHERE corp_id = $1
           AND job_id IN (SELECT job_id
                            FROM directory.import_jobs
                           WHERE corp_id = $1 AND finish_time IS NOT NULL
                           ORDER BY finish_time DESC, job_id DESC
                          OFFSET $2)
        """,
        corp_id,
        KEPT_JOBS,
    )
    return True


def _to_job(record: Record) -> ImportJob:
    failure = record["failure"]
    return ImportJob(
        corp_id=record["corp_id"],
        job_id=record["job_id"],
        state=State(record["state"]),
        options=options_from_json(json.loads(record["options"])),
        creator=build_creator(
            record["creator_kind"], record["creator_id"], record["corp_id"], record["range_ids"]
        ),
        file_bytes=record["file_bytes"],
        total_rows=record["total_rows"],
        totals=Totals(**json.loads(record["totals"])),
        checked_change_number=record["checked_change_number"],
        failure=None if failure is None else Failure(**json.loads(failure)),
        attempts=record["attempts"],
        create_time=record["create_time"],
        start_time=record["start_time"],
        finish_time=record["finish_time"],
    )
