"""The engines under the tests: how PostgreSQL, NATS and the services' settings are made."""

import contextlib
import importlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import psutil
from nats.aio.client import Client
from pydantic import SecretStr

from tieline.chassis import migrations, streams
from tieline.chassis.broker import BrokerClient
from tieline.chassis.settings import ServiceSettings
from tieline.chassis.streams import NATS_USERS, SERVICES
from tieline.embedded.nats import EmbeddedNats, User
from tieline.embedded.ports import find_free_port
from tieline.embedded.postgres import EmbeddedPostgres

# Of every role and broker user here; both servers listen on loopback only.
ROLE_PASSWORD = "only-for-tests"

# Tests kill processes, not machines; durability against power loss is not what they are about.
_KILL_TIMEOUT_S = 10

_MIGRATED, _MIGRATING = "tieline_migrated", "tieline_migrating"

FAST_POSTGRES = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    # Every worker runs several services at a time, each with a pool of its own.
    "max_connections": "400",
}


@dataclass(frozen=True)
class Database:
    """One database with every service's schema."""

    admin_dsn: str

    def dsn(self, service: str) -> str:
        """Return the DSN of the service's own role."""
        address = self.admin_dsn.rpartition("@")[2]
        return f"postgresql://tieline_{service}:{ROLE_PASSWORD}@{address}"


class Engine:
    """One engine that can be killed and started again on its data."""

    def __init__(self, server: EmbeddedPostgres | EmbeddedNats) -> None:
        self.server = server
        self._running = contextlib.ExitStack()
        self._process_id = 0

    def start(self) -> None:
        """Run it; returns when it is ready."""
        self._process_id = self._running.enter_context(self.server.running())

    def kill(self) -> None:
        """End it without asking, and return when its children are gone too.

        A session of PostgreSQL outlives the server for a moment and may still answer.
        """
        server = psutil.Process(self._process_id)
        processes = [server, *server.children(recursive=True)]
        server.kill()
        _, alive = psutil.wait_procs(processes, timeout=_KILL_TIMEOUT_S)
        assert not alive, f"{alive} outlive their server"
        self.stop()

    def freeze(self) -> None:
        """Halt it where it is: it stays connected, reads nothing and can only be killed."""
        psutil.Process(self._process_id).suspend()

    def has_ended(self) -> bool:
        """Tell whether it ended by itself."""
        return psutil.Process(self._process_id).status() == psutil.STATUS_ZOMBIE

    def stop(self) -> None:
        """End it in order."""
        self._running.close()


@contextmanager
def running_postgres() -> Iterator[str]:
    """Run a PostgreSQL in a temporary folder; yield the superuser's DSN."""
    directory = Path(tempfile.mkdtemp(prefix="tieline-tests-"))
    try:
        server = EmbeddedPostgres(
            directory / "postgres",
            find_free_port(),
            superuser_password=ROLE_PASSWORD,
            settings=FAST_POSTGRES,
        )
        with server.running():
            yield server.dsn()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def create_database(database: Database, name: str, services: Sequence[str]) -> Database:
    """Make another database on the same server, which the roles of these services may use.

    It is a copy of one that the run migrated once, and so has every service's schema.
    """
    created = Database(_dsn_of(database.admin_dsn, name))
    connection = await asyncpg.connect(database.admin_dsn)
    try:
        # Of several workers one migrates, and gives the roles, which are the server's, passwords.
        await connection.execute("SELECT pg_advisory_lock(1)")
        await _ensure_migrated(connection, _dsn_of(database.admin_dsn, _MIGRATING))
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {_MIGRATED}")
        # A copy has the schemas, and not the rights and settings of the database itself.
        await migrations.migrate(created.admin_dsn, services)
    finally:
        await connection.close()
    return created


async def _ensure_migrated(connection: "asyncpg.Connection[asyncpg.Record]", dsn: str) -> None:
    known = "SELECT 1 FROM pg_database WHERE datname = $1"
    if await connection.fetchval(known, _MIGRATED) is not None:
        return
    await connection.execute(f"CREATE DATABASE {_MIGRATING}")
    await migrations.migrate(dsn, SERVICES)
    for service in SERVICES:
        await connection.execute(f"ALTER ROLE tieline_{service} PASSWORD '{ROLE_PASSWORD}'")
    await connection.execute(f"ALTER DATABASE {_MIGRATING} RENAME TO {_MIGRATED}")


def _dsn_of(admin_dsn: str, name: str) -> str:
    return admin_dsn.rpartition("/")[0] + f"/{name}"


@asynccontextmanager
async def connected(nats: EmbeddedNats, user: str) -> AsyncIterator[Client]:
    """Connect to the server as one of the services."""
    broker = BrokerClient()
    await broker.connect(
        nats.url(user), inbox_prefix=f"_INBOX.{user}".encode(), max_reconnect_attempts=-1
    )
    try:
        yield broker
    finally:
        await broker.close()


def build_nats(directory: Path) -> EmbeddedNats:
    """Return a nats-server, not yet running, with the users and permissions of a real platform."""
    users = [User("admin", ROLE_PASSWORD)]
    users += [User(name, ROLE_PASSWORD, streams.permissions_of(name)) for name in NATS_USERS]
    # As PostgreSQL's fsync: what a killed process has written is there without it.
    return EmbeddedNats(directory, find_free_port(), users, sync_interval="10m")


def build_settings(service: str, database: Database, nats: EmbeddedNats) -> ServiceSettings:
    """Return the settings of a service on these engines, on a free port."""
    app = importlib.import_module(f"tieline.{service}.app")
    settings_type: type[ServiceSettings] = app.SETTINGS
    return settings_type(
        database_dsn=SecretStr(database.dsn(service)),
        nats_url=SecretStr(nats.url(service)),
        secret_key=SecretStr(f"{service}-key-only-for-tests".ljust(32, "-")),
        grpc_port=find_free_port(),
        shutdown_grace_s=2,
        # Clients and services share the test's event loop: what waits there tells of neither.
        admission=False,
    )
