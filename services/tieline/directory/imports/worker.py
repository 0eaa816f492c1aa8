"""Works on import jobs: each replica takes one at a time, and goes on where another ended.

A job is held by a lease that each of its transactions extends and checks. So a replica that
vanishes loses its job after ``LEASE_S``, one that is told to stop gives it back at once, and a
replica that was only slow can commit nothing for a job that is another's by now.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import BinaryIO

from tieline.chassis.admission.priorities import LOWEST_PRIORITY
from tieline.chassis.calls import Call, entered
from tieline.chassis.errors import (
    AbortedError,
    ResourceExhaustedError,
    ServiceError,
    UnavailableError,
)
from tieline.chassis.ids import new_uuid7
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.chassis.tasks import end_task
from tieline.directory.imports.files import FileImport
from tieline.directory.imports.jobs import MAX_ATTEMPTS, Failure, ImportJob, State
from tieline.directory.imports.member_rows import RowError
from tieline.directory.imports.messages import find_caller_user_id
from tieline.directory.imports.progress import ImportAudit
from tieline.directory.imports.record_files import temporary_file
from tieline.directory.imports.run import RunState
from tieline.directory.imports.running import RunningImports
from tieline.directory.imports.totals import Totals
from tieline.directory.imports.writes import Importer
from tieline.directory.repositories import import_jobs
from tieline.directory.visibility.decision import NOBODY
from tieline.directory.visibility.viewers import Viewers

# Far above a transaction's time; as long does a job wait whose replica vanished.
LEASE_S = 30.0

# A pass that writes nothing says so often that a late one costs no lease.
_ALIVE_INTERVAL_S = 5.0

# A replica hears at once of a job that it took in itself; of others', and of lost ones, like this.
POLL_INTERVAL_S = 2.0

# More than one, so that replicas that look at the same time find something each.
_CANDIDATES = 8

_GIVE_BACK_TIMEOUT_S = 3.0

# What is no fault of the job: the database is away, busy, or its disk full.
_PASSING_ERRORS = (UnavailableError, AbortedError, ResourceExhaustedError)

logger = logging.getLogger(__name__)


class JobLostError(Exception):
    """The job was cancelled, or is another replica's by now."""


class ImportWorker:
    """Takes jobs and works on them, one at a time."""

    def __init__(self, pool: Pool, viewers: Viewers, imports: RunningImports) -> None:
        self._pool = pool
        self._viewers = viewers
        self._imports = imports
        # Of this process; a second worker in it would hold other leases.
        self._holder = new_uuid7()
        self._has_jobs = asyncio.Event()

    def wake(self) -> None:
        """Look for jobs at once."""
        self._has_jobs.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Work on jobs within the block; what is unfinished then is given back."""
        task = asyncio.create_task(self._run(), name="import-worker")
        try:
            yield
        finally:
            await end_task(task)

    async def _run(self) -> None:
        while True:
            self._has_jobs.clear()
            try:
                worked = await self._work_once()
            except Exception:
                logger.exception("an import job could not be taken; looking again")
                worked = False
            if worked:
                continue
            try:
                async with asyncio.timeout(POLL_INTERVAL_S):
                    await self._has_jobs.wait()
            except TimeoutError:
                continue

    async def _work_once(self) -> bool:
        """Work on a job if there is one; tell whether there was."""
        try:
            job = await self._take()
        except _PASSING_ERRORS:
            # The database's probe tells what is away; who lost against another looks again.
            return False
        if job is None:
            return False
        try:
            await self._work(job)
        except asyncio.CancelledError:
            await self._give_back(job)
            raise
        except JobLostError:
            logger.info("import job %s is no longer this replica's", job.job_id)
        except _PASSING_ERRORS as error:
            logger.warning("import job %s goes on when its lease ends: %s", job.job_id, error)
            return False
        return True

    async def _take(self) -> ImportJob | None:
        async with self._pool.acquire() as connection:
            candidates = await import_jobs.list_takeable(connection, _CANDIDATES)
        for corp_id, job_id in candidates:
            async with transaction(self._pool) as connection:
                job = await import_jobs.claim_job(
                    connection, corp_id, job_id, self._holder, LEASE_S
                )
            if job is not None:
                return job
        return None

    async def _give_back(self, job: ImportJob) -> None:
        try:
            async with asyncio.timeout(_GIVE_BACK_TIMEOUT_S), self._pool.acquire() as connection:
                await import_jobs.release_job(connection, job, self._holder)
        except (ServiceError, TimeoutError):
            logger.warning("import job %s could not be given back; its lease ends", job.job_id)

    async def _work(self, job: ImportJob) -> None:
        if job.attempts > MAX_ATTEMPTS:
            text = f"{MAX_ATTEMPTS} replicas ended while they worked on it"
            await self._finish(job, State.FAILED, Failure("INTERNAL", text))
            return
        # What it causes matters as little as an import's own call; its entries name the job.
        call = Call("import job", job.job_id, priority=LOWEST_PRIORITY)
        try:
            with self._imports.one(), entered(call):
                await self._import(job)
        except _PASSING_ERRORS:
            raise
        except ServiceError as error:
            failure = Failure(error.reason, error.text, dict(error.metadata))
            await self._finish(job, State.FAILED, failure)
        except JobLostError:
            raise
        except Exception:
            logger.exception("import job %s failed", job.job_id)
            await self._finish(
                job, State.FAILED, Failure("INTERNAL", "a fault of the service; its log has more")
            )
        else:
            await self._finish(job, State.SUCCEEDED)

    async def _import(self, job: ImportJob) -> None:
        if job.options.is_dry_run:
            # What it knows of the rows before is in no table: it begins again.
            state = RunState()
            async with transaction(self._pool) as connection:
                await import_jobs.delete_errors(connection, job)
        else:
            state = RunState(job.totals, job.total_rows, job.checked_change_number)
        keeper = _JobKeeper(self._pool, job, self._holder, state)
        file_import = FileImport(
            self._pool,
            job.corp_id,
            job.job_id,
            job.options,
            await self._find_importer(job),
            find_caller_user_id(job.creator),
        )
        with temporary_file() as file:
            await self._fetch_file(job, file)
            async with aclosing(file_import.run(file, keeper, state)) as steps:
                async for progress in steps:
                    if job.options.is_dry_run:
                        await keeper.note(progress.errors)
        # What the last step counted without a transaction of its own.
        await keeper.note([])

    async def _find_importer(self, job: ImportJob) -> Importer:
        app_range = NOBODY
        if job.creator.department_ids:
            app_range = await self._viewers.learn(job.creator, job.corp_id)
        find_viewer = partial(self._viewers.of, job.creator, job.corp_id, app_range=app_range)
        return Importer(job.creator.department_ids, find_viewer)

    async def _fetch_file(self, job: ImportJob, file: BinaryIO) -> None:
        number = 0
        while True:
            async with self._pool.acquire() as connection:
                content = await import_jobs.find_chunk(connection, job.corp_id, job.job_id, number)
            if content is None:
                return
            file.write(content)
            number += 1

    async def _finish(self, job: ImportJob, state: State, failure: Failure | None = None) -> None:
        async with transaction(self._pool) as connection:
            await import_jobs.finish_job(
                connection, job.corp_id, job.job_id, state, failure, holder=self._holder
            )
        logger.info("import job %s %s", job.job_id, state)


class _JobKeeper:
    """Writes a job's progress down, in the transactions of the import."""

    def __init__(self, pool: Pool, job: ImportJob, holder: str, state: RunState) -> None:
        self._pool = pool
        self._job = job
        self._holder = holder
        self._state = state
        self._audit = ImportAudit(job.corp_id, job.job_id, job.options, job.creator)
        # One entry a job, however many attempts it takes.
        self._is_audited = job.totals != Totals()
        self._said_alive_at = time.monotonic()

    async def keep(self, connection: Connection, totals: Totals, errors: list[RowError]) -> None:
        """Write down where the next attempt would go on."""
        await self._keep(connection, errors)
        if not self._is_audited:
            await self._audit.record(connection)

    async def note(self, errors: list[RowError]) -> None:
        """Write it down in a transaction of its own."""
        async with transaction(self._pool) as connection:
            await self._keep(connection, errors)

    async def tell_alive(self) -> None:
        """Extend the lease now and then."""
        if time.monotonic() - self._said_alive_at > _ALIVE_INTERVAL_S:
            await self.note([])

    async def _keep(self, connection: Connection, errors: list[RowError]) -> None:
        kept = await import_jobs.keep_progress(
            connection, self._job, self._holder, self._state, LEASE_S
        )
        if not kept:
            raise JobLostError
        if errors:
            first = self._state.totals.errors - len(errors) + 1
            await import_jobs.insert_errors(connection, self._job, first, errors)
        self._said_alive_at = time.monotonic()
