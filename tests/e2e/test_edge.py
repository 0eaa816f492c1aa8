"""`tieline up --edge`: the whole platform behind one address, and the edge killed under it."""

import asyncio
import contextlib
import signal
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import partial

import psutil
import pytest

from e2e.platform_process import PlatformProcess, platform_process, run_tieline
from fakes.eventually import eventually
from rendered_chart import example_values, merged, of_kind, render
from tieline.api.identity.v1 import identity_pb2, identity_service_pb2
from tieline.api.messaging.v1 import messaging_pb2, messaging_service_pb2
from tieline.client import (
    Endpoints,
    MessageFeed,
    MessageSender,
    SignedIn,
    TielineError,
    connect,
    message_range,
)
from tieline.surge.people import bring_together

pytestmark = [pytest.mark.haproxy, pytest.mark.timeout(240)]


# Of each way of sending, after each kill.
MESSAGES = 25

# One call by call, the others on a stream.
WRITERS = 5


@pytest.fixture(scope="module")
async def behind_edge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PlatformProcess]:
    """A platform of these tests' own, with the edge in front."""
    folder = tmp_path_factory.mktemp("edge")
    async with platform_process(folder / "data", "--edge") as platform:
        await platform.is_up()
        yield platform


class Correspondence:
    """One member writes by a stream and call by call, another one reads along."""

    def __init__(self, writer: SignedIn, reader: SignedIn, conversation_id: str) -> None:
        self.stored: dict[str, set[str]] = {"stream": set(), "call": set()}
        """The client message ids that were acknowledged, which are the texts as well."""
        self.read: list[str] = []
        self.interruptions = 0
        self.underway = 0
        """Messages that were sent and have no answer yet."""
        self._writer = writer
        self._reader = reader
        self._conversation_id = conversation_id
        self._is_over = False

    async def goes_on(self) -> None:
        """Return once both ways have brought some more messages to be stored."""
        before = {way: len(ids) for way, ids in self.stored.items()}
        await eventually(
            lambda: all(len(ids) >= before[way] + MESSAGES for way, ids in self.stored.items()),
            timeout_s=60,
        )

    async def waits(self) -> None:
        """Return once each writer has sent something that is not answered."""
        await eventually(lambda: self.underway == WRITERS, timeout_s=60)

    def has_read_all(self) -> bool:
        return set(self.read) >= self.stored["stream"] | self.stored["call"]

    def stop(self) -> None:
        self._is_over = True

    async def run(self) -> None:
        """Write until stopped, and read until everything that was stored has come."""
        async with self._reader.watch_messages() as feed:
            reading = asyncio.create_task(self._read(feed))
            await feed.wait_live()
            async with self._writer.message_sender() as sender:
                await asyncio.gather(
                    self._write("call", self._call),
                    *(
                        self._write("stream", partial(self._send, sender))
                        for _ in range(WRITERS - 1)
                    ),
                )
                self.interruptions += sender.interruptions
            await eventually(self.has_read_all, timeout_s=60)
            self.interruptions += feed.interruptions
            reading.cancel()

    async def _write(self, way: str, send: Callable[[str], Awaitable[object]]) -> None:
        while not self._is_over:
            message_id = str(uuid.uuid4())
            while message_id not in self.stored[way]:
                # What failed may be stored all the same: it goes out again under its id.
                self.underway += 1
                try:
                    await send(message_id)
                    self.stored[way].add(message_id)
                except TielineError:
                    pass
                finally:
                    self.underway -= 1
                # Below the edge's limit of a user's calls.
                await asyncio.sleep(0.1)

    async def _call(self, message_id: str) -> None:
        request = messaging_service_pb2.SendMessageRequest(
            conversation_id=self._conversation_id,
            client_message_id=message_id,
            content=_text(message_id),
        )
        await self._writer.messaging.SendMessage(request)

    async def _send(self, sender: MessageSender, message_id: str) -> None:
        await sender.send(self._conversation_id, _text(message_id), client_message_id=message_id)

    async def _read(self, feed: MessageFeed) -> None:
        async for message in feed:
            if message.content.HasField("text"):
                self.read.append(message.content.text.text)


def _text(text: str) -> messaging_pb2.MessageContent:
    return messaging_pb2.MessageContent(text=messaging_pb2.TextContent(text=text))


async def test_what_is_written_while_the_edge_and_a_replica_are_killed_is_stored_once_and_read(
    behind_edge: PlatformProcess,
) -> None:
    data = behind_edge.data
    password = data.read_secrets().platform_administrator_password
    async with connect(Endpoints.single(data.read_endpoints()["edge"])) as tieline:
        administrator = await tieline.sign_in_platform_administrator("platform", password)
        cast = await bring_together(tieline, administrator, members=2, customers=1)
        writer, reader = [
            await tieline.sign_in_member(cast.corp_id, member.id, member.password)
            for member in cast.members
        ]
        conversation_id = cast.members[0].conversation_id
        correspondence = Correspondence(writer, reader, conversation_id)
        running = asyncio.create_task(correspondence.run())
        await correspondence.goes_on()

        for find in (haproxy_worker, edge_role, messaging_replica):
            # What the database is about to store has no answer when the way back is gone.
            with standing_still(postgres_processes(behind_edge)):
                await correspondence.waits()
                find(behind_edge).send_signal(signal.SIGKILL)
            await correspondence.goes_on()

        correspondence.stop()
        await running
        kept = [
            message.content.text.text
            async for message in message_range(writer.messaging, conversation_id)
            if message.content.HasField("text")
        ]

    acknowledged = correspondence.stored["stream"] | correspondence.stored["call"]
    assert len(kept) == len(set(kept))
    assert set(kept) == acknowledged
    assert correspondence.read == kept
    assert correspondence.interruptions >= 4


@contextlib.contextmanager
def standing_still(processes: Sequence[psutil.Process]) -> Iterator[None]:
    """Stop the processes within the block."""
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in reversed(processes):
            process.send_signal(signal.SIGCONT)


def postgres_processes(platform: PlatformProcess) -> list[psutil.Process]:
    """Return the server and all its sessions."""
    [server] = [
        process
        for process in platform.all_processes()
        if process.name() == "postgres"
        and (parent := process.parent()) is not None
        and parent.name() != "postgres"
    ]
    return [server, *server.children(recursive=True)]


def haproxy_worker(platform: PlatformProcess) -> psutil.Process:
    role = edge_role(platform)
    (worker,) = (
        process
        for master in role.children(recursive=True)
        if master.name() == "haproxy"
        for process in master.children()
    )
    return worker


def edge_role(platform: PlatformProcess) -> psutil.Process:
    return platform.process_of("tieline.cli.main", "edge")


def messaging_replica(platform: PlatformProcess) -> psutil.Process:
    return platform.process_of("serve", "messaging")


async def test_the_platform_is_called_through_the_edge_which_comes_back_when_killed(
    behind_edge: PlatformProcess,
) -> None:
    edge = behind_edge.data.read_endpoints()["edge"]
    password = behind_edge.data.read_secrets().platform_administrator_password
    async with connect(Endpoints.single(edge)) as tieline:
        administrator = await tieline.sign_in_platform_administrator("platform", password)
        request = identity_service_pb2.CreateCorpRequest(
            display_name="Behind the edge",
            kind=identity_pb2.CORP_KIND_COMPANY,
            owner_user_id="owner",
            owner_name="Owner",
        )
        created = await administrator.identity.CreateCorp(request)
        haproxy = [p for p in behind_edge.all_processes() if p.name() == "haproxy"]
        before = len(behind_edge.output)

        edge_role(behind_edge).send_signal(signal.SIGKILL)
        _, alive = await asyncio.to_thread(psutil.wait_procs, haproxy, timeout=10)

        async def answers() -> bool:
            try:
                found = await administrator.identity.GetCorp(
                    identity_service_pb2.GetCorpRequest(corp_id=created.corp.corp_id)
                )
            except TielineError:
                return False
            return found.corp.corp_id == created.corp.corp_id

        assert haproxy
        assert not alive
        await eventually(answers, timeout_s=20)
    await eventually(lambda: "edge is healthy again" in behind_edge.output[before:])
    await the_main_job_passes(edge, password)


async def the_main_job_passes(edge: str, password: str) -> None:
    """Run what `helm test` runs, with this machine's edge in the place of the release's."""
    changes = {"edge": {"tlsExistingSecret": ""}, "test": {"serverName": ""}}
    (pod,) = of_kind(render(merged(example_values("production"), changes)), "Pod")
    (container,) = pod["spec"]["containers"]
    arguments = [
        edge if each.startswith("dns:///tieline-edge") else each for each in container["args"]
    ]

    status, output = await run_tieline(*arguments, TIELINE_ADMINISTRATOR_PASSWORD=password)

    assert edge in arguments
    assert status == 0, output
