"""Act two: 36,000 staff come in from a file."""

import asyncio
import csv
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from tieline.api.directory.v1 import directory_service_pb2
from tieline.client import SignedIn, TielineError, pages
from tieline.demo.onboarding import Corp
from tieline.demo.stage import PATIENCE_S, POLL_INTERVAL_S, DemoError, Stage

IMPORT_STEP = "staff imported"

CHUNK_BYTES = 256 * 1024

# After these the file is sent again from its start: rows that are in already stay as they are.
_PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED, grpc.StatusCode.CANCELLED)

OnProgress = Callable[[directory_service_pb2.ImportMembersResponse], None]


async def import_staff(stage: Stage, corp: Corp) -> None:
    """Import the file, and check that everybody is there and where they belong."""
    path = stage.material.staff_file
    with _progress(stage, path) as on_progress, stage.journal.step(IMPORT_STEP) as step:
        summary = await _import_until_done(corp.owner, path, on_progress)
        step.count = summary.added + summary.updated
    departments = await _count_departments(corp.owner)
    rows = _count_rows(path)
    stage.promise(
        "every row is imported",
        "" if step.count == rows else f"{step.count:,} of {rows:,} rows",
        f"{rows:,} staff in {departments:,} departments",
    )


async def _import_until_done(
    owner: SignedIn, path: Path, on_progress: OnProgress
) -> directory_service_pb2.ImportMembersSummary:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await _import_once(owner, path, on_progress)
        except TielineError as error:
            if error.reason == "CSV_MALFORMED":
                line = error.metadata.get("line", "?")
                raise DemoError(f"{path.name} line {line}: {error.text}") from error
            if error.code not in _PASSING or time.monotonic() > deadline:
                raise
            await asyncio.sleep(error.retry_after_s or POLL_INTERVAL_S)


async def _import_once(
    owner: SignedIn, path: Path, on_progress: OnProgress
) -> directory_service_pb2.ImportMembersSummary:
    call = owner.directory.ImportMembers(_requests(path))
    async for response in call:
        if response.errors:
            call.cancel()
            raise DemoError(_describe(path, response.errors[0]))
        on_progress(response)
        if response.HasField("summary"):
            return response.summary
    raise TielineError(grpc.StatusCode.UNAVAILABLE, "the import ended without a summary")


def _describe(path: Path, error: directory_service_pb2.RowError) -> str:
    column = f", column {error.column}" if error.column else ""
    return f"{path.name} line {error.line}{column}: {error.reason}; mend the file and run again"


async def _requests(path: Path) -> AsyncIterator[directory_service_pb2.ImportMembersRequest]:
    yield directory_service_pb2.ImportMembersRequest(
        config=directory_service_pb2.ImportMembersConfig()
    )
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield directory_service_pb2.ImportMembersRequest(chunk=chunk)


@contextmanager
def _progress(stage: Stage, path: Path) -> Iterator[OnProgress]:
    """Show a bar that fills with the bytes of the file; a line at its end without a terminal."""
    console = stage.journal.console
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (
        TextColumn("{task.fields[rows]:>7,} staff"),
        BarColumn(),
        DownloadColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=path.stat().st_size, rows=0)
        yield lambda response: progress.update(
            bar, completed=response.committed_bytes, rows=response.committed_rows
        )


async def _count_departments(owner: SignedIn) -> int:
    request = directory_service_pb2.ListDepartmentsRequest(page_size=1000)
    departments = [item async for item in pages(owner.directory.ListDepartments, request)]
    # The corp itself is the root of the tree, and none of its departments.
    return sum(1 for department in departments if department.parent_department_id != 0)


def _count_rows(path: Path) -> int:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return sum(1 for _ in csv.DictReader(file))
