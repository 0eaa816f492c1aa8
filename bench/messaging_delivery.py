"""How long a message takes from its scheduled sending to being seen by who receives it.

Measures ``messaging.delivery_p99_ms.400`` and ``.1000`` (pairs of people, open loop: a message is
sent when its time has come, whatever became of those before) and ``messaging.group500_last_p99_ms``
(one group, the last of its 500 members). Senders, receivers and their clocks are this process, so
its own delays are in the figures: a machine with other work on it measures that work. The load
average of the run is shown beside them.

``messaging.delivery_cores.…`` is how many cores service, PostgreSQL and NATS keep busy meanwhile,
``delivery_client_cores`` how many this process does: where both together are near the machine's,
the figure is how long things wait for a core.

``messaging.echo_p99_ms.…`` is the same schedule on the echo server's streams: what gRPC and this
process take by themselves. Where there is a peer lab (``bench/ejabberd.py``), ejabberd delivers at
the same rate in the same turns.
"""

import asyncio
import os
import statistics
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from time import perf_counter, process_time

import grpc
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import BytesValue

from bench.ejabberd import ejabberd
from bench.grpc_load import CHANNELS, server_process
from bench.harness import Benchmark, Figure, Target, beside, summarise
from bench.limits_grpc import METHOD as ECHO_METHOD
from bench.messaging_platform import MessagingPlatform, build_outgoing, messaging_platform
from tieline.api.messaging.v1 import messaging_service_pb2, messaging_service_pb2_grpc

_PAIRS = 20
_GROUP_SIZE = 500
_GROUP_RATE = 20
_RUNS = 5
_RUN_S = 4.0
_DEADLINE_S = 20.0

Send = Callable[[int], Awaitable[None]]
"""Sends the message of that number."""


class _Schedule:
    """Messages at a fixed rate, and when each was seen for the last time that counts."""

    def __init__(self, rate: int, receivers: int = 1) -> None:
        self._rate = rate
        self._receivers = receivers
        self._due: list[float] = []
        self._seen: Counter[str] = Counter()
        self._numbers: dict[str, int] = {}
        self._latencies: list[float] = []
        self._all_seen = asyncio.Event()

    def name(self, number: int, client_message_id: str) -> None:
        """Note under which id a message goes out."""
        self._numbers[client_message_id] = number

    def see(self, client_message_id: str) -> None:
        """Note that one more receiver has it."""
        number = self._numbers.get(client_message_id)
        if number is None:
            return
        self._seen[client_message_id] += 1
        if self._seen[client_message_id] == self._receivers:
            self._latencies.append(perf_counter() - self._due[number])
            if len(self._latencies) == len(self._due):
                self._all_seen.set()

    async def run(self, send: Send) -> float:
        """Send for some seconds; return the 99th percentile of the latencies in milliseconds."""
        begin = perf_counter()
        self._due = [begin + n / self._rate for n in range(int(self._rate * _RUN_S))]
        async with asyncio.TaskGroup() as sending:
            for number, due in enumerate(self._due):
                if (delay_s := due - perf_counter()) > 0:
                    await asyncio.sleep(delay_s)
                sending.create_task(_run(send(number)))
        async with asyncio.timeout(_DEADLINE_S):
            await self._all_seen.wait()
        return statistics.quantiles(self._latencies, n=100)[98] * 1e3


async def _run(awaitable: Awaitable[None]) -> None:
    await awaitable


async def measure_pairs(rate: int, limit_ms: float) -> Sequence[Figure]:
    """Send between pairs at a rate, and echo at the same, in turns."""
    ours, echoed, loads, peers = [], [], [], []
    cores, client_cores = [], []
    async with (
        messaging_platform() as platform,
        server_process("bench.limits_grpc", "echo") as echo_server,
        ejabberd() as peer,
        _channels(platform.target) as channels,
        _channels(echo_server.target) as echo_channels,
    ):
        pairs = [(f"sender{n}", f"receiver{n}") for n in range(_PAIRS)]
        ids = await platform.open_conversations(pairs)
        for _ in range(_RUNS):
            schedule = _Schedule(rate)
            receivers = [receiver for _, receiver in pairs]
            async with _receiving(platform, channels, receivers, schedule):
                send = _sending(platform, channels, [sender for sender, _ in pairs], ids, schedule)
                began = perf_counter()
                cpu_s, client_cpu_s = platform.cpu_s(), process_time()
                ours.append(await schedule.run(send))
                took_s = perf_counter() - began
                cores.append((platform.cpu_s() - cpu_s) / took_s)
                client_cores.append((process_time() - client_cpu_s) / took_s)
            echoed.append(await _echo(rate, echo_channels))
            if peer is not None:
                peers.append((await peer.send(rate=rate, seconds=_RUN_S)).delivery_p99_ms)
            loads.append(os.getloadavg()[0])
    echo = f"messaging.echo_p99_ms.{rate}"
    return [
        summarise(f"messaging.load_average.{rate}", loads, "processes"),
        summarise(f"messaging.delivery_cores.{rate}", cores, "cores"),
        summarise(f"messaging.delivery_client_cores.{rate}", client_cores, "cores"),
        summarise(echo, echoed, "ms"),
        summarise(
            f"messaging.delivery_p99_ms.{rate}",
            ours,
            "ms",
            against=echo,
            against_values=echoed,
            target=Target("value", "at most", limit_ms),
        ),
        *beside(
            f"messaging.delivery_vs_ejabberd.{rate}",
            ours,
            f"messaging.ejabberd_delivery_p99_ms.{rate}",
            peers,
            "ms",
            Target("ratio", "at most", 1),
        ),
    ]


async def measure_group() -> Sequence[Figure]:
    """Send into one group all of whose members are subscribed."""
    values = []
    async with messaging_platform() as platform, _channels(platform.target) as channels:
        members = [f"member{n}" for n in range(_GROUP_SIZE)]
        ids = await platform.open_conversations([members])
        for _ in range(_RUNS):
            schedule = _Schedule(_GROUP_RATE, receivers=_GROUP_SIZE)
            async with _receiving(platform, channels, members, schedule):
                send = _sending(platform, channels, members[:1], ids, schedule)
                values.append(await schedule.run(send))
    return [
        summarise(
            "messaging.group500_last_p99_ms", values, "ms", target=Target("value", "at most", 100)
        )
    ]


@asynccontextmanager
async def _channels(target: str) -> AsyncIterator[list[grpc.aio.Channel]]:
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(target, options=options) for _ in range(CHANNELS)]
    try:
        yield channels
    finally:
        for channel in channels:
            await channel.close()


@asynccontextmanager
async def _receiving(
    platform: MessagingPlatform,
    channels: Sequence[grpc.aio.Channel],
    users: Sequence[str],
    schedule: _Schedule,
) -> AsyncIterator[None]:
    """Subscribe all users within the block."""

    async def receive(number: int, user: str, started: asyncio.Event) -> None:
        stub = messaging_service_pb2_grpc.MessagingServiceStub(channels[number % len(channels)])
        request = messaging_service_pb2.SubscribeRequest()
        async for update in stub.Subscribe(request, metadata=platform.metadata(user)):
            if update.HasField("message"):
                schedule.see(update.message.client_message_id)
            elif update.HasField("started"):
                started.set()

    events = [asyncio.Event() for _ in users]
    tasks = [
        asyncio.create_task(receive(number, user, event))
        for number, (user, event) in enumerate(zip(users, events, strict=True))
    ]
    try:
        for event in events:
            await event.wait()
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _sending(
    platform: MessagingPlatform,
    channels: Sequence[grpc.aio.Channel],
    users: Sequence[str],
    conversation_ids: Sequence[str],
    schedule: _Schedule,
) -> Send:
    stubs = [messaging_service_pb2_grpc.MessagingServiceStub(channel) for channel in channels]
    metadata = [platform.metadata(user) for user in users]

    async def send(number: int) -> None:
        index = number % len(users)
        outgoing = build_outgoing(conversation_ids[index])
        schedule.name(number, outgoing.client_message_id)
        await stubs[index % len(stubs)].SendMessage(
            messaging_service_pb2.SendMessageRequest(
                conversation_id=outgoing.conversation_id,
                client_message_id=outgoing.client_message_id,
                content=outgoing.content,
            ),
            metadata=metadata[index],
            timeout=_DEADLINE_S,
        )

    return send


async def _echo(rate: int, channels: Sequence[grpc.aio.Channel]) -> float:
    """Return the 99th percentile of echoes, in milliseconds, on a stream for each pair."""
    schedule = _Schedule(rate)
    streams = []
    for number in range(_PAIRS):
        method = channels[number % len(channels)].stream_stream(
            ECHO_METHOD, BytesValue.SerializeToString, BytesValue.FromString
        )
        streams.append(method())

    async def receive(stream: "grpc.aio.StreamStreamCall[Message, BytesValue]") -> None:
        async for message in stream:
            schedule.see(message.value.decode())

    async def send(number: int) -> None:
        schedule.name(number, str(number))
        await streams[number % _PAIRS].write(BytesValue(value=str(number).encode()))

    tasks = [asyncio.create_task(receive(stream)) for stream in streams]
    try:
        return await schedule.run(send)
    finally:
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _benchmark(rate: int, limit_ms: float) -> Benchmark:
    async def run() -> Sequence[Figure]:
        return await measure_pairs(rate, limit_ms)

    names = (
        "delivery_p99_ms",
        "delivery_cores",
        "delivery_client_cores",
        "echo_p99_ms",
        "delivery_vs_ejabberd",
        "ejabberd_delivery_p99_ms",
    )
    return Benchmark(tuple(f"messaging.{name}.{rate}" for name in names), run)


BENCHMARKS = (
    _benchmark(400, 10),
    _benchmark(1000, 15),
    Benchmark(("messaging.group500_last_p99_ms",), measure_group),
)
