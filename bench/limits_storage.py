"""What PostgreSQL and JetStream reach on this machine with nothing of ours in between.

Each measurement starts a durable engine of its own (fsync on, file storage) in a temporary folder,
so that figures do not depend on what ran before.
"""

import asyncio
import os
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import nats
from nats.js.api import StorageType

from tieline.embedded.nats import EmbeddedNats, User
from tieline.embedded.ports import find_free_port
from tieline.embedded.postgres import EmbeddedPostgres

# A service's pool.
_CONNECTIONS = 8
# A busy batcher's transaction.
_BATCH_ROWS = 100
# What the relay has under way.
_PIPELINE = 500
# A chat line with its ids.
_PAYLOAD = bytes(200)

_INSERT = "INSERT INTO lines (payload) SELECT unnest($1::bytea[])"


async def measure_single_commits(seconds: float) -> float:
    """Return transactions of one inserted row committed per second, on 8 connections."""
    return await _measure_commits(seconds, rows=1)


async def measure_batched_commits(seconds: float) -> float:
    """Return rows committed per second in transactions of 100, on 8 connections."""
    return await _measure_commits(seconds, rows=_BATCH_ROWS)


async def measure_jetstream_publish(seconds: float) -> float:
    """Return acknowledged publishes per second to one file-backed stream, 500 under way."""
    with tempfile.TemporaryDirectory(prefix="tieline-bench-") as folder:
        user = User("bench", secrets.token_hex(8))
        server = EmbeddedNats(Path(folder) / "nats", find_free_port(), [user])
        with server.running():
            broker = await nats.connect(server.url("bench"))
            try:
                jetstream = broker.jetstream()
                await jetstream.add_stream(
                    name="BENCH", subjects=["bench.>"], storage=StorageType.FILE
                )

                async def publish() -> int:
                    acks = [
                        await jetstream.publish_async("bench.line", _PAYLOAD)
                        for _ in range(_PIPELINE)
                    ]
                    await asyncio.gather(*acks)
                    return _PIPELINE

                return await _measure_rate(publish, seconds, workers=1)
            finally:
                await broker.close()


async def _measure_commits(seconds: float, *, rows: int) -> float:
    payloads = [_PAYLOAD] * rows
    async with _lines_pool() as pool:

        async def commit() -> int:
            async with pool.acquire() as connection:
                await connection.execute(_INSERT, payloads)
            return rows

        return await _measure_rate(commit, seconds, workers=_CONNECTIONS)


@asynccontextmanager
async def _lines_pool() -> AsyncIterator["asyncpg.Pool[asyncpg.Record]"]:
    with tempfile.TemporaryDirectory(prefix="tieline-bench-") as folder:
        # PostgreSQL's account must be able to pass the folder.
        os.chmod(folder, 0o755)  # noqa: S103 -- it holds random rows
        server = EmbeddedPostgres(
            Path(folder) / "postgres", find_free_port(), superuser_password=secrets.token_hex(8)
        )
        with server.running():
            async with asyncpg.create_pool(
                server.dsn(), min_size=_CONNECTIONS, max_size=_CONNECTIONS
            ) as pool:
                await pool.execute(
                    "CREATE TABLE lines (line_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
                    "payload bytea NOT NULL)"
                )
                yield pool


async def _measure_rate(
    work: Callable[[], Awaitable[int]], seconds: float, *, workers: int
) -> float:
    await work()  # prepares statements and subscriptions
    done = 0
    begin = time.perf_counter()

    async def repeat() -> None:
        nonlocal done
        while time.perf_counter() - begin < seconds:
            done += await work()

    await asyncio.gather(*(repeat() for _ in range(workers)))
    return done / (time.perf_counter() - begin)
