"""Payments in this process, on a database and a NATS of its own.

Messaging is a fake here. On the worker's NATS it would share the answering with the real one that
another test may have started.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import grpc
import nats as nats_client
import pytest
from nats.aio.client import Client

from engines import Database, build_nats, build_settings
from fakes.participants import FakeParticipants
from fakes.tokens import TestTokens
from integration.payments.corp import Corp, Stub
from tieline.chassis import migrations, streams
from tieline.chassis.ids import new_corp_id, new_customer_group_id
from tieline.embedded.nats import EmbeddedNats
from tieline.payments.app import role
from tieline.payments.settings import PaymentsSettings


@pytest.fixture(scope="session")
async def payments_database(
    postgres_admin_dsn: str, database: Database, worker_id: str
) -> Database:
    name = f"payments_{worker_id}"
    # `database` has given the roles, which belong to the whole server, their passwords.
    connection = await asyncpg.connect(database.admin_dsn)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    payments_database = Database(postgres_admin_dsn.rpartition("/")[0] + f"/{name}")
    await migrations.migrate(payments_database.admin_dsn, ["payments"])
    return payments_database


@pytest.fixture(scope="session")
async def payments_nats(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedNats]:
    server = build_nats(tmp_path_factory.mktemp("payments-nats") / "data")
    with server.running():
        await streams.declare(server.url("admin"))
        yield server


@asynccontextmanager
async def connected(nats: EmbeddedNats, user: str) -> AsyncIterator[Client]:
    """Connect as one of the services."""
    broker = await nats_client.connect(nats.url(user), inbox_prefix=f"_INBOX.{user}".encode())
    try:
        yield broker
    finally:
        await broker.close()


@pytest.fixture(scope="session")
async def messaging_broker(payments_nats: EmbeddedNats) -> AsyncIterator[Client]:
    async with connected(payments_nats, "messaging") as broker:
        yield broker


@pytest.fixture
async def participants(messaging_broker: Client) -> AsyncIterator[FakeParticipants]:
    """Answers for messaging, for one test."""
    participants = FakeParticipants()
    async with participants.answering(messaging_broker):
        yield participants


@pytest.fixture(scope="session")
async def replicas(
    payments_database: Database, payments_nats: EmbeddedNats, tokens: TestTokens
) -> AsyncIterator[list[Stub]]:
    """Two replicas of payments, each with its own pool, on one database."""
    async with AsyncExitStack() as stack:
        identity = await stack.enter_async_context(connected(payments_nats, "identity"))
        await stack.enter_async_context(tokens.published(identity))
        stubs = []
        for _ in range(2):
            settings = build_settings("payments", payments_database, payments_nats)
            assert isinstance(settings, PaymentsSettings)
            await stack.enter_async_context(role(settings))
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{settings.grpc_port}")
            await stack.enter_async_context(channel)
            stubs.append(Stub(channel))
        yield stubs


@pytest.fixture
def payments(
    replicas: list[Stub],
) -> Stub:
    """One replica, where it does not matter which."""
    return replicas[0]


@pytest.fixture
def corp(payments: Stub, tokens: TestTokens, participants: FakeParticipants) -> Corp:
    """A corp of the test's own, its administrator in its conversation."""
    corp = Corp(payments, tokens, participants, new_corp_id(), new_customer_group_id())
    participants.admit(corp.corp_id, corp.conversation_id, "admin")
    return corp


@pytest.fixture
async def admin_connection(payments_database: Database) -> AsyncIterator[asyncpg.Connection]:
    """The superuser, who can do to the tables what the service can't."""
    connection = await asyncpg.connect(payments_database.admin_dsn)
    try:
        yield connection
    finally:
        await connection.close()
