"""Payments in this process, on a database and a NATS of its own.

Messaging is a fake here. On the worker's NATS it would share the answering with the real one that
another test may have started.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import asyncpg
import grpc
import pytest
from nats.aio.client import Client

from engines import Database, build_nats, build_settings, connected, create_database
from fakes.participants import FakeParticipants
from fakes.tokens import TestTokens
from integration.payments.corp import Corp, Stub
from tieline.chassis import streams
from tieline.chassis.ids import new_corp_id, new_customer_group_id
from tieline.embedded.nats import EmbeddedNats
from tieline.payments.app import role
from tieline.payments.settings import PaymentsSettings


@pytest.fixture(scope="session")
async def payments_database(database: Database, worker_id: str) -> Database:
    return await create_database(database, f"payments_{worker_id}", ["payments"])


@pytest.fixture(scope="session")
async def payments_nats(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedNats]:
    server = build_nats(tmp_path_factory.mktemp("payments-nats") / "data")
    with server.running():
        await streams.declare(server.url("admin"))
        yield server


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
