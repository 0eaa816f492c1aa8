"""A replica of messaging as a process of its own, engines that can be killed, and people on it.

Everything that is acknowledged is remembered. A second connection of messaging's NATS user repeats
each live message twice more, late, for as long as the world stands.
"""

import asyncio
import dataclasses
import random
import re
import signal
import subprocess
import sys
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import asyncpg
import psutil
from nats.aio.client import Client
from nats.aio.msg import Msg

from e2e.platform_process import environment
from engines import ROLE_PASSWORD, Database, Engine, build_nats, connected
from fakes.eventually import eventually
from fakes.members import FakeMembers
from fakes.network import Network, network_to
from fakes.tokens import TestTokens
from tieline.api.messaging.v1 import messaging_pb2
from tieline.api.messaging.v1 import messaging_service_pb2 as messaging
from tieline.chassis import migrations, streams
from tieline.cli.grpc_health import is_serving
from tieline.client import (
    Endpoints,
    MessageSender,
    SessionTokens,
    SignedIn,
    Tieline,
    TielineError,
    connect,
)
from tieline.embedded.nats import EmbeddedNats
from tieline.embedded.ports import find_free_port
from tieline.embedded.postgres import EmbeddedPostgres

CORP_ID = "ww000000000000000000000001"
CALL_TIMEOUT_S = 2.0
PAUSE_S = 0.02
START_TIMEOUT_S = 50.0

# Of the corp's people, on connections of their own: a server bounds the calls of one.
CONNECTIONS = 20

SPOKEN = "spoken-"
"""With this begin the ids of what is said one by one; in a conversation they sort in its order."""

_MARK = {"Repeated": "yes"}
_LATEST_S = 0.1


class Replica:
    """`tieline serve messaging`, always on the same port."""

    def __init__(self, variables: dict[str, str], log: Path) -> None:
        self.port = find_free_port()
        self._variables = {**environment(), **variables, "TIELINE_GRPC_PORT": str(self.port)}
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it serves a moment later."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tieline.cli.main", "serve", "messaging"],
                env=self._variables,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """End it without asking."""
        assert self._process is not None, "started"
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    async def is_ready(self) -> bool:
        """Ask its health."""
        return await is_serving(self.port)

    async def is_not_ready(self) -> bool:
        """Ask its health."""
        return not await is_serving(self.port)


@dataclass
class Ledger:
    """What was acknowledged, and what refused."""

    numbers: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    """Conversation id to the number of each client message id, in the order of the answers."""

    refusals: list[TielineError] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many messages were acknowledged."""
        return sum(map(len, self.numbers.values()))

    @property
    def reasons(self) -> set[str]:
        """Why messages were refused; empty where the call's time was over."""
        return {error.reason for error in self.refusals}


@dataclass
class World:
    """A service that may fail in many ways, and who uses it."""

    postgres: Engine
    nats: Engine
    replica: Replica
    connections: list[Tieline]
    tokens: TestTokens
    folder: Path
    variables: dict[str, str]
    """Of a replica on these engines."""

    neighbours: list[Client]
    """Of NATS, the connections of the services around it."""

    ledger: Ledger = field(default_factory=Ledger)
    pause_s: float = PAUSE_S
    """Between one message of a talk and the next."""

    def person(self, user_id: str, number: int = 0) -> SignedIn:
        """Return the library as a member uses it, on the connection of that number."""
        later = datetime.now(UTC) + timedelta(hours=1)
        token = self.tokens.member(CORP_ID, user_id)
        tokens = SessionTokens("session", token, later, "", later)
        return self.connections[number % CONNECTIONS].resume(tokens)

    async def neighbours_are_there(self) -> bool:
        """Tell whether those whom the replica asks can answer: each reconnects by itself."""
        if not all(broker.is_connected for broker in self.neighbours):
            return False
        # What was subscribed to before is subscribed to again.
        await asyncio.gather(*(broker.flush() for broker in self.neighbours))
        return True

    async def open_group(self, creator: str, *others: str) -> str:
        """Make a group and return its id."""
        created = await self.person(creator).messaging.CreateConversation(
            messaging.CreateConversationRequest(
                request_id=str(uuid.uuid4()),
                kind=messaging_pb2.CONVERSATION_KIND_GROUP,
                name="Faults",
                user_ids=others,
            )
        )
        return created.conversation.conversation_id

    async def stored(self, user_id: str, conversation_id: str) -> list[tuple[int, str]]:
        """Return numbers and client message ids of what the conversation holds, in order."""
        stub = self.person(user_id).messaging
        found: list[tuple[int, str]] = []
        while True:
            request = messaging.ListMessagesRequest(
                conversation_id=conversation_id, after_sequence=len(found), page_size=1000
            )
            response = await stub.ListMessages(request)
            found += [(each.sequence, each.client_message_id) for each in response.messages]
            if len(found) == response.last_sequence:
                return found

    def postgres_processes(self) -> list[psutil.Process]:
        """Return the server and all its sessions."""
        pid = int((self.postgres.server.directory / "postmaster.pid").read_text().split()[0])
        server = psutil.Process(pid)
        return [server, *server.children(recursive=True)]

    @asynccontextmanager
    async def talking(self, user_id: str, *conversations: str) -> AsyncIterator[None]:
        """Write into these conversations for as long as the block lasts: one by one, and streamed.

        What is not acknowledged is sent again under its id.
        """
        talks = [self._talk(user_id, each) for each in conversations]
        tasks = [asyncio.create_task(talk) for talk in talks]
        tasks.append(asyncio.create_task(self._stream(user_id, conversations)))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in outcomes), outcomes

    async def _talk(self, user_id: str, conversation_id: str) -> None:
        for number in count():
            await self.say(user_id, conversation_id, f"{SPOKEN}{number:06}")
            await asyncio.sleep(self.pause_s)

    async def say(self, user_id: str, conversation_id: str, client_message_id: str) -> None:
        """Send one message until it is acknowledged."""
        stub = self.person(user_id).messaging
        request = messaging.SendMessageRequest(
            conversation_id=conversation_id, client_message_id=client_message_id
        )
        request.content.text.text = client_message_id
        while True:
            try:
                response = await stub.SendMessage(request, timeout=CALL_TIMEOUT_S)
            except TielineError as error:
                self.ledger.refusals.append(error)
                await asyncio.sleep(self.pause_s)
            else:
                self._note(response.message)
                return

    async def _stream(self, user_id: str, conversations: tuple[str, ...]) -> None:
        async with self.person(user_id, 1).message_sender() as sender:
            while True:
                waiting = [self._pass_on(sender, each) for each in conversations for _ in range(2)]
                await asyncio.gather(*waiting)
                await asyncio.sleep(self.pause_s)

    async def _pass_on(self, sender: MessageSender, conversation_id: str) -> None:
        client_message_id = str(uuid.uuid4())
        content = messaging_pb2.MessageContent(text=messaging_pb2.TextContent(text="streamed"))
        while True:
            try:
                message = await sender.send(
                    conversation_id, content, client_message_id=client_message_id
                )
            except TielineError:
                await asyncio.sleep(self.pause_s)
            else:
                self._note(message)
                return

    def _note(self, message: messaging_pb2.Message) -> None:
        """Remember an acknowledgement."""
        numbers = self.ledger.numbers[message.conversation_id]
        assert message.client_message_id not in numbers, "acknowledged once"
        numbers[message.client_message_id] = message.sequence


class Reader:
    """One device that follows a feed, and remembers all that it was given."""

    def __init__(self, person: SignedIn, *held: str) -> None:
        """``held`` are conversations that it knows, with nothing of them."""
        self._person = person
        self._held = dict.fromkeys(held, 0)
        self.seen: dict[str, list[tuple[int, str]]] = defaultdict(list)

    async def go_on(self) -> None:
        """Read until cancelled."""
        async with self._person.watch_messages(held=self._held) as feed:
            async for message in feed:
                self.seen[message.conversation_id].append(
                    (message.sequence, message.client_message_id)
                )


@asynccontextmanager
async def reading(readers: list[Reader]) -> AsyncIterator[None]:
    """Have them read for as long as the block lasts."""
    tasks = [asyncio.create_task(reader.go_on()) for reader in readers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in outcomes), outcomes


def build_postgres(folder: Path) -> EmbeddedPostgres:
    """Return a PostgreSQL whose commits outlive it."""
    return EmbeddedPostgres(
        folder,
        find_free_port(),
        superuser_password=ROLE_PASSWORD,
        # Processes are killed here, not machines; what a commit wrote must be out of its process.
        settings={"fsync": "off"},
    )


@asynccontextmanager
async def faulty_world(
    folder: Path, tokens: TestTokens, postgres: EmbeddedPostgres | None = None
) -> AsyncIterator[World]:
    """Run it all until the block is left; without a PostgreSQL, on one in the folder."""
    postgres = postgres or build_postgres(folder / "postgres")
    nats = build_nats(folder / "nats")
    async with AsyncExitStack() as stack:
        engines = Engine(postgres), Engine(nats)
        for engine in engines:
            engine.start()
            stack.callback(engine.stop)
        await streams.declare(nats.url("admin"))
        variables = await _prepare(postgres, nats)
        neighbours = [
            await stack.enter_async_context(connected(nats, user))
            for user in ("identity", "directory", "messaging")
        ]
        identity, directory, repeater = neighbours
        await stack.enter_async_context(tokens.published(identity))
        await stack.enter_async_context(FakeMembers().answering(directory))
        await _repeat_everything(repeater)
        replica = await stack.enter_async_context(_serving(variables, folder / "messaging.log"))
        connections = await stack.enter_async_context(_connected(f"127.0.0.1:{replica.port}"))
        yield World(*engines, replica, connections, tokens, folder, variables, neighbours)


@asynccontextmanager
async def _serving(variables: dict[str, str], log: Path) -> AsyncIterator[Replica]:
    """Run a replica until the block is left."""
    replica = Replica(variables, log)
    replica.start()
    try:
        await eventually(replica.is_ready, timeout_s=START_TIMEOUT_S)
        yield replica
    finally:
        replica.kill()


@asynccontextmanager
async def _connected(target: str) -> AsyncIterator[list[Tieline]]:
    """Connect the corp's people until the block is left."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(connect(Endpoints.single(target), tls=False))
            for _ in range(CONNECTIONS)
        ]


@asynccontextmanager
async def beside(world: World) -> AsyncIterator[World]:
    """Run another replica on the same engines; those people go to either of the two."""
    async with _serving(world.variables, world.folder / "another.log") as replica:
        target = f"ipv4:127.0.0.1:{world.replica.port},127.0.0.1:{replica.port}"
        async with _connected(target) as connections:
            yield dataclasses.replace(
                world, replica=replica, connections=connections, ledger=Ledger()
            )


@asynccontextmanager
async def far_from(world: World, name: str) -> AsyncIterator[tuple[World, dict[str, Network]]]:
    """Run another replica with a network between it and PostgreSQL, NATS and those people."""
    ports = {"postgres": world.postgres.server.port, "nats": world.nats.server.port}
    async with AsyncExitStack() as stack:
        links = {
            link: await stack.enter_async_context(network_to(port)) for link, port in ports.items()
        }
        variables = dict(world.variables)
        for link, variable in ("postgres", "TIELINE_DATABASE_DSN"), ("nats", "TIELINE_NATS_URL"):
            variables[variable] = re.sub(
                rf":{ports[link]}\b", f":{links[link].port}", variables[variable]
            )
        log = world.folder / f"{name}.log"
        replica = await stack.enter_async_context(_serving(variables, log))
        links["clients"] = await stack.enter_async_context(network_to(replica.port))
        target = f"127.0.0.1:{links['clients'].port}"
        connections = await stack.enter_async_context(_connected(target))
        far = dataclasses.replace(world, replica=replica, connections=connections, ledger=Ledger())
        yield far, links


async def _prepare(server: EmbeddedPostgres, nats: EmbeddedNats) -> dict[str, str]:
    """Make the schema; return the variables of a service on it."""
    database = Database(server.dsn())
    await migrations.migrate(database.admin_dsn, ["messaging"])
    connection = await asyncpg.connect(database.admin_dsn)
    await connection.execute(f"ALTER ROLE tieline_messaging PASSWORD '{ROLE_PASSWORD}'")
    await connection.close()
    return {
        "TIELINE_DATABASE_DSN": database.dsn("messaging"),
        "TIELINE_NATS_URL": nats.url("messaging"),
        "TIELINE_SECRET_KEY": "messaging-key-only-for-tests".ljust(32, "-"),
        # Clients and engines share two cores here: what waits tells nothing of the service.
        "TIELINE_ADMISSION": "false",
    }


async def _repeat_everything(broker: Client) -> None:
    """Publish what is told live twice more, a moment later and in another order."""
    loop = asyncio.get_running_loop()
    publishing: set[asyncio.Task[None]] = set()

    async def publish(message: Msg) -> None:
        if broker.is_connected:
            await broker.publish(message.subject, message.data, headers=_MARK)

    def begin(message: Msg) -> None:
        task = asyncio.create_task(publish(message))
        publishing.add(task)
        task.add_done_callback(publishing.discard)

    async def repeat(message: Msg) -> None:
        if not message.headers:
            for _ in range(2):
                loop.call_later(random.uniform(0, _LATEST_S), begin, message)

    await broker.subscribe("live.>", cb=repeat)
