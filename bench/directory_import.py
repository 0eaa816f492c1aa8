"""How long the import of 36,000 staff takes, and what memory a million members take.

Measures ``directory.import_36000_seconds``, from the first byte sent to the summary;
``directory.import_vs_copy``: rows per second beside those of ``limits.postgres_copy_36000``, a COPY
of the same rows as CSV, by the same database, into one table with all columns that the import fills
and the members' primary key; and ``directory.import_1m_peak_mb``: the service's resident memory
while 1,000,000 members come into 2,000 corps, as many imports at a time as a replica takes.
"""

import asyncio
import csv
import io
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import astuple, fields

import asyncpg
import grpc
import psutil

from bench.directory_server import DirectoryServer, running_directory
from bench.harness import Benchmark, Figure, Target, summarise
from tieline.api.directory.v1 import directory_service_pb2, directory_service_pb2_grpc
from tieline.demo.full_day import make_full_staff
from tieline.demo.staff_file import StaffRow
from tieline.directory.servicer import MAX_IMPORT_STREAMS

_SECONDS = "directory.import_36000_seconds"
_RATE = "directory.import_vs_copy"
_COPY = "limits.postgres_copy_36000"
_PEAK = "directory.import_1m_peak_mb"

_STAFF = 36_000
_RUNS = 5
_CHUNK_BYTES = 256 * 1024

_CORPS = 2_000
_MEMBERS_A_CORP = 500
_SAMPLE_INTERVAL_S = 0.05
_RETRY_INTERVAL_S = 1.0
_SEED = 7

# The columns of directory.members that an import fills, and the primary key.
_TABLE = """
    CREATE TABLE public.bare_copy (
        corp_id text NOT NULL, user_id text COLLATE "C" NOT NULL, name text NOT NULL,
        department_id bigint NOT NULL,
        position text NOT NULL, mobile text NOT NULL, email text NOT NULL,
        extended_attributes jsonb NOT NULL, import_id text NOT NULL, import_line bigint NOT NULL,
        change_number bigint NOT NULL, state text NOT NULL, create_time timestamptz NOT NULL,
        update_time timestamptz NOT NULL,
        PRIMARY KEY (corp_id, user_id)
    )
"""


async def measure_speed() -> Sequence[Figure]:
    """Import one file into corp after corp, each time beside a COPY of what came of it."""
    file = _write_file(list(make_full_staff(_SEED, _STAFF)))
    imports, copies = [], []
    async with running_directory() as server:
        corps = await server.make_corps(_RUNS + 1)
        await _import(server, corps[0], file)
        for corp_id in corps[1:]:
            begin = time.monotonic()
            summary = await _import(server, corp_id, file)
            imports.append(time.monotonic() - begin)
            assert (summary.added, summary.refused) == (_STAFF, 0)
            copies.append(await _copy_seconds(server, corp_id))
    rates = [_STAFF / seconds for seconds in imports]
    copy_rates = [_STAFF / seconds for seconds in copies]
    return [
        summarise(_SECONDS, imports, "s", target=Target("value", "at most", 5)),
        summarise(_COPY, copy_rates, "rows/s"),
        summarise(
            _RATE,
            rates,
            "rows/s",
            against=_COPY,
            against_values=copy_rates,
            target=Target("ratio", "at least", 0.25),
        ),
    ]


async def measure_memory() -> Sequence[Figure]:
    """Import a million members, as many files at once as a replica takes, and watch its process."""
    file = _write_file(list(make_full_staff(_SEED, _MEMBERS_A_CORP)))
    async with running_directory() as server:
        corps = iter(await server.make_corps(_CORPS))
        watching = asyncio.create_task(_watch_memory(server.pid))

        async def import_some() -> None:
            for corp_id in corps:
                summary = await _import_whatever_happens(server, corp_id, file)
                assert summary.added + summary.unchanged == _MEMBERS_A_CORP

        await asyncio.gather(*(import_some() for _ in range(MAX_IMPORT_STREAMS)))
        watching.cancel()
        [peak] = await asyncio.gather(watching, return_exceptions=True)
    assert isinstance(peak, float), "the watch returns what it saw"
    return [summarise(_PEAK, [peak], "MB", target=Target("value", "at most", 300))]


async def _import_whatever_happens(
    server: DirectoryServer, corp_id: str, file: bytes
) -> directory_service_pb2.ImportMembersSummary:
    """Import again and again until it goes through: on a busy machine the database may be away."""
    while True:
        try:
            return await _import(server, corp_id, file)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            await asyncio.sleep(_RETRY_INTERVAL_S)


async def _watch_memory(pid: int) -> float:
    """Return the largest resident memory, in MB, when it is cancelled."""
    process = psutil.Process(pid)
    peak = 0.0
    try:
        while True:
            peak = max(peak, process.memory_info().rss / 1e6)
            await asyncio.sleep(_SAMPLE_INTERVAL_S)
    except asyncio.CancelledError:
        return peak


async def _import(
    server: DirectoryServer, corp_id: str, file: bytes
) -> directory_service_pb2.ImportMembersSummary:
    stub = directory_service_pb2_grpc.DirectoryServiceStub(server.channel)
    metadata = [("authorization", f"Bearer {server.sign_token(corp_id)}")]
    summary = directory_service_pb2.ImportMembersSummary()
    async for response in stub.ImportMembers(_requests(file), metadata=metadata):
        summary = response.summary
    return summary


async def _requests(file: bytes) -> AsyncIterator[directory_service_pb2.ImportMembersRequest]:
    config = directory_service_pb2.ImportMembersConfig()
    yield directory_service_pb2.ImportMembersRequest(config=config)
    for start in range(0, len(file), _CHUNK_BYTES):
        chunk = file[start : start + _CHUNK_BYTES]
        yield directory_service_pb2.ImportMembersRequest(chunk=chunk)


async def _copy_seconds(server: DirectoryServer, corp_id: str) -> float:
    connection = await asyncpg.connect(server.admin_dsn)
    try:
        await connection.execute(_TABLE)
        columns = await connection.fetchval(
            """
            SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum)
              FROM pg_attribute
             WHERE attrelid = 'public.bare_copy'::regclass AND attnum > 0
            """
        )
        rows = io.BytesIO()
        query = f"SELECT {columns} FROM directory.members WHERE corp_id = '{corp_id}'"
        await connection.copy_from_query(query, output=rows, format="csv")
        rows.seek(0)
        begin = time.monotonic()
        await connection.copy_to_table("bare_copy", schema_name="public", source=rows, format="csv")
        seconds = time.monotonic() - begin
        await connection.execute("DROP TABLE public.bare_copy")
        return seconds
    finally:
        await connection.close()


def _write_file(rows: Sequence[StaffRow]) -> bytes:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(field.name for field in fields(StaffRow))
    writer.writerows(astuple(row) for row in rows)
    return file.getvalue().encode()


BENCHMARKS = (
    Benchmark((_SECONDS, _COPY, _RATE), measure_speed),
    Benchmark((_PEAK,), measure_memory),
)
