"""Identity on a database and a nats-server of its own: nobody else signs tokens there."""

from collections.abc import AsyncIterator

import pytest

from engines import Database, build_nats, connected
from integration.identity.code_inbox import CodeInbox, with_webhook
from integration.identity.world import (
    FakeDirectory,
    Identity,
    fast_settings,
    make_database,
    running_identity,
)
from tieline.chassis import streams
from tieline.chassis.requests import answering
from tieline.embedded.nats import EmbeddedNats


@pytest.fixture
async def empty_database(
    postgres_admin_dsn: str, database: Database, request: pytest.FixtureRequest, worker_id: str
) -> Database:
    """A database on which identity was never started, for one test."""
    # `database` is what gives the roles their passwords.
    name = f"tieline_identity_{worker_id}_{abs(hash(request.node.nodeid))}"
    return await make_database(postgres_admin_dsn, name)


@pytest.fixture(scope="session")
async def identity_nats(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[EmbeddedNats]:
    """A nats-server on which identity alone answers what the signing keys are."""
    server = build_nats(tmp_path_factory.mktemp("identity-nats") / "data")
    with server.running():
        await streams.declare(server.url("admin"))
        yield server


@pytest.fixture(scope="session")
async def directory(identity_nats: EmbeddedNats) -> AsyncIterator[FakeDirectory]:
    """A directory that answers identity."""
    fake = FakeDirectory()
    async with (
        connected(identity_nats, "directory") as broker,
        answering(broker, "directory", fake.build_handlers()),
    ):
        yield fake


@pytest.fixture(scope="session")
async def code_inbox() -> AsyncIterator[CodeInbox]:
    """The operator's service that sends one-time codes."""
    inbox = CodeInbox()
    async with inbox.serving():
        yield inbox


@pytest.fixture(scope="session")
async def identity(
    postgres_admin_dsn: str,
    database: Database,
    worker_id: str,
    identity_nats: EmbeddedNats,
    directory: FakeDirectory,
    code_inbox: CodeInbox,
) -> AsyncIterator[Identity]:
    """Identity, started once per worker; its one-time codes arrive in the inbox."""
    own = await make_database(postgres_admin_dsn, f"tieline_identity_{worker_id}")
    settings = with_webhook(fast_settings(own, identity_nats), code_inbox)
    async with running_identity(settings, own, identity_nats, directory) as running:
        yield running
