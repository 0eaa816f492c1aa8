"""A whole file on disk: taken in up to a limit, and read as records a slice at a time.

On disk and not in memory: several files are taken in at a time, and a workbook is read from its
end.
"""

import asyncio
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from tieline.chassis.bulkheads import IMPORTS
from tieline.chassis.errors import ServiceError
from tieline.directory.imports.csv_rows import CsvReader, CsvRecord
from tieline.directory.imports.options import Format, Options
from tieline.directory.imports.xlsx_rows import read_workbook

# What a whole file's rows cost in memory, where a pass over it must remember them, stays below
# 150 MB. Ten times the largest employer of a city.
MAX_FILE_ROWS = 500_000

# Some 700 rows, 5 ms: other calls wait no longer than that for the event loop.
SLICE_BYTES = 64 * 1024


class FileTooLargeError(ServiceError):
    """The file is larger than what is taken."""

    code = "INVALID_ARGUMENT"

    def __init__(self, limit: str) -> None:
        super().__init__(
            "FILE_TOO_LARGE", f"the file must have at most {limit}; split it", {"limit": limit}
        )


@contextmanager
def temporary_file() -> Iterator[BinaryIO]:
    """Lend a file that is gone afterwards, whatever happens to this process."""
    with tempfile.TemporaryFile(prefix="tieline-") as file:
        yield file


async def take_in(chunks: AsyncIterator[bytes], file: BinaryIO, max_bytes: int) -> int:
    """Write the chunks to the file; return how many bytes they have."""
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > max_bytes:
            raise FileTooLargeError(f"{max_bytes} bytes")
        file.write(chunk)
    file.flush()
    return size


async def read_records(file: BinaryIO, options: Options) -> AsyncGenerator[list[CsvRecord], None]:
    """Yield the file's records, the header's first, a few at a time from its beginning on."""
    file.seek(0)
    is_workbook = options.format is Format.XLSX
    slices = read_workbook(file) if is_workbook else _read_csv(file, options)
    rows = -1
    while True:
        if is_workbook:
            # Opening one, and its first slice, may take seconds.
            records = await IMPORTS.run(next, slices, None)
        else:
            records = next(slices, None)
            await asyncio.sleep(0)
        if records is None:
            return
        rows += len(records)
        if rows > MAX_FILE_ROWS:
            raise FileTooLargeError(f"{MAX_FILE_ROWS} rows")
        yield records


def _read_csv(file: BinaryIO, options: Options) -> Iterator[list[CsvRecord]]:
    reader = CsvReader(options.encoding)
    while piece := file.read(SLICE_BYTES):
        yield list(reader.feed(piece))
    yield list(reader.finish())
