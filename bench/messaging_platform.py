"""One messaging service as its own process, on durable engines of its own, and people to talk.

PostgreSQL has fsync on and 512 MB of buffers, as messengers are compared with; NATS has the users,
permissions and streams of a real platform. Identity is played by this process: it answers for the
key that signs the people's tokens. Conversations are put into the tables, since making them is not
what is measured.
"""

import asyncio
import os
import secrets
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import asyncpg
import grpc
import psutil
from joserfc import jwt
from joserfc.jwk import OKPKey

from bench import process_trees
from tieline.api.identity.v1 import identity_requests_pb2
from tieline.api.messaging.v1 import messaging_pb2
from tieline.chassis import migrations, streams
from tieline.chassis.authentication import ALGORITHM, AUDIENCE, ISSUER, TOKEN_ALGORITHMS
from tieline.chassis.broker import connect_broker
from tieline.chassis.health import Health
from tieline.chassis.principals import PrincipalKind
from tieline.chassis.requests import RequestHandler, answering
from tieline.embedded.nats import EmbeddedNats, User
from tieline.embedded.ports import find_free_port
from tieline.embedded.postgres import EmbeddedPostgres

SERVICE = "tieline.api.messaging.v1.MessagingService"

CORP_ID = "ww0123456789abcdefghijklmn"

_KEY_ID = "bench"
_TOKEN_LIFE_S = 3600
_START_TIMEOUT_S = 60.0
_KILL_TIMEOUT_S = 10.0

# The same for every messenger that is compared.
POSTGRES_SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "4GB"}

TEXT_BYTES = 200

NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


class Part:
    """A process of the platform, which can be killed and started again on its data."""

    def __init__(self, running: Callable[[], AbstractAsyncContextManager[int]]) -> None:
        self._running = running
        self._stack = AsyncExitStack()
        self.pid = 0

    async def start(self) -> None:
        """Run it; return when it is ready."""
        self.pid = await self._stack.enter_async_context(self._running())

    async def stop(self) -> None:
        """End it in order; what has ended stays so."""
        await self._stack.aclose()

    async def kill(self) -> None:
        """End it without asking; return when its children, which may still answer, are gone."""
        process = psutil.Process(self.pid)
        children = process.children(recursive=True)
        process.kill()
        await self.stop()
        await asyncio.to_thread(psutil.wait_procs, children, timeout=_KILL_TIMEOUT_S)


@dataclass(frozen=True, slots=True)
class MessagingPlatform:
    """A running service and what it stands on."""

    target: str
    """``host:port`` of the gRPC server."""

    service: Part
    postgres: Part
    nats: Part
    admin_dsn: str
    key: OKPKey

    @property
    def process_ids(self) -> list[int]:
        """Of service, PostgreSQL and NATS; they have children."""
        return [self.service.pid, self.postgres.pid, self.nats.pid]

    def cpu_s(self) -> float:
        """Return the CPU time of service, PostgreSQL and NATS together, in seconds."""
        return process_trees.cpu_s(self.process_ids)

    def metadata(self, user_id: str, corp_id: str = CORP_ID) -> tuple[tuple[str, str], ...]:
        """Return what a member's calls carry."""
        return (("authorization", f"Bearer {self.token(user_id, corp_id)}"),)

    def token(self, user_id: str, corp_id: str = CORP_ID) -> str:
        """Return a member's access token, good for an hour."""
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": user_id,
            "kind": PrincipalKind.MEMBER,
            "corp": corp_id,
            "roles": [],
            "name": user_id,
            "sid": "bench",
            "exp": int(time.time()) + _TOKEN_LIFE_S,
        }
        header = {"alg": ALGORITHM, "kid": _KEY_ID}
        return jwt.encode(header, claims, self.key, registry=TOKEN_ALGORITHMS)

    async def open_conversations(
        self, groups: Sequence[Sequence[str]], corp_id: str = CORP_ID
    ) -> list[str]:
        """Put in a conversation for each list of members; return their ids."""
        ids = [str(uuid.uuid4()) for _ in groups]
        connection = await asyncpg.connect(self.admin_dsn)
        try:
            await connection.execute(
                "INSERT INTO messaging.conversations (corp_id, conversation_id, kind, name) "
                "SELECT $1, unnest($2::text[]), 'group', 'Bench'",
                corp_id,
                ids,
            )
            rows = [
                (corp_id, id_, "member", user, 0)
                for id_, of in zip(ids, groups, strict=True)
                for user in of
            ]
            await connection.copy_records_to_table(
                "participants",
                schema_name="messaging",
                records=rows,
                columns=["corp_id", "conversation_id", "kind", "id", "joined_sequence"],
            )
        finally:
            await connection.close()
        return ids

    async def count_messages(self) -> int:
        """Return how many messages are stored: what is durable, whoever acknowledged it."""
        connection = await asyncpg.connect(self.admin_dsn)
        try:
            return int(await connection.fetchval("SELECT count(*) FROM messaging.stored_messages"))
        finally:
            await connection.close()


@asynccontextmanager
async def messaging_platform(
    settings: Mapping[str, str] = NO_SETTINGS,
) -> AsyncIterator[MessagingPlatform]:
    """Run PostgreSQL, NATS and messaging in a temporary folder until the block is left.

    ``settings`` are environment variables of the service.
    """
    password = secrets.token_hex(8)
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(engines_folder())
        postgres = EmbeddedPostgres(
            folder / "postgres",
            find_free_port(),
            superuser_password=password,
            settings=POSTGRES_SETTINGS,
        )
        postgres_part = await _start(stack, lambda: running_in_thread(postgres.running()))
        users = [User("admin", password)]
        users += [User(name, password, streams.permissions_of(name)) for name in streams.NATS_USERS]
        nats = EmbeddedNats(folder / "nats", find_free_port(), users)
        nats_part = await _start(stack, lambda: running_in_thread(nats.running()))
        await streams.declare(nats.url("admin"))
        await _prepare_database(postgres.dsn(), password)
        key = OKPKey.generate_key("Ed25519", private=True)
        await stack.enter_async_context(_playing_identity(nats.url("identity"), key))
        port = find_free_port()
        environment = {
            "TIELINE_DATABASE_DSN": postgres.dsn("tieline_messaging", password),
            "TIELINE_NATS_URL": nats.url("messaging"),
            "TIELINE_SECRET_KEY": secrets.token_hex(32),
            "TIELINE_GRPC_PORT": str(port),
            "TIELINE_LOG_FORMAT": "json",
            "TIELINE_SHUTDOWN_GRACE_S": "2",
            # What messages cost is measured at the most that can be done, where admission refuses.
            "TIELINE_ADMISSION": "false",
            **settings,
        }
        service = await _start(stack, lambda: _serving(environment, folder, port))
        yield MessagingPlatform(
            f"127.0.0.1:{port}", service, postgres_part, nats_part, postgres.dsn(), key
        )


@contextmanager
def engines_folder() -> Iterator[Path]:
    """Give a temporary folder for the data of PostgreSQL and NATS."""
    with tempfile.TemporaryDirectory(prefix="tieline-bench-") as folder:
        os.chmod(folder, 0o755)  # noqa: S103 -- PostgreSQL's account must be able to pass it
        yield Path(folder)


@asynccontextmanager
async def running_in_thread(running: AbstractContextManager[int]) -> AsyncIterator[int]:
    """Run an engine and go on meanwhile. The loop's threads live until the benchmark ends."""
    with ExitStack() as stack:
        yield await asyncio.to_thread(stack.enter_context, running)


async def _start(
    stack: AsyncExitStack, running: Callable[[], AbstractAsyncContextManager[int]]
) -> Part:
    part = Part(running)
    await part.start()
    stack.push_async_callback(part.stop)
    return part


async def _prepare_database(admin_dsn: str, password: str) -> None:
    await migrations.migrate(admin_dsn, ["messaging"])
    connection = await asyncpg.connect(admin_dsn)
    try:
        await connection.execute(f"ALTER ROLE tieline_messaging PASSWORD '{password}'")
    finally:
        await connection.close()


@asynccontextmanager
async def _playing_identity(url: str, key: OKPKey) -> AsyncIterator[None]:
    async def get_signing_keys(
        _: identity_requests_pb2.GetSigningKeysRequest,
    ) -> identity_requests_pb2.GetSigningKeysResponse:
        response = identity_requests_pb2.GetSigningKeysResponse()
        response.keys.add(key_id=_KEY_ID, public_key=key.public_key.public_bytes_raw())
        return response

    handler = RequestHandler(identity_requests_pb2.GetSigningKeysRequest, get_signing_keys)
    async with (
        connect_broker(url, name="identity", health=Health()) as broker,
        answering(broker, "identity", {"get_signing_keys": handler}),
    ):
        yield


@asynccontextmanager
async def _serving(environment: dict[str, str], folder: Path, port: int) -> AsyncIterator[int]:
    with (folder / "messaging.log").open("a") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tieline.cli.main", "serve", "messaging"),
            env={**os.environ, **environment},
            stderr=log,
            stdout=log,
        )
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await asyncio.wait_for(channel.channel_ready(), _START_TIMEOUT_S)
        yield process.pid
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def build_outgoing(conversation_id: str) -> messaging_pb2.OutgoingMessage:
    """Return a text of 200 bytes that nobody has sent before."""
    said = secrets.token_hex(TEXT_BYTES // 2)
    return messaging_pb2.OutgoingMessage(
        conversation_id=conversation_id,
        client_message_id=str(uuid.uuid4()),
        content=messaging_pb2.MessageContent(text=messaging_pb2.TextContent(text=said)),
    )
