"""How long messaging takes to be whole again after something under it was killed.

Measures ``messaging.recovery_seconds.…`` for a replica, PostgreSQL and NATS, each with 20
subscribers, and for a replica with 1,000, who all come back at once. What is killed stays away for
some seconds, so that its users have come to their longer waits. From the moment that it is started
again, its own start included, until every subscriber has the first message that is acknowledged
since. Everybody uses the client library as it is, so its waits are in the figures. Nobody is lost:
each feed must end with every message that was acknowledged, in order.
"""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from time import perf_counter

from bench.harness import Benchmark, Figure, summarise
from bench.messaging_platform import MessagingPlatform, Part, build_outgoing, messaging_platform
from tieline.api.messaging.v1 import messaging_service_pb2
from tieline.client import (
    Endpoints,
    MessageFeed,
    SessionTokens,
    SignedIn,
    Tieline,
    TielineError,
    connect,
)

_RUNS = 3
_FEW = 20
_CROWD = 1000
_CONNECTIONS = 20
_OUTAGE_S = 5.0

_CALL_TIMEOUT_S = 2.0
_PAUSE_S = 0.02
_DEADLINE_S = 120.0

_WRITER = "writer"


class _Reader:
    """One subscriber, who knows the number of its last message."""

    def __init__(self, person: SignedIn, conversation_id: str) -> None:
        self._feed = person.watch_messages(held={conversation_id: 0})
        self._last = 0
        self._moved = asyncio.Event()

    async def wait_for(self, number: int) -> None:
        """Return once the message of that number has come."""
        while self._last < number:
            self._moved.clear()
            await self._moved.wait()

    async def read(self) -> None:
        """Follow the feed until cancelled; a number that is not the next one is an error."""
        async with self._feed as feed:
            await self._count(feed)

    async def _count(self, feed: MessageFeed) -> None:
        async for message in feed:
            assert message.sequence == self._last + 1, f"{message.sequence} after {self._last}"
            self._last = message.sequence
            self._moved.set()


class _Group:
    """A group all of whose members read."""

    def __init__(self, writer: SignedIn, conversation_id: str, readers: Sequence[_Reader]) -> None:
        self._writer = writer
        self._conversation_id = conversation_id
        self._readers = readers

    async def say(self) -> None:
        """Send a message until it is acknowledged; return once everybody has it."""
        outgoing = build_outgoing(self._conversation_id)
        request = messaging_service_pb2.SendMessageRequest(
            conversation_id=outgoing.conversation_id,
            client_message_id=outgoing.client_message_id,
            content=outgoing.content,
        )
        async with asyncio.timeout(_DEADLINE_S):
            number = await self._send(request)
            for reader in self._readers:
                await reader.wait_for(number)

    async def _send(self, request: messaging_service_pb2.SendMessageRequest) -> int:
        while True:
            try:
                sent = await self._writer.messaging.SendMessage(request, timeout=_CALL_TIMEOUT_S)
            except TielineError:
                await asyncio.sleep(_PAUSE_S)
            else:
                return sent.message.sequence


async def measure(name: str, part: str, subscribers: int) -> Sequence[Figure]:
    """Kill one part of a platform several times."""
    values = []
    async with messaging_platform() as platform, _reading(platform, subscribers) as group:
        for _ in range(_RUNS):
            values.append(await _recover(getattr(platform, part), group))
    return [summarise(name, values, "s")]


async def _recover(part: Part, group: _Group) -> float:
    await group.say()
    await part.kill()
    await asyncio.sleep(_OUTAGE_S)
    begin = perf_counter()
    async with asyncio.TaskGroup() as recovering:
        recovering.create_task(part.start())
        await group.say()
        return perf_counter() - begin


@asynccontextmanager
async def _reading(platform: MessagingPlatform, count: int) -> AsyncIterator[_Group]:
    """Subscribe so many members of one group within the block."""
    users = [f"reader{number}" for number in range(count)]
    [conversation_id] = await platform.open_conversations([[_WRITER, *users]])
    async with AsyncExitStack() as stack:
        connections = [
            await stack.enter_async_context(connect(Endpoints.single(platform.target)))
            for _ in range(_CONNECTIONS)
        ]
        people = [
            _sign_in(platform, connections[number % _CONNECTIONS], user)
            for number, user in enumerate(users)
        ]
        readers = [_Reader(person, conversation_id) for person in people]
        tasks = [asyncio.create_task(reader.read()) for reader in readers]
        try:
            writer = _sign_in(platform, connections[0], _WRITER)
            yield _Group(writer, conversation_id, readers)
        finally:
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        lost = [each for each in outcomes if not isinstance(each, asyncio.CancelledError)]
        assert not lost, f"{len(lost)} subscribers were lost: {lost[0]}"


def _sign_in(platform: MessagingPlatform, connection: Tieline, user: str) -> SignedIn:
    later = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    return connection.resume(SessionTokens("bench", platform.token(user), later, "", later))


def _benchmark(case: str, part: str, subscribers: int) -> Benchmark:
    name = f"messaging.recovery_seconds.{case}"
    return Benchmark((name,), partial(measure, name, part, subscribers))


BENCHMARKS = (
    _benchmark("replica", "service", _FEW),
    _benchmark("postgresql", "postgres", _FEW),
    _benchmark("nats", "nats", _FEW),
    _benchmark("replica_1000_subscribers", "service", _CROWD),
)
