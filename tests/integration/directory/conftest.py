"""The directory in this process, and corps of their own for each test."""

from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
import pytest
from nats.aio.client import Client

from engines import Database, connected
from fakes.app_ranges import FakeAppRanges
from fakes.directory_corps import Corp, publish_corp_created
from fakes.directory_files import Files
from fakes.directory_writers import Writer
from fakes.eventually import eventually
from fakes.identity_corps import FakeIdentityCorps
from fakes.tokens import TestTokens
from tieline.api.directory.v1 import directory_service_pb2_grpc
from tieline.api.identity.v1 import app_pb2
from tieline.chassis.health import Health
from tieline.chassis.ids import new_corp_id
from tieline.chassis.postgres import Pool, create_pool
from tieline.embedded.nats import EmbeddedNats

# The root is 1.
_FIRST_DEPARTMENT = 2
_AGENT_ID = 1000002


@pytest.fixture(scope="session")
async def stub(
    start_service: Callable[[str], Awaitable[grpc.aio.Channel]],
) -> directory_service_pb2_grpc.DirectoryServiceStub:
    return directory_service_pb2_grpc.DirectoryServiceStub(await start_service("directory"))


@pytest.fixture(scope="session")
async def directory_pool(database: Database) -> AsyncIterator[Pool]:
    """Connections of the test's own, as the directory's role."""
    dsn = database.dsn("directory")
    async with create_pool(dsn, service="directory", max_size=4, health=Health()) as pool:
        yield pool


@pytest.fixture(scope="session")
async def identity_broker(nats: EmbeddedNats) -> AsyncIterator[Client]:
    async with connected(nats, "identity") as client:
        yield client


@pytest.fixture(scope="session")
async def identity_corps(identity_broker: Client) -> AsyncIterator[FakeIdentityCorps]:
    """Answers in identity's place what sort of corp one is."""
    fake = FakeIdentityCorps()
    async with fake.answering(identity_broker):
        yield fake


@pytest.fixture(scope="session")
async def messaging_broker(nats: EmbeddedNats) -> AsyncIterator[Client]:
    async with connected(nats, "messaging") as client:
        yield client


@pytest.fixture(scope="session")
async def admin_broker(nats: EmbeddedNats) -> AsyncIterator[Client]:
    async with connected(nats, "admin") as client:
        yield client


@pytest.fixture(scope="session", autouse=True)
async def app_ranges(identity_broker: Client) -> AsyncIterator[FakeAppRanges]:
    """What identity says of apps."""
    ranges = FakeAppRanges()
    async with ranges.answering(identity_broker):
        yield ranges


@pytest.fixture(scope="session")
def make_corp(
    stub: directory_service_pb2_grpc.DirectoryServiceStub,
    tokens: TestTokens,
    identity_broker: Client,
) -> Callable[[], Awaitable[Corp]]:
    """Make corps that the directory has heard of."""

    async def make() -> Corp:
        corp = Corp(new_corp_id(), stub, tokens)
        await publish_corp_created(identity_broker, corp.corp_id)
        await eventually(corp.list_departments)
        return corp

    return make


@pytest.fixture
async def corp(make_corp: Callable[[], Awaitable[Corp]]) -> Corp:
    return await make_corp()


@pytest.fixture
async def other_corp(make_corp: Callable[[], Awaitable[Corp]]) -> Corp:
    return await make_corp()


@pytest.fixture(scope="session")
async def channel(
    start_service: Callable[[str], Awaitable[grpc.aio.Channel]],
) -> grpc.aio.Channel:
    return await start_service("directory")


@pytest.fixture
def owner(corp: Corp, channel: grpc.aio.Channel) -> Writer:
    """The corp's owner, who may change everything in it."""
    return Writer(corp.corp_id, channel, corp.tokens.administrator(corp.corp_id, "boss"))


@pytest.fixture
def other_owner(other_corp: Corp, channel: grpc.aio.Channel) -> Writer:
    """The owner of another corp."""
    return Writer(
        other_corp.corp_id, channel, other_corp.tokens.administrator(other_corp.corp_id, "boss")
    )


@pytest.fixture
def files(corp: Corp, channel: grpc.aio.Channel) -> Files:
    """The corp's imports and exports."""
    return Files(corp, channel)


@pytest.fixture(params=["administrator", "app"])
def limited(
    request: pytest.FixtureRequest, filled: Writer, corp: Corp, app_ranges: FakeAppRanges
) -> Writer:
    """Somebody who manages the first department of the test's own ``filled`` corp alone."""
    if request.param == "administrator":
        token = corp.tokens.limited_administrator(corp.corp_id, departments=[_FIRST_DEPARTMENT])
    else:
        app_range = app_pb2.AppRange(department_ids=[_FIRST_DEPARTMENT])
        app_ranges.ranges[corp.corp_id, _AGENT_ID] = app_range
        rights = ("read_directory", "manage_directory")
        token = corp.tokens.app(corp.corp_id, str(_AGENT_ID), rights=rights)
    return filled.signed_in_as(token)
