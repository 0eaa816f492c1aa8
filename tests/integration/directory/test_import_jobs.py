"""Imports that run in the background, over a real channel on a real database."""

import asyncio
import hashlib

import asyncpg
import grpc
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from engines import Database
from fakes.directory_corps import Corp, table
from fakes.directory_files import REPLACE_MEMBERS, UNFINISHED, Files, Options
from fakes.eventually import eventually
from published_events import published_events
from tieline.api.common.v1 import audit_pb2
from tieline.api.directory.v1 import import_job_pb2
from tieline.chassis.admission.priorities import LOWEST_PRIORITY
from tieline.chassis.ids import new_uuid7
from tieline.chassis.message_headers import CORP_ID_HEADER, PRIORITY_HEADER, REQUEST_ID_HEADER
from tieline.client.errors import TielineError
from tieline.directory.imports.batch_builder import BATCH_RECORDS
from tieline.directory.imports.jobs import KEPT_JOBS, MAX_WAITING_JOBS
from tieline.embedded.nats import EmbeddedNats

SUCCEEDED = import_job_pb2.IMPORT_JOB_STATE_SUCCEEDED
FAILED = import_job_pb2.IMPORT_JOB_STATE_FAILED
CANCELLED = import_job_pb2.IMPORT_JOB_STATE_CANCELLED


def staff(count: int) -> bytes:
    return table(*((f"u{number:05d}", f"Wang {number}", "East") for number in range(count)))


async def refusal(awaitable: object) -> TielineError:
    with pytest.raises(TielineError) as raised:
        await awaitable  # type: ignore[misc]  # a coroutine, as tests write it
    return raised.value


async def test_job_imports_its_file_and_tells_how_far_it_is(corp: Corp, files: Files) -> None:
    file = staff(BATCH_RECORDS + 5) + b"\nbad,,\nbad2,,\n"

    job = await files.create_job(file, digest=hashlib.sha256(file).digest())
    told = await files.watch(job.job_id)

    last = told[-1]
    assert (job.state, last.state) == (import_job_pb2.IMPORT_JOB_STATE_WAITING, SUCCEEDED)
    assert (last.done_rows, last.summary.added, last.error_count) == (
        BATCH_RECORDS + 7, BATCH_RECORDS + 5, 2,
    )  # fmt: skip
    done = [each.done_rows for each in told]
    assert done == sorted(done)
    assert last.creator == "member/admin"
    assert len(await corp.list_members()) == BATCH_RECORDS + 6
    assert await files.list_errors(job.job_id, page_size=1) == [
        (BATCH_RECORDS + 7, "name"),
        (BATCH_RECORDS + 8, "name"),
    ]
    assert await files.get_job(job.job_id) == last


async def test_same_request_makes_one_job_and_another_file_is_refused(files: Files) -> None:
    request_id = new_uuid7()

    first, again = await asyncio.gather(
        *(files.create_job(staff(1), request_id=request_id) for _ in range(2))
    )
    error = await refusal(files.create_job(staff(2), request_id=request_id))

    assert first == again
    assert error.reason == "REQUEST_ID_REUSED"


async def test_file_that_arrived_otherwise_than_it_was_sent_is_refused(files: Files) -> None:
    error = await refusal(files.create_job(staff(1), digest=b"x" * 32))

    assert list(error.violations) == ["config.file_sha256"]
    assert await files.list_jobs() == []


async def test_job_whose_file_is_wrong_fails_with_the_reason_of_a_call(files: Files) -> None:
    job = await files.finish(b"no,header\n")

    assert (job.state, job.failure.reason) == (FAILED, "CSV_MALFORMED")
    assert dict(job.failure.metadata) == {"line": "1"}


async def test_job_that_would_remove_nearly_all_fails_and_changes_nothing(
    corp: Corp, files: Files
) -> None:
    await corp.import_file(staff(100))

    job = await files.finish(staff(10), Options(mode=REPLACE_MEMBERS))

    assert (job.state, job.failure.reason) == (FAILED, "MASS_DELETE_REFUSED")
    assert len(await corp.list_members()) == 101


async def test_replacing_job_removes_what_was_confirmed(corp: Corp, files: Files) -> None:
    await corp.import_file(staff(100))

    job = await files.finish(staff(10), Options(mode=REPLACE_MEMBERS, confirmed_removals=90))

    assert (job.state, job.summary.removed, job.total_rows) == (SUCCEEDED, 90, 10)
    # The owner and, had he or she been a member, the creator stay.
    assert len(await corp.list_members()) == 11


async def test_events_of_a_job_matter_as_little_as_an_import(
    corp: Corp, files: Files, admin_broker: Client
) -> None:
    told: list[tuple[str, str]] = []

    async def note(message: Msg) -> None:
        headers = message.headers or {}
        if headers[CORP_ID_HEADER] == corp.corp_id:
            told.append((headers.get(REQUEST_ID_HEADER, ""), headers.get(PRIORITY_HEADER, "")))

    events = await admin_broker.subscribe("tieline.directory.v1.members_imported", cb=note)
    await admin_broker.flush()
    job = await files.finish(staff(1))
    await eventually(lambda: told)
    await events.unsubscribe()

    assert told == [(job.job_id, str(LOWEST_PRIORITY))]


async def test_last_five_finished_jobs_are_kept(files: Files) -> None:
    made = [(await files.finish(staff(1))).job_id for _ in range(KEPT_JOBS + 1)]

    assert [job.job_id for job in await files.list_jobs(page_size=2)] == made[:0:-1]
    error = await refusal(files.get_job(made[0]))
    assert error.reason == "IMPORT_JOB_NOT_FOUND"


async def test_job_waits_for_the_corps_other_one_and_both_end(corp: Corp, files: Files) -> None:
    jobs = [await files.create_job(staff(BATCH_RECORDS)) for _ in range(3)]

    ends = [(await files.watch(job.job_id))[-1] for job in jobs]

    assert [job.state for job in ends] == [SUCCEEDED] * 3
    assert sum(job.summary.added for job in ends) == BATCH_RECORDS


async def test_cancelled_job_keeps_what_it_committed_and_stays_cancelled(
    corp: Corp, files: Files, database: Database, nats: EmbeddedNats
) -> None:
    connection = await asyncpg.connect(database.admin_dsn)
    try:
        async with connection.transaction():
            await connection.execute(
                "SELECT 1 FROM directory.corps WHERE corp_id = $1 FOR NO KEY UPDATE", corp.corp_id
            )
            job = await files.create_job(staff(10))
            await eventually(lambda: is_running(files, job.job_id))
            cancelled = await files.cancel(job.job_id)
    finally:
        await connection.close()

    assert cancelled.state == CANCELLED
    assert await files.cancel(job.job_id) == cancelled
    # The next job of the same worker is taken when it has left this one.
    assert (await files.finish(table(("x", "X", "")))).state == SUCCEEDED
    assert (await files.get_job(job.job_id)) == cancelled
    assert "u00000" not in await corp.list_members()
    entries = await published_events(nats, "DIRECTORY", f"audit/{corp.corp_id}", 2)
    actions = [audit_pb2.AuditEntry.FromString(payload).action for _, payload in entries]
    assert actions.count("directory.import_job.cancel") == 1


async def is_running(files: Files, job_id: str) -> bool:
    return (await files.get_job(job_id)).state == import_job_pb2.IMPORT_JOB_STATE_RUNNING


async def test_no_more_jobs_wait_than_may(corp: Corp, files: Files, database: Database) -> None:
    connection = await asyncpg.connect(database.admin_dsn)
    try:
        async with connection.transaction():
            await connection.execute(
                "SELECT 1 FROM directory.corps WHERE corp_id = $1 FOR NO KEY UPDATE", corp.corp_id
            )
            running = await files.create_job(staff(1))
            await eventually(lambda: is_running(files, running.job_id))
            for _ in range(MAX_WAITING_JOBS):
                await files.create_job(staff(1))
            error = await refusal(files.create_job(staff(1)))
    finally:
        await connection.close()

    assert (error.code, error.reason) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED, "IMPORT_JOBS_WAITING",
    )  # fmt: skip
    assert error.retry_after_s is not None
    await eventually(lambda: all_finished(files))


async def all_finished(files: Files) -> bool:
    return not any(job.state in UNFINISHED for job in await files.list_jobs())


async def test_another_corps_job_is_not_found(
    files: Files, other_corp: Corp, channel: grpc.aio.Channel
) -> None:
    job = await files.finish(staff(1))
    other = Files(other_corp, channel)

    errors = [
        await refusal(other.get_job(job.job_id)),
        await refusal(other.cancel(job.job_id)),
        await refusal(other.watch(job.job_id)),
    ]

    assert {error.reason for error in errors} == {"IMPORT_JOB_NOT_FOUND"}
    assert await other.list_jobs() == []
