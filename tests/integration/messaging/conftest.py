"""Two replicas of messaging in this process, on a database and a NATS of their own.

Directory is a fake here: on the worker's NATS it would share the answering with the real one that
another test may have started.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import nats as nats_client
import pytest
from nats.aio.client import Client

from engines import Database, build_nats, build_settings, connected, create_database
from fakes.app_ranges import FakeAppRanges
from fakes.members import FakeMembers
from fakes.tokens import TestTokens
from integration.messaging.chat import Corp, Stub
from integration.messaging.compliance import Desk
from integration.messaging.groups import Groups
from integration.messaging.uploads import NewUploader, Uploading
from tieline.api.messaging.v1 import (
    compliance_service_pb2_grpc,
    media_service_pb2_grpc,
    messaging_service_pb2_grpc,
)
from tieline.chassis import streams
from tieline.chassis.health import Health
from tieline.chassis.postgres import Pool, create_pool
from tieline.embedded.nats import EmbeddedNats
from tieline.messaging.app import role
from tieline.messaging.settings import MessagingSettings


@pytest.fixture(scope="session")
async def messaging_database(database: Database, worker_id: str) -> Database:
    return await create_database(database, f"messaging_{worker_id}", ["messaging"])


@pytest.fixture(scope="session")
async def messaging_nats(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedNats]:
    server = build_nats(tmp_path_factory.mktemp("messaging-nats") / "data")
    with server.running():
        await streams.declare(server.url("admin"))
        yield server


@pytest.fixture(scope="session")
async def contacts_broker(messaging_nats: EmbeddedNats) -> AsyncIterator[Client]:
    async with connected(messaging_nats, "contacts") as broker:
        yield broker


@pytest.fixture(scope="session")
async def directory_broker(messaging_nats: EmbeddedNats) -> AsyncIterator[Client]:
    async with connected(messaging_nats, "directory") as broker:
        yield broker


@pytest.fixture(scope="session")
async def payments_broker(messaging_nats: EmbeddedNats) -> AsyncIterator[Client]:
    async with connected(messaging_nats, "payments") as broker:
        yield broker


@pytest.fixture(scope="session")
async def messaging_broker(messaging_nats: EmbeddedNats) -> AsyncIterator[Client]:
    async with connected(messaging_nats, "messaging") as broker:
        yield broker


@pytest.fixture(scope="session")
async def admin_broker(messaging_nats: EmbeddedNats) -> AsyncIterator[Client]:
    broker = await nats_client.connect(messaging_nats.url("admin"))
    try:
        yield broker
    finally:
        await broker.close()


@pytest.fixture(scope="session")
async def members(messaging_nats: EmbeddedNats) -> AsyncIterator[FakeMembers]:
    """Answers for directory."""
    members = FakeMembers()
    async with (
        connected(messaging_nats, "directory") as broker,
        members.answering(broker),
    ):
        yield members


@pytest.fixture(scope="session")
def app_ranges() -> FakeAppRanges:
    """What identity says of apps."""
    return FakeAppRanges()


@pytest.fixture(scope="session")
async def pool(messaging_database: Database) -> AsyncIterator[Pool]:
    """Connections of the test's own, as messaging's role."""
    dsn = messaging_database.dsn("messaging")
    async with create_pool(dsn, service="messaging", max_size=4, health=Health()) as pool:
        yield pool


@pytest.fixture(scope="session")
def media_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where both replicas keep media."""
    return tmp_path_factory.mktemp("messaging-media")


@pytest.fixture(scope="session")
async def replica_targets(
    messaging_database: Database,
    messaging_nats: EmbeddedNats,
    tokens: TestTokens,
    members: FakeMembers,
    app_ranges: FakeAppRanges,
    media_folder: Path,
) -> AsyncIterator[list[str]]:
    """Where two replicas listen, each with its own pool and broker, on one database."""
    async with AsyncExitStack() as stack:
        identity = await stack.enter_async_context(connected(messaging_nats, "identity"))
        await stack.enter_async_context(tokens.published(identity))
        await stack.enter_async_context(app_ranges.answering(identity))
        targets = []
        for _ in range(2):
            settings = build_settings("messaging", messaging_database, messaging_nats)
            assert isinstance(settings, MessagingSettings)
            settings = settings.model_copy(update={"media_store_url": media_folder.as_uri()})
            await stack.enter_async_context(role(settings))
            targets.append(f"127.0.0.1:{settings.grpc_port}")
        yield targets


@pytest.fixture(scope="session")
async def replica_channels(replica_targets: list[str]) -> AsyncIterator[list[grpc.aio.Channel]]:
    """A channel to each of the two replicas."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(grpc.aio.insecure_channel(target))
            for target in replica_targets
        ]


@pytest.fixture(scope="session")
def replicas(replica_channels: list[grpc.aio.Channel]) -> list[Stub]:
    return [messaging_service_pb2_grpc.MessagingServiceStub(each) for each in replica_channels]


@pytest.fixture(scope="session")
def media_stubs(
    replica_channels: list[grpc.aio.Channel],
) -> list[media_service_pb2_grpc.MediaServiceStub]:
    """The same for media."""
    return [media_service_pb2_grpc.MediaServiceStub(each) for each in replica_channels]


@pytest.fixture(scope="session")
def groups(replica_channels: list[grpc.aio.Channel]) -> Groups:
    """ConversationService at the first replica."""
    return Groups(replica_channels[0])


@pytest.fixture(scope="session")
def groups_elsewhere(replica_channels: list[grpc.aio.Channel]) -> Groups:
    """ConversationService at the second replica."""
    return Groups(replica_channels[1])


@pytest.fixture(scope="session")
def new_corp(replicas: list[Stub], tokens: TestTokens) -> Callable[[], Corp]:
    return lambda: Corp(replicas, tokens)


@pytest.fixture
def corp(new_corp: Callable[[], Corp]) -> Corp:
    return new_corp()


@pytest.fixture
def officer(replica_channels: list[grpc.aio.Channel], tokens: TestTokens) -> Callable[[Corp], Desk]:
    stub = compliance_service_pb2_grpc.ComplianceServiceStub(replica_channels[0])
    rights = ["manage_compliance", "read_compliance"]
    return lambda corp: Desk(stub, tokens.limited_administrator(corp.corp_id, rights=rights))


@pytest.fixture
def uploading(media_stubs: list[media_service_pb2_grpc.MediaServiceStub]) -> NewUploader:
    return lambda person, replica=0: Uploading(media_stubs[replica], person)
