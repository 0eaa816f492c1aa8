"""A messaging replica as a process of its own, with more to do than it can, and callers of ours."""

import asyncio
import datetime as dt
import os
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import asyncpg
import psutil
import pytest

from engines import ROLE_PASSWORD, build_nats, connected
from fakes.broker_users import connected as connected_as
from fakes.eventually import eventually
from fakes.members import FakeMembers
from fakes.tokens import TestTokens
from tieline.api.common.v1 import load_report_pb2
from tieline.api.messaging.v1 import messaging_pb2
from tieline.api.messaging.v1 import messaging_service_pb2 as messaging
from tieline.chassis import migrations, streams
from tieline.chassis.priorities import LOWEST_PRIORITY
from tieline.cli.grpc_health import is_serving
from tieline.client import Endpoints, Tieline, connect
from tieline.client.connection import SignedIn
from tieline.client.credentials import SessionTokens
from tieline.client.errors import TielineError
from tieline.embedded.nats import EmbeddedNats
from tieline.embedded.ports import find_free_port
from tieline.embedded.postgres import EmbeddedPostgres

CORP_ID = "ww000000000000000000000001"
CAPACITY_PER_S = 200
RATE_PER_S = 100
PAUSE_S = 5.0
CALL_TIMEOUT_S = 2.0

# Far below what calls wait while the database stands still.
WAIT_S = 0.5

# 70 % of half a second's worth: what NORMAL calls may have in flight for one more to begin. Those
# that arrive while the request of another is still read do not see it yet: a few at one moment.
MAX_IN_FLIGHT = 70 + 5


@dataclass
class Replica:
    """The process, and what it reports."""

    tieline: Tieline
    postgres_pid: int
    reports: list[load_report_pb2.LoadReport] = field(default_factory=list)
    report_times: list[float] = field(default_factory=list)

    @asynccontextmanager
    async def paused_database(self) -> AsyncIterator[None]:
        server = psutil.Process(self.postgres_pid)
        processes = [server, *server.children(recursive=True)]
        for process in processes:
            process.suspend()
        try:
            yield
        finally:
            for process in processes:
                process.resume()


@pytest.fixture
async def replica(tmp_path: Path, tokens: TestTokens) -> AsyncIterator[Replica]:
    postgres = EmbeddedPostgres(
        tmp_path / "postgres", find_free_port(), superuser_password=ROLE_PASSWORD
    )
    nats = build_nats(tmp_path / "nats")
    async with AsyncExitStack() as stack:
        postgres_pid = stack.enter_context(postgres.running())
        stack.enter_context(nats.running())
        await streams.declare(nats.url("admin"))
        await _prepare_database(postgres)
        for user in ("identity", "directory"):
            broker = await stack.enter_async_context(connected(nats, user))
            answering = tokens.published if user == "identity" else FakeMembers().answering
            await stack.enter_async_context(answering(broker))
        port = find_free_port()
        await stack.enter_async_context(_serving(postgres, nats, port, tmp_path))
        tieline = await stack.enter_async_context(
            connect(Endpoints.single(f"127.0.0.1:{port}"), call_timeout_s=CALL_TIMEOUT_S)
        )
        replica = Replica(tieline, postgres_pid)

        async def receive(message: Any) -> None:
            replica.reports.append(load_report_pb2.LoadReport.FromString(message.data))
            replica.report_times.append(monotonic())

        operator, _ = await stack.enter_async_context(connected_as(nats, streams.OPERATOR))
        await operator.subscribe(streams.LOAD_REPORTS, cb=receive)
        yield replica


async def _prepare_database(server: EmbeddedPostgres) -> None:
    await migrations.migrate(server.dsn(), ["messaging"])
    connection = await asyncpg.connect(server.dsn())
    await connection.execute(f"ALTER ROLE tieline_messaging PASSWORD '{ROLE_PASSWORD}'")
    await connection.close()


@asynccontextmanager
async def _serving(
    postgres: EmbeddedPostgres, nats: EmbeddedNats, port: int, folder: Path
) -> AsyncIterator[None]:
    environment = {
        "TIELINE_DATABASE_DSN": postgres.dsn("tieline_messaging", ROLE_PASSWORD),
        "TIELINE_NATS_URL": nats.url("messaging"),
        "TIELINE_SECRET_KEY": "k" * 32,
        "TIELINE_GRPC_PORT": str(port),
        "TIELINE_LOG_FORMAT": "json",
        "TIELINE_SHUTDOWN_GRACE_S": "1",
        "TIELINE_CAPACITY_PER_S": str(CAPACITY_PER_S),
    }
    with (folder / "messaging.log").open("w") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tieline.cli.main", "serve", "messaging"),
            env={**os.environ, **environment},
            stdout=log,
            stderr=log,
        )
        try:
            await eventually(lambda: is_serving(port), timeout_s=40)
            yield
        finally:
            process.terminate()
            await process.wait()


def _party(replica: Replica, tokens: TestTokens) -> SignedIn:
    late = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    token = tokens.member(CORP_ID, "li.wei")
    return replica.tieline.resume(SessionTokens("session", token, late, "refresh", late))


async def _open_conversation(party: SignedIn) -> str:
    created = await party.messaging.CreateConversation(
        messaging.CreateConversationRequest(
            request_id=str(uuid.uuid4()),
            kind=messaging_pb2.CONVERSATION_KIND_DIRECT,
            user_ids=["wang.fang"],
        ),
        timeout=10,
    )
    return str(created.conversation.conversation_id)


@dataclass
class Readers:
    """Calls at fixed times, whatever becomes of those before."""

    party: SignedIn
    conversation_id: str
    outcomes: list[tuple[float, float, str]] = field(default_factory=list)
    """When each call was due, how long it took, and the error that it ended with, if any."""

    async def go_on(self, rate_per_s: float) -> None:
        """Call until cancelled."""
        begun_at = monotonic()
        tasks: set[asyncio.Task[None]] = set()
        sent = 0
        while True:
            while sent < (monotonic() - begun_at) * rate_per_s:
                task = asyncio.create_task(self._read(begun_at + sent / rate_per_s))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                sent += 1
            await asyncio.sleep(0.005)

    async def _read(self, due_at: float) -> None:
        request = messaging.GetConversationRequest(conversation_id=self.conversation_id)
        try:
            await self.party.messaging.GetConversation(request)
            problem = ""
        except TielineError as error:
            problem = str(error)
        self.outcomes.append((due_at, monotonic() - due_at, problem))

    def are_served(self) -> bool:
        """Tell whether none of the last two seconds' calls failed, and hardly one had to wait."""
        last = self.outcomes[-2 * RATE_PER_S :]
        took_s = sorted(took_s for _, took_s, _ in last)
        return took_s[len(took_s) * 95 // 100] < WAIT_S and not any(said for *_, said in last)


@pytest.mark.timeout(120)
async def test_a_database_that_stands_still_leaves_no_retry_storm_and_no_queue(
    replica: Replica, tokens: TestTokens
) -> None:
    party = _party(replica, tokens)
    readers = Readers(party, await _open_conversation(party))
    reading = asyncio.create_task(readers.go_on(RATE_PER_S))
    await eventually(lambda: len(readers.outcomes) > RATE_PER_S)
    began = monotonic()
    async with replica.paused_database():
        await eventually(lambda: monotonic() - began > PAUSE_S)

    # A storm of retries, or a queue that is fed as fast as it is worked off, would never end.
    await eventually(readers.are_served)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    during = [report for report in replica.reports if report.sequence > 1]
    totals = list(during[-1].classes)
    first = sum(each.first_attempts for each in totals)
    retries = sum(each.retries for each in totals)

    assert max(report.in_flight for report in during) <= MAX_IN_FLIGHT
    # A tenth of the calls, one a second, and the twenty that are saved up.
    assert retries <= 0.1 * first + 20 + 2 * PAUSE_S
    gaps = [
        late - early
        for early, late in zip(replica.report_times, replica.report_times[1:], strict=False)
    ]
    assert max(gaps) < 3
    await eventually(lambda: replica.reports[-1].admission_level == LOWEST_PRIORITY)
