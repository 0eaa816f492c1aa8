"""ImportService: translates between protobuf and the jobs, nothing else."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import BinaryIO

from tieline.api.directory.v1 import (
    import_job_pb2,
    import_service_pb2,
    import_service_pb2_grpc,
)
from tieline.chassis.audit import build_audit_event
from tieline.chassis.calls import current_principal
from tieline.chassis.errors import InvalidArgumentError
from tieline.chassis.fields import to_timestamp
from tieline.chassis.grpc_context import Context
from tieline.chassis.idempotency import answered_once
from tieline.chassis.ids import new_uuid7
from tieline.chassis.outbox import insert_events
from tieline.chassis.page_tokens import PageTokens, page_size
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.chassis.principals import Principal
from tieline.directory.imports.jobs import (
    MAX_WAITING_JOBS,
    ImportJob,
    State,
    job_not_found_error,
    jobs_waiting_error,
)
from tieline.directory.imports.messages import check_range, options_to_proto, read_options
from tieline.directory.imports.options import Options
from tieline.directory.imports.record_files import take_in, temporary_file
from tieline.directory.imports.totals import Totals, errors_to_proto
from tieline.directory.imports.upload import MAX_CHUNK_BYTES, read_chunks, read_first
from tieline.directory.imports.worker import ImportWorker
from tieline.directory.repositories import SCHEMA, corps, import_jobs
from tieline.directory.visibility.viewers import Viewers
from tieline.directory.writers import find_writer

# Twice a second: as often as a person sees a bar move.
_WATCH_INTERVAL_S = 0.5

_STATES = {
    State.WAITING: import_job_pb2.IMPORT_JOB_STATE_WAITING,
    State.RUNNING: import_job_pb2.IMPORT_JOB_STATE_RUNNING,
    State.SUCCEEDED: import_job_pb2.IMPORT_JOB_STATE_SUCCEEDED,
    State.FAILED: import_job_pb2.IMPORT_JOB_STATE_FAILED,
    State.CANCELLED: import_job_pb2.IMPORT_JOB_STATE_CANCELLED,
}


class ImportServicer(import_service_pb2_grpc.ImportServiceServicer):
    """Takes files in, and tells of the jobs that work on them."""

    def __init__(
        self,
        pool: Pool,
        page_tokens: PageTokens,
        viewers: Viewers,
        worker: ImportWorker,
        max_bytes: int,
    ) -> None:
        self._pool = pool
        self._page_tokens = page_tokens
        self._viewers = viewers
        self._worker = worker
        self._max_bytes = max_bytes

    async def CreateImportJob(
        self,
        request_iterator: AsyncIterator[import_service_pb2.CreateImportJobRequest],
        context: Context,
    ) -> import_service_pb2.CreateImportJobResponse:
        """Store the file and its job."""
        config = (await read_first(request_iterator)).config
        principal = current_principal()
        corp_id = principal.require_corp(config.corp_id)
        options = read_options(config.options, "config.options")
        writer = await find_writer(self._pool, self._viewers, principal, corp_id)
        check_range(writer.principal, corp_id, options.mode)
        with temporary_file() as file:
            size = await take_in(read_chunks(request_iterator), file, self._max_bytes)
            _check_digest(config, file)
            response = await answered_once(
                self._pool,
                SCHEMA,
                config,
                import_service_pb2.CreateImportJobResponse,
                lambda connection: _create(
                    connection, corp_id, options, file, size, writer.principal
                ),
                corp_id=corp_id,
            )
        self._worker.wake()
        return response

    async def GetImportJob(
        self,
        request: import_service_pb2.GetImportJobRequest,
        context: Context,
    ) -> import_service_pb2.GetImportJobResponse:
        """Return one job."""
        job = await self._get_job(request.corp_id, request.job_id)
        return import_service_pb2.GetImportJobResponse(job=_job_to_proto(job))

    async def ListImportJobs(
        self,
        request: import_service_pb2.ListImportJobsRequest,
        context: Context,
    ) -> import_service_pb2.ListImportJobsResponse:
        """List jobs, the newest first."""
        principal = current_principal()
        corp_id = principal.require_corp(request.corp_id)
        size = page_size(request.page_size, default=20, maximum=100)
        position = self._page_tokens.decode(request.page_token, request)
        writer = await find_writer(self._pool, self._viewers, principal, corp_id)
        async with self._pool.acquire() as connection:
            jobs = await import_jobs.list_jobs(
                connection,
                corp_id,
                creator_id=principal.id if writer.is_limited else "",
                before_job_id="" if position is None else str(position[0]),
                limit=size + 1,
            )
        page, next_page_token = self._page_tokens.cut(jobs, size, request, lambda job: [job.job_id])
        return import_service_pb2.ListImportJobsResponse(
            jobs=[_job_to_proto(job) for job in page], next_page_token=next_page_token
        )

    async def WatchImportJob(
        self,
        request: import_service_pb2.WatchImportJobRequest,
        context: Context,
    ) -> AsyncGenerator[import_service_pb2.WatchImportJobResponse, None]:
        """Send the job whenever it has got on.

        Asks the table, since any replica may work on it.
        """
        told: ImportJob | None = None
        while told is None or not told.state.is_finished:
            if told is not None:
                await asyncio.sleep(_WATCH_INTERVAL_S)
            job = await self._get_job(request.corp_id, request.job_id)
            if job != told:
                yield import_service_pb2.WatchImportJobResponse(job=_job_to_proto(job))
                told = job

    async def CancelImportJob(
        self,
        request: import_service_pb2.CancelImportJobRequest,
        context: Context,
    ) -> import_service_pb2.CancelImportJobResponse:
        """End a job unless it has ended."""
        job = await self._get_job(request.corp_id, request.job_id)
        async with transaction(self._pool) as connection:
            cancelled = await import_jobs.finish_job(
                connection, job.corp_id, job.job_id, State.CANCELLED
            )
            if cancelled:
                event = await build_audit_event(
                    connection,
                    SCHEMA,
                    corp_id=job.corp_id,
                    action=f"{SCHEMA}.import_job.cancel",
                    resource=f"imports/{job.job_id}",
                )
                await insert_events(connection, SCHEMA, [event])
        job = await self._get_job(request.corp_id, request.job_id)
        return import_service_pb2.CancelImportJobResponse(job=_job_to_proto(job))

    async def ListImportJobErrors(
        self,
        request: import_service_pb2.ListImportJobErrorsRequest,
        context: Context,
    ) -> import_service_pb2.ListImportJobErrorsResponse:
        """List what is wrong with the rows that a job refused."""
        job = await self._get_job(request.corp_id, request.job_id)
        size = page_size(request.page_size, default=100, maximum=1000)
        position = self._page_tokens.decode(request.page_token, request)
        async with self._pool.acquire() as connection:
            errors = await import_jobs.list_errors(
                connection,
                job.corp_id,
                job.job_id,
                after_number=0 if position is None else int(position[0]),
                limit=size + 1,
            )
        page, next_page_token = self._page_tokens.cut(
            errors, size, request, lambda error: [error[0]]
        )
        return import_service_pb2.ListImportJobErrorsResponse(
            errors=errors_to_proto([error for _, error in page]), next_page_token=next_page_token
        )

    async def _get_job(self, corp_id: str, job_id: str) -> ImportJob:
        """Return the job, or raise for one that the caller may not know of.

        What is wrong with rows tells of members: whoever manages a part of the corp has rows of
        his or her own jobs alone.
        """
        principal = current_principal()
        corp_id = principal.require_corp(corp_id)
        writer = await find_writer(self._pool, self._viewers, principal, corp_id)
        async with self._pool.acquire() as connection:
            job = await import_jobs.find_job(connection, corp_id, job_id)
        if job is None or (writer.is_limited and job.creator.id != principal.id):
            raise job_not_found_error(job_id)
        return job


def _check_digest(config: import_service_pb2.CreateImportJobConfig, file: BinaryIO) -> None:
    """Put the file's digest into the config: a repeat with another file is another request."""
    hashing = hashlib.sha256()
    file.seek(0)
    while piece := file.read(MAX_CHUNK_BYTES):
        hashing.update(piece)
    digest = hashing.digest()
    if config.file_sha256 not in (b"", digest):
        raise InvalidArgumentError({"config.file_sha256": "is not that of the bytes received"})
    config.file_sha256 = digest


async def _create(
    connection: Connection,
    corp_id: str,
    options: Options,
    file: BinaryIO,
    size: int,
    creator: Principal,
) -> import_service_pb2.CreateImportJobResponse:
    if not await corps.has_corp(connection, corp_id):
        raise corps.corp_not_ready_error()
    if await import_jobs.count_waiting(connection, corp_id) >= MAX_WAITING_JOBS:
        raise jobs_waiting_error()
    job = ImportJob(
        corp_id=corp_id,
        job_id=new_uuid7(),
        state=State.WAITING,
        options=options,
        creator=creator,
        file_bytes=size,
        total_rows=0,
        totals=Totals(),
        checked_change_number=None,
        failure=None,
        attempts=0,
        create_time=await import_jobs.read_time(connection),
        start_time=None,
        finish_time=None,
    )
    await import_jobs.insert_job(connection, job, file)
    return import_service_pb2.CreateImportJobResponse(job=_job_to_proto(job))


def _job_to_proto(job: ImportJob) -> import_job_pb2.ImportJob:
    failure = job.failure
    return import_job_pb2.ImportJob(
        job_id=job.job_id,
        options=options_to_proto(job.options),
        state=_STATES[job.state],
        file_bytes=job.file_bytes,
        total_rows=job.total_rows,
        done_rows=job.totals.done_rows,
        summary=job.totals.to_proto(),
        error_count=job.totals.errors,
        failure=None
        if failure is None
        else import_job_pb2.ImportJobFailure(
            reason=failure.reason, text=failure.text, metadata=failure.metadata
        ),
        create_time=to_timestamp(job.create_time),
        start_time=None if job.start_time is None else to_timestamp(job.start_time),
        finish_time=None if job.finish_time is None else to_timestamp(job.finish_time),
        creator=f"{job.creator.kind}/{job.creator.id}",
    )
