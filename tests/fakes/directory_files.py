"""A corp's import jobs and exports as tests use them, over a real channel."""

import io
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import grpc
import openpyxl

from fakes.directory_corps import CALL_TIMEOUT_S, Corp, ImportOutcome, Metadata, chunk_message
from fakes.directory_corps import raising_tieline_errors as raising
from tieline.api.directory.v1 import (
    directory_service_pb2,
    export_service_pb2,
    export_service_pb2_grpc,
    import_job_pb2,
    import_options_pb2,
    import_service_pb2,
    import_service_pb2_grpc,
)
from tieline.chassis.ids import new_uuid7

Options = import_options_pb2.ImportOptions
CSV = import_options_pb2.FILE_FORMAT_CSV
XLSX = import_options_pb2.FILE_FORMAT_XLSX
UPSERT = import_options_pb2.IMPORT_MODE_UPSERT
REPLACE_MEMBERS = import_options_pb2.IMPORT_MODE_REPLACE_MEMBERS
REPLACE_DEPARTMENTS = import_options_pb2.IMPORT_MODE_REPLACE_DEPARTMENTS
GB18030 = import_options_pb2.TEXT_ENCODING_GB18030
AUTO = import_options_pb2.TEXT_ENCODING_AUTO

UNFINISHED = (import_job_pb2.IMPORT_JOB_STATE_WAITING, import_job_pb2.IMPORT_JOB_STATE_RUNNING)


@dataclass(frozen=True)
class Files:
    """One corp's files, sent and fetched by its owner unless a token says otherwise."""

    corp: Corp
    channel: grpc.aio.Channel
    token: str = ""

    @property
    def metadata(self) -> Metadata:
        return self.corp.signed(self.token) if self.token else self.corp.metadata

    @property
    def jobs(self) -> import_service_pb2_grpc.ImportServiceStub:
        return import_service_pb2_grpc.ImportServiceStub(self.channel)

    async def import_file(self, file: bytes, options: Options) -> ImportOutcome:
        """Import the file to its end, or raise TielineError."""
        config = directory_service_pb2.ImportMembersConfig(options=options)

        async def requests() -> AsyncIterator[directory_service_pb2.ImportMembersRequest]:
            yield directory_service_pb2.ImportMembersRequest(config=config)
            for chunk in _cut(file):
                yield chunk_message(chunk)

        with raising():
            call = self.corp.stub.ImportMembers(
                requests(), metadata=self.metadata, timeout=CALL_TIMEOUT_S
            )
            return ImportOutcome([response async for response in call])

    async def create_job(
        self,
        file: bytes,
        options: Options | None = None,
        *,
        request_id: str = "",
        digest: bytes = b"",
    ) -> import_job_pb2.ImportJob:
        """Have the file imported in the background."""
        config = import_service_pb2.CreateImportJobConfig(
            request_id=request_id or new_uuid7(), options=options, file_sha256=digest
        )

        async def requests() -> AsyncIterator[import_service_pb2.CreateImportJobRequest]:
            yield import_service_pb2.CreateImportJobRequest(config=config)
            for chunk in _cut(file):
                yield import_service_pb2.CreateImportJobRequest(chunk=chunk)

        with raising():
            response = await self.jobs.CreateImportJob(
                requests(), metadata=self.metadata, timeout=CALL_TIMEOUT_S
            )
        return response.job

    async def watch(self, job_id: str) -> list[import_job_pb2.ImportJob]:
        """Return what is told of a job until it is finished."""
        with raising():
            call = self.jobs.WatchImportJob(
                import_service_pb2.WatchImportJobRequest(job_id=job_id),
                metadata=self.metadata,
                timeout=CALL_TIMEOUT_S,
            )
            return [response.job async for response in call]

    async def finish(self, file: bytes, options: Options | None = None) -> import_job_pb2.ImportJob:
        """Have the file imported in the background, and wait for it."""
        job = await self.create_job(file, options)
        return (await self.watch(job.job_id))[-1]

    async def get_job(self, job_id: str) -> import_job_pb2.ImportJob:
        with raising():
            response = await self.jobs.GetImportJob(
                import_service_pb2.GetImportJobRequest(job_id=job_id), metadata=self.metadata
            )
        return response.job

    async def cancel(self, job_id: str) -> import_job_pb2.ImportJob:
        with raising():
            response = await self.jobs.CancelImportJob(
                import_service_pb2.CancelImportJobRequest(job_id=job_id), metadata=self.metadata
            )
        return response.job

    async def list_jobs(self, page_size: int = 0) -> list[import_job_pb2.ImportJob]:
        """Return all jobs, page by page."""
        jobs: list[import_job_pb2.ImportJob] = []
        request = import_service_pb2.ListImportJobsRequest(page_size=page_size)
        while True:
            page = await self.jobs.ListImportJobs(request, metadata=self.metadata)
            jobs += page.jobs
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return jobs

    async def list_errors(self, job_id: str, page_size: int = 0) -> list[tuple[int, str]]:
        """Return lines and columns of all errors, page by page."""
        errors: list[tuple[int, str]] = []
        request = import_service_pb2.ListImportJobErrorsRequest(job_id=job_id, page_size=page_size)
        while True:
            page = await self.jobs.ListImportJobErrors(request, metadata=self.metadata)
            errors += [(error.line, error.column) for error in page.errors]
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return errors

    async def export_members(
        self, request: export_service_pb2.ExportMembersRequest | None = None
    ) -> bytes:
        with raising():
            call = export_service_pb2_grpc.ExportServiceStub(self.channel).ExportMembers(
                request or export_service_pb2.ExportMembersRequest(),
                metadata=self.metadata,
                timeout=CALL_TIMEOUT_S,
            )
            return b"".join([response.chunk async for response in call])

    async def export_departments(
        self, request: export_service_pb2.ExportDepartmentsRequest | None = None
    ) -> bytes:
        with raising():
            call = export_service_pb2_grpc.ExportServiceStub(self.channel).ExportDepartments(
                request or export_service_pb2.ExportDepartmentsRequest(),
                metadata=self.metadata,
                timeout=CALL_TIMEOUT_S,
            )
            return b"".join([response.chunk async for response in call])


def workbook(*rows: Sequence[object]) -> bytes:
    """Return an XLSX file with these rows in its first sheet."""
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet()
    for row in rows:
        sheet.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def _cut(file: bytes) -> list[bytes]:
    return [file[start : start + 500_000] for start in range(0, len(file), 500_000)]
