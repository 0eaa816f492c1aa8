"""Files made to harm whoever reads them, sent to a replica that has others to serve."""

import asyncio
import io
import subprocess
import time
import zipfile
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace

import grpc
import psutil
import pytest

from e2e.platform_process import environment, tieline_command
from engines import Database, build_settings
from fakes.directory_corps import Corp, table
from fakes.directory_files import CSV, XLSX, Files, Options, workbook
from fakes.directory_writers import Writer
from fakes.eventually import eventually
from tieline.api.directory.v1 import directory_service_pb2, directory_service_pb2_grpc
from tieline.cli.grpc_health import is_serving
from tieline.client.errors import TielineError
from tieline.embedded.nats import EmbeddedNats

# Chunks in flight, a row or a style sheet as a tree, and what the allocator keeps of that.
MAX_GROWTH_MB = 64

# On a machine that does much else; a call by itself takes a few milliseconds.
MAX_WAIT_S = 3.0

HEADER = ["user_id", "name", "department"]
GOOD_BOOK = workbook(HEADER, ["a", "A", ""])
MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
SHARED = "xl/sharedStrings.xml"
SHEET = "xl/worksheets/sheet1.xml"
MB = 1_000_000


def book(parts: Iterable[tuple[str, bytes, bytes, int, bytes]]) -> bytes:
    """Return a good workbook, with parts that begin and end so and repeat something between."""
    file = io.BytesIO()
    made = list(parts)
    with (
        zipfile.ZipFile(io.BytesIO(GOOD_BOOK)) as source,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as target,
    ):
        for name in set(source.namelist()) - {name for name, *_ in made}:
            target.writestr(name, source.read(name))
        for name, begin, repeated, count, end in made:
            with target.open(name, "w") as part:
                part.write(begin)
                some = repeated * (MB // len(repeated))
                for _ in range(count * len(repeated) // len(some)):
                    part.write(some)
                part.write(end)
    return file.getvalue()


def shared(repeated: bytes, count: int, begin: str = "") -> bytes:
    head = f"{begin}<sst {MAIN}>".encode()
    return book([(SHARED, head, repeated, count, b"</sst>")])


def sheet(repeated: bytes, count: int) -> bytes:
    head = f"<worksheet {MAIN}><sheetData>".encode()
    return book([(SHEET, head, repeated, count, b"</sheetData></worksheet>")])


def many_sheets() -> bytes:
    row = b'<row><c t="inlineStr"><is><t>' + b"x" * (MB - 100) + b"</t></is></c></row>"
    head, end = f"<worksheet {MAIN}><sheetData>".encode(), b"</sheetData></worksheet>"
    return book((f"xl/worksheets/s{number}.xml", head, row, 1, end) for number in range(400))


def entities() -> bytes:
    levels = "".join(f'<!ENTITY e{level} "{f"&e{level - 1};" * 10}">' for level in range(1, 10))
    return shared(b"<si><t>&e9;</t></si>", 1, f'<!DOCTYPE sst [<!ENTITY e0 "ha">{levels}]>')


BOMBS: dict[str, tuple[Callable[[], bytes], Options, str]] = {
    "zeros": (
        lambda: book([("xl/media/zeros.bin", b"", bytes(1000), 330_000, b"")]),
        Options(format=XLSX),
        "FILE_MALFORMED",
    ),
    "many sheets": (many_sheets, Options(format=XLSX), "FILE_MALFORMED"),
    "shared texts": (
        lambda: shared(b"<si><t>" + b"x" * 1000 + b"</t></si>", 34_000),
        Options(format=XLSX),
        "FILE_MALFORMED",
    ),
    "shared texts of nothing": (
        lambda: shared(b"<si/>", 6_000_000),
        Options(format=XLSX),
        "FILE_MALFORMED",
    ),
    "entities in entities": (entities, Options(format=XLSX), "FILE_MALFORMED"),
    "rows that are none": (
        lambda: sheet(b'<row xmlns=""/>', 4_000_000),
        Options(format=XLSX),
        "FILE_MALFORMED",
    ),
    "2,000 columns": (
        lambda: ",".join(HEADER + [f"x{number}" for number in range(1997)]).encode() + b"\n",
        Options(format=CSV),
        "CSV_MALFORMED",
    ),
    "quote that never closes": (
        lambda: table() + b'\na,"' + b"A,\n" * 5_000_000,
        Options(format=CSV),
        "CSV_MALFORMED",
    ),
    "no UTF-8": (lambda: table() + b"\na,\xff\xfe,\n", Options(format=CSV), "CSV_MALFORMED"),
    "mark of UTF-16": (
        lambda: table(("a", "A", "")).decode().encode("utf-16"),
        Options(format=CSV),
        "CSV_MALFORMED",
    ),
}


@pytest.fixture(scope="module")
async def replica(
    database: Database, nats: EmbeddedNats, channel: grpc.aio.Channel
) -> AsyncIterator[tuple[psutil.Process, grpc.aio.Channel]]:
    """A replica in a process of its own, beside the one in this process."""
    own = build_settings("directory", database, nats)
    settings = {
        "TIELINE_DATABASE_DSN": own.database_dsn.get_secret_value(),
        "TIELINE_NATS_URL": own.nats_url.get_secret_value(),
        "TIELINE_SECRET_KEY": own.secret_key.get_secret_value(),
        "TIELINE_GRPC_PORT": str(own.grpc_port),
        "TIELINE_DRAIN_S": "0",
        "TIELINE_ADMISSION": "false",
    }
    process = subprocess.Popen(  # noqa: ASYNC220 -- starts, and does not wait
        tieline_command("serve", "directory"), env=environment(**settings)
    )
    try:
        await eventually(lambda: is_serving(own.grpc_port), timeout_s=40)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{own.grpc_port}") as to_replica:
            yield psutil.Process(process.pid), to_replica
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait)


@pytest.mark.parametrize("name", BOMBS)
async def test_bomb_is_refused_in_little_memory_while_others_are_served(
    corp: Corp, replica: tuple[psutil.Process, grpc.aio.Channel], name: str
) -> None:
    process, channel = replica
    make, options, reason = BOMBS[name]
    stub = directory_service_pb2_grpc.DirectoryServiceStub(channel)
    files = Files(replace(corp, stub=stub), channel)
    reader = Writer(corp.corp_id, channel, corp.tokens.administrator(corp.corp_id))
    file = await asyncio.to_thread(make)
    # What reading files needs at all is loaded.
    await files.import_file(GOOD_BOOK, Options(format=XLSX, dry_run=True))
    before = await reader.send(directory_service_pb2.ListMembersRequest())
    rss = [process.memory_info().rss]

    importing = asyncio.create_task(files.import_file(file, options))
    longest_s = 0.0
    while not importing.done():
        begin = time.monotonic()
        await reader.get_member("boss")
        longest_s = max(longest_s, time.monotonic() - begin)
        rss.append(process.memory_info().rss)
    with pytest.raises(TielineError) as raised:
        await importing

    assert (raised.value.code, raised.value.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    assert await reader.send(directory_service_pb2.ListMembersRequest()) == before
    assert (max(rss) - rss[0]) / MB < MAX_GROWTH_MB
    assert len(rss) > 1
    assert longest_s < MAX_WAIT_S


async def test_file_with_a_byte_order_mark_is_read_by_a_replica(
    corp: Corp, replica: tuple[psutil.Process, grpc.aio.Channel]
) -> None:
    _, channel = replica
    stub = directory_service_pb2_grpc.DirectoryServiceStub(channel)
    files = Files(replace(corp, stub=stub), channel)

    outcome = await files.import_file(b"\xef\xbb\xbf" + table(("a", "A", "")), Options())

    assert (outcome.errors, outcome.summary[0]) == ([], 1)
