"""Replicas that are killed while they send an app's message: everybody gets it once."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from engines import Database, create_database
from fakes.eventually import eventually
from tieline.api.messaging.v1 import app_message_service_pb2, messaging_pb2

RECIPIENTS = 600
JOB_ID = "01980000-0000-7000-8000-000000000001"

# What a replica is to jobs; the audience is made up, and nobody hears of what is announced.
WORKER = f"""
import asyncio, sys
from tieline.chassis.health import Health
from tieline.chassis.postgres import create_pool
from tieline.messaging.live.announcer import Announcer
from tieline.messaging.app_messages.runner import AppMessageRunner
from tieline.messaging.app_messages.turns import Turns
from tieline.messaging.sending.batches import Sender
from tieline.messaging.upkeep import keep_up

EVERYBODY = [f"u{{number:04}}" for number in range({RECIPIENTS})]

class Reach:
    async def is_enabled(self, corp_id, app_id):
        return True

    async def list_members(self, corp_id, app_id, audience, *, after, limit):
        return [each for each in EVERYBODY if each > after][:limit]

class Broker:
    is_connected = False

async def main():
    health = Health()
    async with (
        create_pool(sys.argv[1], service="messaging", max_size=4, health=health) as pool,
        Announcer(pool, Broker()) as announcer,
    ):
        await keep_up(pool)
        turns = Turns(pool, announcer, Sender(announcer), Reach())
        async with AppMessageRunner(pool, turns, lambda: True).running():
            await asyncio.Event().wait()

asyncio.run(main())
"""


@asynccontextmanager
async def replica(dsn: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", WORKER, dsn)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture(scope="module")
async def kill_database(database: Database) -> Database:
    """A database of this module's own: no other replica looks for jobs there."""
    name = database.admin_dsn.rpartition("/")[2]
    return await create_database(database, f"{name}_app_kills", ["messaging"])


@pytest.fixture
async def connection(kill_database: Database) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(kill_database.dsn("messaging"))
    try:
        yield connection
    finally:
        await connection.close()


async def test_everybody_gets_the_message_once_whoever_is_killed(
    kill_database: Database, connection: asyncpg.Connection
) -> None:
    content = messaging_pb2.MessageContent(text=messaging_pb2.TextContent(text="news"))
    await connection.execute(
        """
        INSERT INTO messaging.app_message_jobs
               (corp_id, job_id, app_id, audience, invalid, content, digest)
        VALUES ('ww1', $1, '1000002', $2, '', $3, '')
        """,
        JOB_ID,
        app_message_service_pb2.AppMessageAudience(everybody=True).SerializeToString(),
        content.SerializeToString(),
    )
    dsn = kill_database.dsn("messaging")

    # Two at a time: they take turns, and one of them holds the job when it ends.
    async with replica(dsn) as one, replica(dsn) as other:
        await eventually(lambda: _has_sent(connection, 1), timeout_s=30)
        for process in (one, other):
            process.send_signal(signal.SIGKILL)
        await asyncio.gather(one.wait(), other.wait())
    # As if the lease had ended.
    await connection.execute("UPDATE messaging.app_message_jobs SET claimed_until = '-infinity'")
    async with replica(dsn):
        await eventually(lambda: _has_sent(connection, RECIPIENTS), timeout_s=30)

    counts = await connection.fetchrow(
        """
        SELECT count(*) AS messages, count(DISTINCT conversation_id) AS conversations,
               (SELECT count(*) FROM messaging.participants WHERE kind = 'member') AS members,
               (SELECT count(*) FROM messaging.app_message_recipients WHERE state = 'sent') AS sent
          FROM messaging.stored_messages
        """
    )
    assert counts is not None
    assert list(counts) == [RECIPIENTS] * 4
    state = await connection.fetchval("SELECT state FROM messaging.app_message_jobs")
    assert state == "sent"


async def _has_sent(connection: asyncpg.Connection, least: int) -> bool:
    sent: int = await connection.fetchval("SELECT sent_count FROM messaging.app_message_jobs")
    return sent >= least
