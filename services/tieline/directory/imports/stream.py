"""An import while it arrives: chunks come in, batches are committed, progress goes out.

While one batch is being committed the next one is read and parsed; nothing further ahead, so memory
does not grow with the file. No transaction is open while this waits for the caller's bytes.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing

from tieline.chassis.postgres import Pool, transaction
from tieline.directory.imports.batch_builder import Batch, BatchBuilder
from tieline.directory.imports.csv_rows import CsvReader
from tieline.directory.imports.prefetch import prefetched
from tieline.directory.imports.progress import ImportAudit, Progress
from tieline.directory.imports.record_files import SLICE_BYTES
from tieline.directory.imports.totals import Totals
from tieline.directory.imports.writes import MemberWriter


async def import_stream(
    pool: Pool,
    writer: MemberWriter,
    audit: ImportAudit,
    attribute_kinds: Mapping[str, str],
    chunks: AsyncIterator[bytes],
) -> AsyncGenerator[Progress, None]:
    """Commit the file's rows; yield progress after each transaction, and the whole at the end.

    Raises CsvMalformedError where the file can't be read further; the batches before stay.
    """
    totals = Totals()
    end_byte = 0
    async with aclosing(prefetched(_read_batches(chunks, attribute_kinds))) as batches:
        async for batch in batches:
            if batch.read.rows:
                async with transaction(pool) as connection:
                    outcome = await writer.write(connection, batch)
                    await audit.record(connection)
            else:
                outcome = writer.refuse(batch)
            end_byte = batch.end_byte
            yield Progress(totals, totals.add(outcome), end_byte)
    yield Progress(totals, [], end_byte, is_last=True)


async def _read_batches(
    chunks: AsyncIterator[bytes], attribute_kinds: Mapping[str, str]
) -> AsyncGenerator[Batch, None]:
    reader = CsvReader()
    builder = BatchBuilder(attribute_kinds)
    async for chunk in chunks:
        for start in range(0, len(chunk), SLICE_BYTES):
            for record in reader.feed(chunk[start : start + SLICE_BYTES]):
                batch = builder.add(record)
                if batch is not None:
                    yield batch
            await asyncio.sleep(0)
    for record in reader.finish():
        batch = builder.add(record)
        if batch is not None:
            yield batch
    rest = builder.finish()
    if rest is not None:
        yield rest
