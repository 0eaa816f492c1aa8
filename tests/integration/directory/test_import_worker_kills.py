"""A replica that is killed while it works on a job: another one goes on, and nothing is twice."""

import asyncio
import io
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from engines import Database, create_database
from fakes.eventually import eventually
from tieline.api.directory.v1 import directory_pb2
from tieline.chassis.ids import new_corp_id, new_uuid7
from tieline.chassis.principals import Principal, PrincipalKind
from tieline.directory.batch_builder import BATCH_RECORDS
from tieline.directory.import_jobs import ImportJob, State
from tieline.directory.import_options import Mode, Options
from tieline.directory.import_totals import Totals
from tieline.directory.repositories import corps, import_jobs, member_writes

BATCHES = 4
LEAVERS = 10

# What a replica is to a job.
WORKER = """
import asyncio, sys
from tieline.chassis.health import Health
from tieline.chassis.postgres import create_pool
from tieline.directory.import_worker import ImportWorker
from tieline.directory.running_imports import RunningImports

async def main():
    health = Health()
    async with create_pool(sys.argv[1], service="directory", max_size=4, health=health) as pool:
        async with ImportWorker(pool, RunningImports()).running():
            await asyncio.Event().wait()

asyncio.run(main())
"""


@asynccontextmanager
async def replica(dsn: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", WORKER, dsn)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture(scope="module")
async def kill_database(database: Database) -> Database:
    """A database of this module's own: no other replica looks for jobs there."""
    name = database.admin_dsn.rpartition("/")[2]
    return await create_database(database, f"{name}_kills", ["directory"])


async def test_job_whose_replica_is_killed_ends_as_one_that_was_not(
    kill_database: Database,
) -> None:
    connection = await asyncpg.connect(kill_database.admin_dsn)
    corp_id = new_corp_id()
    lines = [f"u{number:05d},Wang {number},East" for number in range(BATCHES * BATCH_RECORDS)]
    lines += ["bad,,", "u00000,Twice,East"]
    file = "\n".join(["user_id,name,department", *lines]).encode()
    job = build_job(corp_id, len(file))
    try:
        async with connection.transaction():
            await corps.insert_corp(connection, corp_id, "Corp", "boss")
            await member_writes.insert_owner(connection, corp_id, "boss", "Boss")
        await add_leavers(connection, corp_id)
        async with connection.transaction():
            await import_jobs.insert_job(connection, job, io.BytesIO(file))

        async with replica(kill_database.dsn("directory")) as first:
            await eventually(lambda: has_committed(connection, corp_id))
            first.send_signal(signal.SIGKILL)
            await first.wait()
        interrupted = await find(connection, job)
        # The time of the lease passes.
        await connection.execute("UPDATE directory.import_jobs SET lease_until = '-infinity'")
        async with replica(kill_database.dsn("directory")):
            await eventually(lambda: has_finished(connection, job), timeout_s=30)

        finished = await find(connection, job)
        totals = finished.totals
        assert 0 < interrupted.totals.done_rows < len(lines)
        assert (finished.state, totals.added, totals.updated, totals.refused, totals.removed) == (
            State.SUCCEEDED, BATCHES * BATCH_RECORDS, 0, 2, LEAVERS,
        )  # fmt: skip
        errors = await import_jobs.list_errors(
            connection, corp_id, job.job_id, after_number=0, limit=10
        )
        assert [(number, error.column) for number, error in errors] == [(1, "name"), (2, "user_id")]
        assert await count_events(connection, corp_id) == BATCHES * BATCH_RECORDS
        assert (
            await connection.fetchval(
                "SELECT count(*) FROM directory.member_departments WHERE corp_id = $1", corp_id
            )
            == BATCHES * BATCH_RECORDS + 1
        )
        assert await connection.fetchval("SELECT count(*) FROM directory.import_chunks") == 0
    finally:
        await connection.close()


def build_job(corp_id: str, file_bytes: int) -> ImportJob:
    return ImportJob(
        corp_id=corp_id,
        job_id=new_uuid7(),
        state=State.WAITING,
        options=Options(mode=Mode.REPLACE_MEMBERS, confirmed_removals=LEAVERS),
        creator=Principal(PrincipalKind.MEMBER, "boss", corp_id, session_id=""),
        file_bytes=file_bytes,
        total_rows=0,
        totals=Totals(),
        checked_change_number=None,
        failure=None,
        attempts=0,
        create_time=None,  # type: ignore[arg-type]  # the database gives it
        start_time=None,
        finish_time=None,
    )


async def add_leavers(connection: asyncpg.Connection, corp_id: str) -> None:
    """Add members whom the file does not name."""
    await connection.execute(
        """
        INSERT INTO directory.members (corp_id, user_id, name, department_id)
        SELECT $1, 'gone' || number, 'Gone', 1 FROM generate_series(1, $2) AS number
        """,
        corp_id,
        LEAVERS,
    )


async def find(connection: asyncpg.Connection, job: ImportJob) -> ImportJob:
    found = await import_jobs.find_job(connection, job.corp_id, job.job_id)
    assert found is not None
    return found


async def has_committed(connection: asyncpg.Connection, corp_id: str) -> bool:
    count: int = await connection.fetchval(
        "SELECT count(*) FROM directory.members WHERE corp_id = $1", corp_id
    )
    return count > BATCH_RECORDS


async def has_finished(connection: asyncpg.Connection, job: ImportJob) -> bool:
    return (await find(connection, job)).state.is_finished


async def count_events(connection: asyncpg.Connection, corp_id: str) -> int:
    """Return how many members the events of imports name; nobody publishes them here."""
    rows = await connection.fetch(
        "SELECT payload FROM directory.outbox WHERE corp_id = $1 AND subject = $2",
        corp_id,
        "tieline.directory.v1.members_imported",
    )
    return sum(len(directory_pb2.MembersImported.FromString(row[0]).user_ids) for row in rows)
