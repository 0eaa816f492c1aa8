"""PostgreSQL and NATS go away for 20 seconds under a serving messaging service, and come back."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import asyncpg
import grpc
import pytest

from engines import ROLE_PASSWORD, Database, Engine, build_nats, build_settings, connected
from fakes.eventually import eventually
from fakes.members import FakeMembers
from fakes.tokens import TestTokens
from tieline.api.messaging.v1 import messaging_pb2
from tieline.api.messaging.v1 import messaging_service_pb2 as messaging
from tieline.api.messaging.v1.messaging_service_pb2_grpc import MessagingServiceStub
from tieline.chassis import migrations, streams
from tieline.cli.grpc_health import is_serving
from tieline.client.errors import TielineError
from tieline.embedded.ports import find_free_port
from tieline.embedded.postgres import EmbeddedPostgres
from tieline.messaging.app import role
from tieline.messaging.settings import MessagingSettings

OUTAGE_S = 20.0
CORP_ID = "ww000000000000000000000001"
CALL_TIMEOUT_S = 5.0
PAUSE_S = 0.05


@dataclass
class Talk:
    """One person writes as long as the test lasts, and sends again what is not acknowledged."""

    stub: MessagingServiceStub
    conversation_id: str
    metadata: list[tuple[str, str]]
    acknowledged: list[str] = field(default_factory=list)
    refusals: list[TielineError] = field(default_factory=list)

    async def go_on(self) -> None:
        """Write until cancelled."""
        while True:
            await self.say(str(uuid.uuid4()))
            await asyncio.sleep(PAUSE_S)

    async def say(self, client_message_id: str) -> None:
        """Send one message until it is acknowledged."""
        request = messaging.SendMessageRequest(
            conversation_id=self.conversation_id, client_message_id=client_message_id
        )
        request.content.text.text = client_message_id
        while True:
            try:
                await self.stub.SendMessage(request, metadata=self.metadata, timeout=CALL_TIMEOUT_S)
            except grpc.aio.AioRpcError as error:
                self.refusals.append(TielineError.from_rpc_error(error))
                await asyncio.sleep(PAUSE_S)
            else:
                self.acknowledged.append(client_message_id)
                return

    async def stored(self) -> list[str]:
        """Return what the conversation holds, in order."""
        ids: list[str] = []
        while True:
            request = messaging.ListMessagesRequest(
                conversation_id=self.conversation_id, after_sequence=len(ids)
            )
            response = await self.stub.ListMessages(request, metadata=self.metadata)
            ids += [message.client_message_id for message in response.messages]
            if len(ids) == response.last_sequence:
                return ids


@dataclass
class World:
    """A messaging service on engines that can be killed."""

    postgres: Engine
    nats: Engine
    talk: Talk
    port: int

    async def is_ready(self) -> bool:
        """Ask the service's health."""
        return await is_serving(self.port)

    async def is_not_ready(self) -> bool:
        """Ask the service's health."""
        return not await is_serving(self.port)


@pytest.fixture
async def world(tmp_path: Path, tokens: TestTokens) -> AsyncIterator[World]:
    postgres = EmbeddedPostgres(
        tmp_path / "postgres", find_free_port(), superuser_password=ROLE_PASSWORD
    )
    nats = build_nats(tmp_path / "nats")
    async with AsyncExitStack() as stack:
        engines = Engine(postgres), Engine(nats)
        for engine in engines:
            engine.start()
            stack.callback(engine.stop)
        await streams.declare(nats.url("admin"))
        settings = build_settings("messaging", await _make_database(postgres), nats)
        assert isinstance(settings, MessagingSettings), "of messaging"
        for user in ("identity", "directory"):
            broker = await stack.enter_async_context(connected(nats, user))
            answering = tokens.published if user == "identity" else FakeMembers().answering
            await stack.enter_async_context(answering(broker))
        await stack.enter_async_context(role(settings))
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{settings.grpc_port}")
        await stack.enter_async_context(channel)
        metadata = [("authorization", f"Bearer {tokens.member(CORP_ID, 'li.wei')}")]
        talk = await _open_conversation(MessagingServiceStub(channel), metadata)
        yield World(*engines, talk, settings.grpc_port)


async def _make_database(server: EmbeddedPostgres) -> Database:
    database = Database(server.dsn())
    await migrations.migrate(database.admin_dsn, ["messaging"])
    connection = await asyncpg.connect(database.admin_dsn)
    await connection.execute(f"ALTER ROLE tieline_messaging PASSWORD '{ROLE_PASSWORD}'")
    await connection.close()
    return database


async def _open_conversation(stub: MessagingServiceStub, metadata: list[tuple[str, str]]) -> Talk:
    created = await stub.CreateConversation(
        messaging.CreateConversationRequest(
            request_id=str(uuid.uuid4()),
            kind=messaging_pb2.CONVERSATION_KIND_DIRECT,
            user_ids=["wang.fang"],
        ),
        metadata=metadata,
    )
    return Talk(stub, created.conversation.conversation_id, metadata)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("name", "reason"),
    [("postgres", "DATABASE_UNAVAILABLE"), ("nats", "BROKER_UNAVAILABLE")],
)
async def test_an_outage_refuses_clearly_and_loses_nothing(
    world: World, name: str, reason: str
) -> None:
    engine: Engine = getattr(world, name)
    talk = world.talk
    talking = asyncio.create_task(talk.go_on())
    await eventually(lambda: len(talk.acknowledged) > 10)

    await asyncio.to_thread(engine.kill)
    began = monotonic()
    await eventually(world.is_not_ready)
    await eventually(lambda: monotonic() - began > OUTAGE_S, timeout_s=OUTAGE_S + 5)
    engine.start()
    await eventually(world.is_ready)
    count = len(talk.acknowledged)
    await eventually(lambda: len(talk.acknowledged) > count + 10)
    talking.cancel()
    await asyncio.gather(talking, return_exceptions=True)

    refused = {(error.code, error.reason) for error in talk.refusals[1:]}
    # The call that was under way may have met the broken connection itself.
    assert refused == {(grpc.StatusCode.UNAVAILABLE, reason)}
    assert all(error.retry_after_s for error in talk.refusals)
    stored = await talk.stored()
    assert [each for each in stored if each in set(talk.acknowledged)] == talk.acknowledged
    assert len(stored) == len(set(stored))
