"""Durable messages per CPU second, sent one by one and on streams, beside gRPC's own limits.

Measures ``messaging.durable_per_cpu_second.unary``, ``….stream`` and
``messaging.unary_vs_bare_call``. The CPU is that of service, PostgreSQL and NATS together; the
generator's is left out. Windows of a second alternate with windows of the empty unary call and of
the echo stream, ``messaging.bare_…``: what else happens on the machine meets both. Afterwards the
rows are counted, and must be as many as were acknowledged.

The bare sketch of the send path (``bench/send_path_sketch.py``) stores the same messages in the
same turns: ``messaging.durable_vs_sketch.unary`` and ``….stream`` are ours beside it. What their
ratio lacks to 1 is what all the rest of the service takes.

Where there is a peer lab (``bench/ejabberd.py``), ejabberd sends in the same turns and
``messaging.durable_vs_ejabberd.unary`` is the ratio of the two.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

import grpc

from bench.chassis_call import calls
from bench.ejabberd import ejabberd
from bench.grpc_load import IN_FLIGHT, Load, Rate, Server, Work, server_process
from bench.harness import Benchmark, Figure, Target, beside, summarise
from bench.limits_grpc import build_echoes
from bench.messaging_platform import SERVICE, build_outgoing, messaging_platform
from bench.send_path_sketch import send_path_sketch
from tieline.api.messaging.v1 import messaging_pb2, messaging_service_pb2

_UNARY = "messaging.durable_per_cpu_second.unary"
_STREAM = "messaging.durable_per_cpu_second.stream"
_VERSUS = "messaging.unary_vs_bare_call"
_BARE = "messaging.bare_call_per_cpu_second"
_BARE_RATE = "messaging.bare_call_rate"
_ECHO = "messaging.bare_echo_per_cpu_second"
_PEER = "messaging.ejabberd_per_cpu_second"
_VERSUS_PEER = "messaging.durable_vs_ejabberd.unary"
_SKETCH_UNARY = "messaging.sketch_per_cpu_second.unary"
_SKETCH_STREAM = "messaging.sketch_per_cpu_second.stream"
_VERSUS_SKETCH_UNARY = "messaging.durable_vs_sketch.unary"
_VERSUS_SKETCH_STREAM = "messaging.durable_vs_sketch.stream"
_UNIT = "messages/CPU s"

_DEADLINE_S = 20.0
_WINDOW_S = 1.0
_RUNS = 11
_PEER_S = 3.0

# 2,500 and 7,500 messages per CPU second were asked for where the sketch reached 3,100 and 9,400: a
# fifth for all that it leaves out. Machines differ, so here it is measured on the same one.
_SKETCH_TARGET = Target("ratio", "at least", 0.8)

# 64 in flight, as with unary calls: eight clients with eight messages each on their way.
_STREAMS = 8
_STREAM_WINDOW = IN_FLIGHT // _STREAMS

# Many conversations, as people have: hardly any batch has two messages of one conversation.
CONVERSATIONS_OF_EACH = 16


class Messenger(Server, Protocol):
    """What people send to."""

    def metadata(self, user_id: str, /) -> tuple[tuple[str, str], ...]:
        """Return what a member's calls carry."""

    async def open_conversations(self, groups: Sequence[Sequence[str]], /) -> list[str]:
        """Make a conversation for each list of members; return their ids."""

    async def count_messages(self) -> int:
        """Return how many messages are stored."""


class People:
    """Who sends, where, and how many of their messages were acknowledged."""

    def __init__(self, platform: Messenger) -> None:
        self._platform = platform
        self._users = [f"user{number}" for number in range(IN_FLIGHT)]
        self._conversations: dict[str, list[str]] = {}
        self.acknowledged = 0

    async def open_conversations(self) -> None:
        """Put in the conversations of each sender."""
        for user in self._users:
            pairs = [(user, f"{user}.peer{n}") for n in range(CONVERSATIONS_OF_EACH)]
            self._conversations[user] = await self._platform.open_conversations(pairs)

    def unary(self) -> Work:
        """Return sends one by one, each loop as another sender."""
        waiting = list(self._users)

        async def work(channel: grpc.aio.Channel) -> AsyncGenerator[None, None]:
            user = waiting.pop()
            metadata = self._platform.metadata(user)
            call = channel.unary_unary(
                f"/{SERVICE}/SendMessage",
                messaging_service_pb2.SendMessageRequest.SerializeToString,
                messaging_service_pb2.SendMessageResponse.FromString,
            )
            while True:
                for conversation_id in self._conversations[user]:
                    request = messaging_service_pb2.SendMessageRequest()
                    # The two have the same fields under other numbers.
                    outgoing = build_outgoing(conversation_id)
                    request.conversation_id = outgoing.conversation_id
                    request.client_message_id = outgoing.client_message_id
                    request.content.CopyFrom(outgoing.content)
                    await call(request, timeout=_DEADLINE_S, metadata=metadata)
                    self.acknowledged += 1
                    yield

        return work

    def streams(self) -> Work:
        """Return sends on streams, each loop as another sender."""
        waiting = self._users[:_STREAMS]

        async def work(channel: grpc.aio.Channel) -> AsyncGenerator[None, None]:
            user = waiting.pop()
            begin = channel.stream_stream(
                f"/{SERVICE}/SendMessages",
                messaging_service_pb2.SendMessagesRequest.SerializeToString,
                messaging_service_pb2.SendMessagesResponse.FromString,
            )
            stream = begin(metadata=self._platform.metadata(user))
            own = self._conversations[user]
            sent = answered = 0
            try:
                while True:
                    request = messaging_service_pb2.SendMessagesRequest()
                    while sent < answered + _STREAM_WINDOW:
                        request.messages.append(build_outgoing(own[sent % len(own)]))
                        sent += 1
                    await stream.write(request)
                    results = _read_results(await stream.read())
                    answered += len(results)
                    self.acknowledged += len(results)
                    for _ in results:
                        yield
            finally:
                await stream.done_writing()
                while (response := await stream.read()) is not grpc.aio.EOF:
                    self.acknowledged += len(_read_results(response))

        return work


def _read_results(response: object) -> Sequence[messaging_pb2.SendResult]:
    assert isinstance(response, messaging_service_pb2.SendMessagesResponse), "the stream goes on"
    assert all(result.HasField("message") for result in response.results), "all are stored"
    return response.results


async def measure_unary() -> Sequence[Figure]:
    """Send one by one, to the sketch too, and call the bare server in turns."""
    sent: list[Rate] = []
    sketched: list[float] = []
    bare: list[Rate] = []
    peers: list[float] = []
    async with (
        messaging_platform() as platform,
        send_path_sketch() as sketch,
        server_process("bench.chassis_call", "bare") as bare_server,
        ejabberd() as peer,
    ):
        people, others = People(platform), People(sketch)
        for each in (people, others):
            await each.open_conversations()
        async with (
            Load(platform, people.unary()) as load,
            Load(sketch, others.unary()) as sketch_load,
            Load(bare_server, calls(bare_server)) as bare_load,
        ):
            await load.measure(_WINDOW_S)
            await sketch_load.measure(_WINDOW_S)
            for _ in range(_RUNS):
                sent.append(await load.measure(_WINDOW_S))
                sketched.append((await sketch_load.measure(_WINDOW_S)).per_cpu_second)
                bare.append(await bare_load.measure(_WINDOW_S / 2))
                if peer is not None:
                    peers.append((await peer.send(rate=0, seconds=_PEER_S)).per_cpu_second)
        await check_all_stored(platform, people)
        await check_all_stored(sketch, others)
    bare_cpu, bare_rates = [rate.per_cpu_second for rate in bare], [r.per_second for r in bare]
    sent_cpu = [rate.per_cpu_second for rate in sent]
    return [
        summarise(_BARE, bare_cpu, "calls/server CPU s"),
        summarise(
            _UNARY,
            sent_cpu,
            _UNIT,
            against=_BARE,
            against_values=bare_cpu,
            target=Target("value", "at least", 2500),
        ),
        summarise(_BARE_RATE, bare_rates, "calls/s"),
        summarise(
            _VERSUS,
            [rate.per_second for rate in sent],
            "messages/s",
            against=_BARE_RATE,
            against_values=bare_rates,
            target=Target("ratio", "at least", 0.4),
        ),
        *beside(_VERSUS_SKETCH_UNARY, sent_cpu, _SKETCH_UNARY, sketched, _UNIT, _SKETCH_TARGET),
        *beside(_VERSUS_PEER, sent_cpu, _PEER, peers, _UNIT, Target("ratio", "at least", 1)),
    ]


async def measure_streams() -> Sequence[Figure]:
    """Send on streams, to the sketch too, and have messages echoed in turns."""
    sent: list[float] = []
    sketched: list[float] = []
    echoed: list[float] = []
    async with (
        messaging_platform() as platform,
        send_path_sketch() as sketch,
        server_process("bench.limits_grpc", "echo") as echo_server,
    ):
        people, others = People(platform), People(sketch)
        for each in (people, others):
            await each.open_conversations()
        async with (
            Load(platform, people.streams(), loops=_STREAMS) as load,
            Load(sketch, others.streams(), loops=_STREAMS) as sketch_load,
            Load(echo_server, build_echoes()) as echo_load,
        ):
            await load.measure(_WINDOW_S)
            await sketch_load.measure(_WINDOW_S)
            for _ in range(_RUNS):
                sent.append((await load.measure(_WINDOW_S)).per_cpu_second)
                sketched.append((await sketch_load.measure(_WINDOW_S)).per_cpu_second)
                echoed.append((await echo_load.measure(_WINDOW_S / 2)).per_cpu_second)
        await check_all_stored(platform, people)
        await check_all_stored(sketch, others)
    return [
        summarise(_ECHO, echoed, "echoes/server CPU s"),
        summarise(
            _STREAM,
            sent,
            _UNIT,
            against=_ECHO,
            against_values=echoed,
            target=Target("value", "at least", 7500),
        ),
        *beside(_VERSUS_SKETCH_STREAM, sent, _SKETCH_STREAM, sketched, _UNIT, _SKETCH_TARGET),
    ]


async def check_all_stored(platform: Messenger, people: People) -> None:
    """Raise RuntimeError unless everything that was acknowledged is stored, and nothing else."""
    stored = await platform.count_messages()
    if stored != people.acknowledged:
        raise RuntimeError(f"{people.acknowledged} were acknowledged and {stored} are stored")


BENCHMARKS = (
    Benchmark(
        (
            *(_UNARY, _VERSUS, _BARE, _BARE_RATE, _SKETCH_UNARY, _VERSUS_SKETCH_UNARY),
            *(_PEER, _VERSUS_PEER),
        ),
        measure_unary,
    ),
    Benchmark((_STREAM, _ECHO, _SKETCH_STREAM, _VERSUS_SKETCH_STREAM), measure_streams),
)
