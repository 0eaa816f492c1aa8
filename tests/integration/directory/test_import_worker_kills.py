"""A replica that is killed while it works on a job: another one goes on, and nothing is twice."""

import asyncio
import io
import pickle
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from engines import Database, create_database
from fakes.eventually import eventually
from tieline.api.directory.v1 import directory_pb2
from tieline.chassis.ids import new_corp_id, new_uuid7
from tieline.chassis.principals import Principal, PrincipalKind
from tieline.directory.imports.batch_builder import BATCH_RECORDS
from tieline.directory.imports.jobs import ImportJob, State
from tieline.directory.imports.options import Mode, Options
from tieline.directory.imports.totals import Totals
from tieline.directory.repositories import corps, import_jobs, member_writes

# Two whole ones, and what is left: the last one has members too, and rows that are refused.
PEOPLE = 2 * BATCH_RECORDS + 500
LEAVERS = 10
ROWS = [f"u{number:05d},Wang {number},East/Shop {number % 7}" for number in range(PEOPLE)]
FILE = "\n".join(["user_id,name,department", *ROWS, "bad,,", "u00000,Twice,East"]).encode()

# What a replica is to a job.
WORKER = """
import asyncio, sys
from tieline.chassis.health import Health
from tieline.chassis.postgres import create_pool
from tieline.directory.imports.worker import ImportWorker
from tieline.directory.imports.running import RunningImports
from tieline.directory.visibility.viewers import Viewers

async def main():
    health = Health()
    async with create_pool(sys.argv[1], service="directory", max_size=4, health=health) as pool:
        viewers = Viewers(pool, app_ranges=None)
        async with ImportWorker(pool, viewers, RunningImports()).running():
            await asyncio.Event().wait()

asyncio.run(main())
"""


# What a replica is to the call that brings a job: it stores the file with the job.
INTAKE = """
import asyncio, pickle, sys
from tieline.chassis.health import Health
from tieline.chassis.postgres import create_pool, transaction
from tieline.directory.repositories import import_jobs

async def main():
    job, health = pickle.loads(bytes.fromhex(sys.argv[2])), Health()
    async with create_pool(sys.argv[1], service="directory", max_size=1, health=health) as pool:
        async with transaction(pool) as connection:
            with open(sys.argv[3], "rb") as file:
                await import_jobs.insert_job(connection, job, file)

asyncio.run(main())
"""

# Whoever comes to a trigger with this function waits for as long as the test holds the lock.
WAIT = """
    CREATE FUNCTION directory.wait() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_advisory_xact_lock_shared(1);
        RETURN NEW;
    END $$
"""
HOLD = "SELECT pg_advisory_xact_lock(1)"


@dataclass(frozen=True)
class Moment:
    """When a replica is killed, and how many rows are done then."""

    done_rows: int
    trigger: str = ""
    """Where it waits for that."""

    hold: str = HOLD


MOMENTS = {
    "the file is read": Moment(0, hold="LOCK TABLE directory.import_chunks"),
    "in the first batch": Moment(
        0, "AFTER INSERT ON directory.members FOR EACH ROW WHEN (NEW.user_id = 'u00900')"
    ),
    "between two batches": Moment(
        BATCH_RECORDS,
        "BEFORE INSERT ON directory.members FOR EACH ROW"
        f" WHEN (NEW.user_id = 'u{BATCH_RECORDS:05d}')",
    ),
    "in the last batch": Moment(
        2 * BATCH_RECORDS,
        f"AFTER INSERT ON directory.members FOR EACH ROW WHEN (NEW.user_id = 'u{PEOPLE - 1:05d}')",
    ),
    "members leave": Moment(
        len(ROWS) + 2,
        "AFTER UPDATE ON directory.members FOR EACH ROW WHEN (NEW.state = 'left')",
    ),
    "before it is marked finished": Moment(
        len(ROWS) + 2,
        "BEFORE UPDATE ON directory.import_jobs FOR EACH ROW WHEN (NEW.state = 'succeeded')",
    ),
}


@asynccontextmanager
async def replica(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", *arguments)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def held_at(database: Database, moment: Moment) -> AsyncIterator[asyncpg.Connection]:
    """Have whoever comes to the moment wait there until the block is left."""
    table = moment.trigger.partition(" ON ")[2].partition(" ")[0]
    connection = await asyncpg.connect(database.admin_dsn)
    try:
        if table:
            await connection.execute(
                f"CREATE TRIGGER held {moment.trigger} EXECUTE FUNCTION directory.wait()"
            )
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(moment.hold)
        yield connection
        await transaction.rollback()
        if table:
            # Waits for what the killed one has begun to be undone.
            await connection.execute(f"DROP TRIGGER held ON {table}")
    finally:
        await connection.close()


async def kill_at(database: Database, moment: Moment, *arguments: str) -> None:
    """Start a replica, and kill it once it has come to the moment."""
    async with held_at(database, moment) as holder, replica(*arguments) as process:

        async def is_there() -> bool:
            waiting: bool = await holder.fetchval(
                """
                SELECT EXISTS (SELECT
                                 FROM pg_locks
                                WHERE NOT granted AND database = (SELECT oid
                                                                    FROM pg_database
                                                                   WHERE datname
                                                                         = current_database()))
                """
            )
            return waiting

        await eventually(is_there, timeout_s=30)
        process.send_signal(signal.SIGKILL)
        await process.wait()


@pytest.fixture(scope="module")
async def kill_database(database: Database) -> Database:
    """A database of this module's own: no other replica looks for jobs there."""
    name = database.admin_dsn.rpartition("/")[2]
    made = await create_database(database, f"{name}_kills", ["directory"])
    connection = await asyncpg.connect(made.admin_dsn)
    try:
        await connection.execute(WAIT)
    finally:
        await connection.close()
    return made


@pytest.fixture
async def connection(kill_database: Database) -> AsyncIterator[asyncpg.Connection]:
    connected = await asyncpg.connect(kill_database.admin_dsn)
    try:
        yield connected
    finally:
        await connected.close()


@pytest.fixture(scope="module")
async def undisturbed(kill_database: Database) -> dict[str, object]:
    """What comes of the file when nobody is killed."""
    connection = await asyncpg.connect(kill_database.admin_dsn)
    try:
        job = await make_corp(connection)
        await insert(connection, job)
        await finish(kill_database, connection, job)
        return await read_outcome(connection, job)
    finally:
        await connection.close()


async def test_undisturbed_import_has_everything(undisturbed: dict[str, object]) -> None:
    """What the others are compared with is right."""
    totals = undisturbed["totals"]
    assert isinstance(totals, Totals)
    assert (totals.added, totals.updated, totals.refused, totals.removed) == (PEOPLE, 0, 2, LEAVERS)
    assert undisturbed["errors"] == [(1, "name"), (2, "user_id")]
    assert undisturbed["members named by events"] == PEOPLE
    assert undisturbed["audit entries"] == 1


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
async def test_job_whose_replica_is_killed_ends_as_one_that_was_not(
    kill_database: Database,
    connection: asyncpg.Connection,
    undisturbed: dict[str, object],
    moment: Moment,
) -> None:
    """The same members, departments, numbers of changes, events, errors and counts."""
    job = await make_corp(connection)
    await insert(connection, job)

    await kill_at(kill_database, moment, WORKER, kill_database.dsn("directory"))
    interrupted = await find(connection, job)
    await finish(kill_database, connection, job)

    assert (interrupted.state, interrupted.totals.done_rows) == (State.RUNNING, moment.done_rows)
    assert await read_outcome(connection, job) == undisturbed


async def test_file_whose_replica_is_killed_while_it_comes_in_is_sent_again(
    kill_database: Database,
    connection: asyncpg.Connection,
    undisturbed: dict[str, object],
    tmp_path: Path,
) -> None:
    """Nothing of it is left, so that it is imported once."""
    job = await make_corp(connection)
    path = tmp_path / "file.csv"
    path.write_bytes(FILE)
    moment = Moment(0, "AFTER INSERT ON directory.import_chunks FOR EACH ROW")
    arguments = (INTAKE, kill_database.dsn("directory"), pickle.dumps(job).hex(), str(path))

    await kill_at(kill_database, moment, *arguments)
    left = await import_jobs.find_job(connection, job.corp_id, job.job_id)
    async with replica(*arguments) as again:
        assert await again.wait() == 0
    await finish(kill_database, connection, job)

    assert left is None
    assert await read_outcome(connection, job) == undisturbed


async def make_corp(connection: asyncpg.Connection) -> ImportJob:
    """Make a corp with an owner and members whom the file does not name; return its job."""
    job = build_job(new_corp_id(), len(FILE))
    async with connection.transaction():
        await corps.insert_corp(connection, job.corp_id, "Corp", "boss")
        await member_writes.insert_owner(connection, job.corp_id, "boss", "Boss")
    await add_leavers(connection, job.corp_id)
    return job


async def insert(connection: asyncpg.Connection, job: ImportJob) -> None:
    async with connection.transaction():
        await import_jobs.insert_job(connection, job, io.BytesIO(FILE))


async def finish(database: Database, connection: asyncpg.Connection, job: ImportJob) -> None:
    """Have a replica finish the job, at once: the time of the lease passes."""
    await connection.execute(
        "UPDATE directory.import_jobs SET lease_until = '-infinity' WHERE lease_until IS NOT NULL"
    )
    async with replica(WORKER, database.dsn("directory")):
        await eventually(lambda: has_finished(connection, job), timeout_s=30)


async def read_outcome(connection: asyncpg.Connection, job: ImportJob) -> dict[str, object]:
    """Return all that an import leaves, but for ids of this corp and times."""
    corp_id = job.corp_id
    finished = await find(connection, job)
    errors = await import_jobs.list_errors(
        connection, corp_id, job.job_id, after_number=0, limit=10
    )
    tables = {
        "members": "user_id, name, department_id, state, import_line, change_number",
        "departments": "department_id, path, ancestor_ids, change_number",
        "member_departments": "user_id, department_id, member_order, is_leader",
        "removals": "kind, resource_id",
        "corps": "last_change_number, next_department_id",
        "import_chunks": "chunk_number",
    }
    rows = {
        table: await connection.fetch(
            f"SELECT {columns} FROM directory.{table} WHERE corp_id = $1 ORDER BY {columns}",
            corp_id,
        )
        for table, columns in tables.items()
    }
    return {
        **{table: [tuple(row) for row in found] for table, found in rows.items()},
        "state": finished.state,
        "totals": finished.totals,
        "errors": [(number, error.column) for number, error in errors],
        "members named by events": await count_events(connection, corp_id),
        "audit entries": await connection.fetchval(
            "SELECT count(*) FROM directory.outbox WHERE corp_id = $1 AND subject LIKE '%audit%'",
            corp_id,
        ),
    }


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
