"""One load generator, as a process of its own: ``python -m tieline.surge.generator``.

Reads its orders from stdin, a line of JSON, and waits for the moment that they name. Writes a line
of JSON each second with what has ended since the last one, and an empty line at the end.
"""

import asyncio
import json
import random
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import uvloop
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from tieline.api.contacts.v1 import contacts_service_pb2
from tieline.api.directory.v1 import directory_service_pb2
from tieline.api.identity.v1 import identity_service_pb2
from tieline.api.messaging.v1 import messaging_pb2, messaging_service_pb2
from tieline.api.payments.v1 import payments_service_pb2
from tieline.client import Endpoints, SessionTokens, SignedIn, Tieline, TielineError, connect
from tieline.client.endpoints import is_loopback
from tieline.surge.mix import KINDS, Kind, choose
from tieline.surge.outcomes import FAILED, OK, UNSENT, Second, classify
from tieline.surge.people import Cast, Person
from tieline.surge.profiles import draw_arrivals

# What a person waits for; whatever takes longer is of no use to anybody.
DEADLINE_S = 2.0
# Calls at a time of one generator: beyond it memory would be what is measured.
MAX_IN_FLIGHT = 4000
# HTTP/2 connections to each service.
_CHANNELS = 4
_REPORT_INTERVAL_S = 1.0
# The library's sessions are not refreshed: a surge is shorter than a token's life.
_SESSION_LIFE = timedelta(hours=1)

Call = Callable[[Kind, Message, Person | None], Awaitable[object]]


@dataclass(frozen=True)
class Orders:
    """What one generator does."""

    endpoints: Mapping[str, str]
    cast: Cast
    rates: Sequence[float]
    """This generator's calls per second, second by second."""

    mix: Mapping[str, float]
    begin_time: float
    """Seconds since the epoch."""

    seed: int
    is_well_behaved: bool
    """Whether it calls through the client library, which heeds what it is told."""

    tls: bool | None = None
    """Whether to use TLS; None for TLS except to this machine."""

    def to_line(self) -> str:
        """Return the line that the process reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_line(cls, line: str) -> "Orders":
        """Read what ``to_line`` returned."""
        content = json.loads(line)
        return cls(cast=Cast.from_json(content.pop("cast")), **content)


def build_request(kind: str, cast: Cast, chance: random.Random) -> tuple[Message, Person | None]:
    """Return a request of the kind and who sends it; None for somebody not signed in yet."""
    member = chance.choice(cast.members)
    match kind:
        case "sign-in":
            return identity_service_pb2.SignInMemberRequest(
                corp_id=cast.corp_id, user_id=member.id, password=member.password
            ), None
        case "message":
            text = messaging_pb2.TextContent(text="How are things? " * 8)
            return messaging_service_pb2.SendMessageRequest(
                conversation_id=member.conversation_id,
                client_message_id=str(uuid.UUID(int=chance.getrandbits(128), version=4)),
                content=messaging_pb2.MessageContent(text=text),
            ), member
        case "lookup":
            user_id = chance.choice(cast.members).id
            return directory_service_pb2.GetMemberRequest(user_id=user_id), member
        case "search":
            query = f"Surge {chance.choice(cast.members).id[:5]}"
            return directory_service_pb2.SearchMembersRequest(query=query, page_size=20), member
    customer = chance.choice(cast.customers)
    if kind == "contact":
        return contacts_service_pb2.AddContactRequest(
            corp_id=cast.corp_id, code=cast.contact_code
        ), customer
    assert kind == "red-packet", f"{kind} has no request"
    return payments_service_pb2.OpenRedPacketRequest(
        corp_id=cast.corp_id, red_packet_id=cast.red_packet_id
    ), customer


class Generator:
    """Sends what is due and keeps count."""

    def __init__(self, orders: Orders, call: Call) -> None:
        self._orders = orders
        self._call = call
        self._chance = random.Random(orders.seed)
        self._seconds: defaultdict[int, Second] = defaultdict(Second)
        self._in_flight: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Send everything, and wait for the last answers."""
        orders = self._orders
        # The loop's clock does not jump when somebody sets the machine's.
        begin = time.monotonic() + orders.begin_time - time.time()
        for due in draw_arrivals(orders.rates, self._chance):
            delay_s = begin + due - time.monotonic()
            if delay_s > 0:
                await asyncio.sleep(delay_s)
            self._send(int(due), begin + due)
            if delay_s <= 0 and not self._chance.randrange(16):
                # When it is behind, answers must still be read.
                await asyncio.sleep(0)
        await asyncio.gather(*self._in_flight)

    def take(self) -> dict[int, Second]:
        """Return what has been counted since the last time."""
        taken = dict(self._seconds)
        self._seconds.clear()
        return taken

    def _send(self, second: int, due_at: float) -> None:
        name = choose(self._orders.mix, self._chance)
        counted = self._seconds[second]
        counted.lag_s = max(counted.lag_s, time.monotonic() - due_at)
        if len(self._in_flight) >= MAX_IN_FLIGHT:
            counted.note(name, UNSENT)
            return
        request, sender = build_request(name, self._orders.cast, self._chance)
        task = asyncio.create_task(self._follow(name, request, sender, second, due_at))
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)

    async def _follow(
        self, name: str, request: Message, sender: Person | None, second: int, due_at: float
    ) -> None:
        try:
            await self._call(KINDS[name], request, sender)
        except (TielineError, grpc.aio.AioRpcError) as raised:
            error = (
                raised if isinstance(raised, TielineError) else TielineError.from_rpc_error(raised)
            )
            if error.reason == "RED_PACKET_EMPTY":
                self._seconds[second].note(name, OK, time.monotonic() - due_at)
                return
            outcome = classify(error.code.name, error.reason, error.metadata)
            self._seconds[second].note(name, outcome)
            if outcome == FAILED:
                self._seconds[second].codes[f"{error.code.name} {error.reason}".strip()] += 1
        else:
            self._seconds[second].note(name, OK, time.monotonic() - due_at)


async def _stranger(orders: Orders, stack: AsyncExitStack) -> Call:
    """Return how strangers call: bare gRPC, which heeds nothing and never waits."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    calls: dict[str, list[Any]] = {}
    channels = {}
    for target in set(orders.endpoints.values()):
        channels[target] = [
            await stack.enter_async_context(_open(target, options, orders.tls))
            for _ in range(_CHANNELS)
        ]
    for kind in KINDS.values():
        output = GetMessageClass(kind.method.output_type)
        calls[kind.name] = [
            channel.unary_unary(
                kind.path,
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=output.FromString,
            )
            for channel in channels[orders.endpoints[kind.service]]
        ]
    turn = 0

    async def call(kind: Kind, request: Message, sender: Person | None) -> object:
        nonlocal turn
        turn += 1
        metadata = () if sender is None else (("authorization", f"Bearer {sender.access_token}"),)
        send = calls[kind.name][turn % _CHANNELS]
        return await send(request, timeout=DEADLINE_S, metadata=metadata)

    return call


def _open(target: str, options: list[tuple[str, int]], tls: bool | None) -> grpc.aio.Channel:
    if is_loopback(target) if tls is None else not tls:
        return grpc.aio.insecure_channel(target, options=options)
    return grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(), options=options)


async def _well_behaved(orders: Orders, stack: AsyncExitStack) -> Call:
    """Return how our own callers call: through the client library."""
    tieline = await stack.enter_async_context(
        connect(Endpoints(**orders.endpoints), tls=orders.tls, call_timeout_s=DEADLINE_S)
    )
    parties = {
        person.id: tieline.resume(_tokens(person))
        for person in (*orders.cast.members, *orders.cast.customers)
    }

    async def call(kind: Kind, request: Message, sender: Person | None) -> object:
        caller: Tieline | SignedIn = tieline if sender is None else parties[sender.id]
        stub = getattr(caller, kind.service)
        return await getattr(stub, kind.method.name)(request)

    return call


def _tokens(person: Person) -> SessionTokens:
    expire_time = datetime.now(UTC) + _SESSION_LIFE
    return SessionTokens("surge", person.access_token, expire_time, "", expire_time)


async def generate(orders: Orders, write: Callable[[str], None]) -> None:
    """Do what the orders say, and write a line each second."""
    async with AsyncExitStack() as stack:
        make = _well_behaved if orders.is_well_behaved else _stranger
        generator = Generator(orders, await make(orders, stack))
        running = asyncio.create_task(generator.run())
        while not running.done():
            await asyncio.wait([running], timeout=_REPORT_INTERVAL_S)
            taken = generator.take()
            if taken:
                write(json.dumps({second: found.to_json() for second, found in taken.items()}))
        await running
        write("")


def main() -> None:
    """Read the orders and carry them out."""
    orders = Orders.from_line(sys.stdin.readline())
    uvloop.run(generate(orders, lambda line: print(line, flush=True)))


if __name__ == "__main__":
    main()
