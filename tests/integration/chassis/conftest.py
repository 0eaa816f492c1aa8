"""A database and a NATS server for the chassis alone, so that no service consumes its events."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import asyncpg
import pytest

from tieline.chassis import streams
from tieline.chassis.broker import Broker, connect_admin, connect_broker
from tieline.chassis.health import Health
from tieline.chassis.migrations import migrate
from tieline.chassis.postgres import Pool, create_pool
from tieline.embedded.nats import EmbeddedNats, User
from tieline.embedded.ports import find_free_port

SCHEMAS = ("identity", "directory")
PASSWORD = "only-for-tests"


async def create_database(postgres_admin_dsn: str) -> str:
    """Create an empty database; return the superuser's DSN of it."""
    name = f"chassis_{secrets.token_hex(6)}"
    connection = await asyncpg.connect(postgres_admin_dsn)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    return postgres_admin_dsn.rpartition("/")[0] + f"/{name}"


def chassis_users() -> list[User]:
    """The users of a platform's NATS: an administrator, and each service with its permissions."""
    users = [User("admin", PASSWORD)]
    users += [User(name, PASSWORD, streams.permissions_of(name)) for name in streams.NATS_USERS]
    return users


@pytest.fixture
def make_database(postgres_admin_dsn: str) -> Callable[[], Awaitable[str]]:
    return lambda: create_database(postgres_admin_dsn)


@pytest.fixture
async def empty_database(postgres_admin_dsn: str) -> str:
    return await create_database(postgres_admin_dsn)


@pytest.fixture(scope="session")
async def chassis_dsn(postgres_admin_dsn: str) -> str:
    dsn = await create_database(postgres_admin_dsn)
    await migrate(dsn, SCHEMAS)
    return dsn


@pytest.fixture
def health() -> Health:
    health = Health()
    health.mark_serving()
    return health


@pytest.fixture
async def pool(chassis_dsn: str, health: Health) -> AsyncIterator[Pool]:
    async with create_pool(chassis_dsn, service="identity", max_size=8, health=health) as pool:
        async with pool.acquire() as connection:
            for schema in SCHEMAS:
                await connection.execute(
                    f"TRUNCATE {schema}.outbox, {schema}.handled_events, {schema}.dead_letters, "
                    f"{schema}.first_answers"
                )
        yield pool


@pytest.fixture(scope="session")
def chassis_nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedNats]:
    server = EmbeddedNats(
        tmp_path_factory.mktemp("chassis-nats") / "data", find_free_port(), chassis_users()
    )
    with server.running():
        yield server


@pytest.fixture
async def declared_nats(chassis_nats: EmbeddedNats) -> EmbeddedNats:
    """The server with empty streams.

    They are emptied and not made anew: NATS removes a stream's folder in the background, and now
    and then cannot create another one of its name meanwhile.
    """
    await streams.declare(chassis_nats.url("admin"))
    async with connect_admin(chassis_nats.url("admin")) as broker:
        jetstream = broker.jetstream()
        for info in await jetstream.streams_info():
            name = info.config.name
            assert name is not None
            for consumer in await jetstream.consumers_info(name):
                await jetstream.delete_consumer(name, consumer.name)
            await jetstream.purge_stream(name)
    await streams.declare(chassis_nats.url("admin"))
    return chassis_nats


@pytest.fixture
async def identity_broker(declared_nats: EmbeddedNats, health: Health) -> AsyncIterator[Broker]:
    url = declared_nats.url("identity")
    async with connect_broker(url, name="identity", health=health) as broker:
        yield broker


@pytest.fixture
async def directory_broker(declared_nats: EmbeddedNats) -> AsyncIterator[Broker]:
    url = declared_nats.url("directory")
    async with connect_broker(url, name="directory", health=Health()) as broker:
        yield broker
