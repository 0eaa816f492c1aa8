"""Strangers at ten times the capacity, through the edge and without it, and what the edge costs.

One replica of messaging, with cores of its own: the edge has those of who sends the load, as if it
ran on another machine (``cores``). Capacity is what closed loops of SendMessage (HIGH) and
GetConversation (NORMAL) in turns reach, about half of the time each. Sends are offered at half of
it, open loop, by this process, whose client neither retries nor waits; reads at ten times the
capacity by h2load (Debian's nghttp2-client), since no Python client makes as many. Sends are
counted by who sent them, from the moment that they were due; reads are counted by the replica as
what it answered with OK. Goodput is the sum of both, each as a part of what closed loops of it
alone reach, against the same sum of the capacity; refusals are not counted. Without the edge the
same comes straight to the replica (``….replica_10x``).

``overload.mixed_capacity`` is that sum: below 1, both together cost more than each alone, since
half as many sends make smaller batches.

``overload.edge_added_ms``: a call alone on its connection, through the edge and past it in turns.
"""

import asyncio
import shutil
import statistics
import tempfile
import urllib.request
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from time import perf_counter
from typing import Any

import grpc

from bench.cores import BEHIND, on_cores_of_their_own
from bench.grpc_load import Load, Work
from bench.harness import Benchmark, Figure, Target, summarise
from bench.messaging_platform import MessagingPlatform, build_outgoing, messaging_platform
from tieline.api.messaging.v1 import messaging_service_pb2
from tieline.edge import app
from tieline.edge.settings import EdgeSettings
from tieline.embedded.ports import find_free_port

_GOODPUT = "overload.goodput.edge_10x"
_SUCCESS = "overload.high_success.edge_10x"
_P99 = "overload.admitted_p99_ms.edge_10x"
_ADDED = "overload.edge_added_ms"
_OFF = "replica_10x"
_OFFERED = "overload.offered.edge_10x"
_PER_CPU = "overload.good_per_cpu_second.edge_10x"
_MIXED = "overload.mixed_capacity"

_SERVICE = "/tieline.api.messaging.v1.MessagingService"
_USERS = 64
_FACTOR = 10
_CAPACITY_S = 4.0
_REFUSED_S = 0.1
# Of one loop in a row: a replica that is gone ends the benchmark.
_MAX_REFUSALS = 100
_SURGE_S = 10
_DEADLINE_S = 1.0
_CLIENTS = 20
_STREAMS_OF_A_CLIENT = 100
_RUNS = 4
_PAIRS = 400
_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class _Surge:
    """What one surge came to."""

    sends: int
    good_sends: int
    p99_ms: float
    good_reads: float
    """Per second."""

    good_sends_per_second: float
    offered_reads: float
    """Per second, as h2load says."""

    per_cpu_second: float
    """Good calls per second of CPU time of service, PostgreSQL and NATS: what else goes on on the
    machine matters less to it."""


class _Replica:
    """Messaging, its people, and how its own count of good reads is read."""

    def __init__(self, platform: MessagingPlatform, metrics_port: int) -> None:
        self.platform = platform
        self._metrics_port = metrics_port
        self._users = [f"user{number}" for number in range(_USERS)]
        self.conversations: dict[str, str] = {}

    async def prepare(self) -> None:
        ids = await self.platform.open_conversations([(u, f"{u}.peer") for u in self._users])
        self.conversations = dict(zip(self._users, ids, strict=True))

    def send_request(self, user: str) -> messaging_service_pb2.SendMessageRequest:
        outgoing = build_outgoing(self.conversations[user])
        return messaging_service_pb2.SendMessageRequest(
            conversation_id=outgoing.conversation_id,
            client_message_id=outgoing.client_message_id,
            content=outgoing.content,
        )

    def calls(self, methods: Sequence[str]) -> Work:
        """Return loops of these methods in turns, for the capacity."""
        waiting = list(self._users)

        async def work(channel: grpc.aio.Channel) -> AsyncGenerator[None, None]:
            user = waiting.pop()
            metadata = self.platform.metadata(user)
            calls: list[tuple[str, Any]] = [
                (each, channel.unary_unary(f"{_SERVICE}/{each}")) for each in methods
            ]
            refusals = 0
            # Not all at the same place, or sends would come in waves.
            begin = len(waiting) % len(calls)
            for method, call in cycle(calls[begin:] + calls[:begin]):
                try:
                    await call(self.body(method, user), timeout=20.0, metadata=metadata)
                except grpc.aio.AioRpcError as error:
                    # So many at a time are a queue that stands, and some of them are refused.
                    refusals += 1
                    is_refusal = error.code() is grpc.StatusCode.UNAVAILABLE
                    if not is_refusal or refusals > _MAX_REFUSALS:
                        raise
                    await asyncio.sleep(_REFUSED_S)
                else:
                    refusals = 0
                    yield

        return work

    def body(self, method: str, user: str) -> bytes:
        if method == "SendMessage":
            return self.send_request(user).SerializeToString()
        request = messaging_service_pb2.GetConversationRequest(
            conversation_id=self.conversations[user]
        )
        return request.SerializeToString()

    async def good_reads(self) -> float:
        """Return how many reads the replica has answered with OK."""
        return await asyncio.to_thread(self._count_reads)

    def _count_reads(self) -> float:
        url = f"http://127.0.0.1:{self._metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=20) as response:
            lines = response.read().decode().splitlines()
        return sum(
            float(line.rpartition(" ")[2])
            for line in lines
            if line.startswith("rpc_server_duration")
            and "_count{" in line
            and "GetConversation" in line
            and 'code="OK"' in line
        )


async def measure_surge() -> Sequence[Figure]:
    """Measure capacity, the surge past the edge and the surge through it, in each run."""
    if shutil.which("h2load") is None:
        raise RuntimeError("h2load is missing: apt-get install nghttp2-client")
    keys = ("goodput", "success", "p99", "offered", "cpu")
    mixed: list[float] = []
    on: dict[str, list[float]] = {key: [] for key in keys}
    off: dict[str, list[float]] = {key: [] for key in keys}
    async with _platform_with_edge() as (replica, edge):
        for _ in range(_RUNS):
            sends = await _capacity(replica, ["SendMessage"])
            reads = await _capacity(replica, ["GetConversation"])
            # In as many turns as make half of the time sends.
            turns = max(round(reads / sends), 1)
            both = await _capacity(replica, ["SendMessage", *["GetConversation"] * turns])
            capacity = both / (1 + turns) * (1 / sends + turns / reads)
            mixed.append(capacity)
            for address, results in ((replica.platform.target, off), (edge, on)):
                surge = await _surge(
                    replica, address, capacity * sends / 2, capacity * reads * _FACTOR
                )
                good = surge.good_sends_per_second / sends + surge.good_reads / reads
                results["goodput"].append(good / capacity)
                results["success"].append(surge.good_sends / surge.sends)
                results["p99"].append(surge.p99_ms)
                results["offered"].append(surge.offered_reads / reads / capacity)
                results["cpu"].append(surge.per_cpu_second)
    figures = [summarise(_MIXED, mixed, "of each alone")]
    for name, key, unit, target in (
        (_GOODPUT, "goodput", "of capacity", Target("value", "at least", 0.9)),
        (_SUCCESS, "success", "of HIGH calls", Target("value", "at least", 0.99)),
        (_P99, "p99", "ms", Target("value", "at most", 150)),
        (_OFFERED, "offered", "times the capacity", None),
        (_PER_CPU, "cpu", "good calls/CPU s", None),
    ):
        without = name.replace("edge_10x", _OFF)
        figures.append(summarise(without, off[key], unit))
        figures.append(
            summarise(name, on[key], unit, against=without, against_values=off[key], target=target)
        )
    return figures


async def measure_added() -> Sequence[Figure]:
    """Call through the edge and past it, one call at a time, in turns."""
    added: list[float] = []
    direct: list[float] = []
    async with (
        _platform_with_edge() as (replica, edge),
        grpc.aio.insecure_channel(edge) as through,
        grpc.aio.insecure_channel(replica.platform.target) as past,
    ):
        for _ in range(_ROUNDS):
            times: dict[grpc.aio.Channel, list[float]] = {through: [], past: []}
            for _ in range(_PAIRS):
                for channel, taken in times.items():
                    taken.append(await _time_one(replica, channel))
            medians = {c: statistics.median(taken) * 1000 for c, taken in times.items()}
            direct.append(medians[past])
            added.append(medians[through] - medians[past])
    return [
        summarise("overload.call_alone_ms", direct, "ms"),
        summarise(_ADDED, added, "ms at p50", target=Target("value", "at most", 0.3)),
    ]


@asynccontextmanager
async def _platform_with_edge() -> AsyncIterator[tuple[_Replica, str]]:
    metrics_port, agent_port, edge_port = (find_free_port() for _ in range(3))
    settings = {
        "TIELINE_ADMISSION": "true",
        "TIELINE_METRICS_PORT": str(metrics_port),
        "TIELINE_AGENT_PORT": str(agent_port),
    }
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(messaging_platform(settings))
        chosen = EdgeSettings(
            edge_messaging=f"{platform.target}@{agent_port}",
            edge_port=edge_port,
            edge_threads=1,
            # One machine plays a crowd of many corps.
            edge_corp_calls_per_minute=0,
            edge_corp_calls_per_hour=0,
            edge_user_calls_per_minute=0,
            edge_address_all_calls_per_minute=0,
            edge_requests_per_address=0,
            shutdown_grace_s=1,
        )
        stack.enter_context(on_cores_of_their_own(platform.process_ids))
        await stack.enter_async_context(app.role(chosen))
        replica = _Replica(platform, metrics_port)
        await replica.prepare()
        yield replica, f"127.0.0.1:{edge_port}"


async def _capacity(replica: _Replica, methods: Sequence[str]) -> float:
    async with Load(replica.platform, replica.calls(methods)) as load:
        return (await load.measure(_CAPACITY_S)).per_second


async def _surge(replica: _Replica, target: str, sends: float, reads: float) -> _Surge:
    before, cpu_before = await replica.good_reads(), replica.platform.cpu_s()
    begin = perf_counter()
    crowd = asyncio.create_task(_crowd(replica, target, reads))
    latencies, good = await _send_open_loop(replica, target, sends)
    offered = await crowd
    lasted_s = perf_counter() - begin
    cpu_s = replica.platform.cpu_s() - cpu_before
    read = await replica.good_reads() - before
    good_reads = read / lasted_s
    ordered = sorted(latencies)
    p99_ms = ordered[int(len(ordered) * 0.99)] * 1000 if ordered else float("inf")
    return _Surge(
        int(sends * _SURGE_S),
        good,
        p99_ms,
        good_reads,
        good / _SURGE_S,
        offered / _SURGE_S,
        (read + good) / cpu_s,
    )


async def _send_open_loop(replica: _Replica, target: str, rate: float) -> tuple[list[float], int]:
    """Send when each message is due; return the latencies of those that were stored in time."""
    latencies: list[float] = []
    users = list(replica.conversations)
    metadata = {user: replica.platform.metadata(user) for user in users}
    async with grpc.aio.insecure_channel(target) as channel:
        call: Any = channel.unary_unary(f"{_SERVICE}/SendMessage")

        async def send(user: str, due_at: float) -> None:
            try:
                await call(
                    replica.body("SendMessage", user),
                    timeout=_DEADLINE_S,
                    metadata=metadata[user],
                )
            except grpc.aio.AioRpcError:
                return
            latency_s = perf_counter() - due_at
            if latency_s <= _DEADLINE_S:
                latencies.append(latency_s)

        begin = perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(int(rate * _SURGE_S)):
                due_at = begin + number / rate
                if (delay_s := due_at - perf_counter()) > 0:
                    await asyncio.sleep(delay_s)
                group.create_task(send(users[number % len(users)], due_at))
    return latencies, len(latencies)


async def _crowd(replica: _Replica, target: str, rate: float) -> float:
    """Have h2load ask at the rate; return how many requests it sent."""
    user = next(iter(replica.conversations))
    message = replica.body("GetConversation", user)
    (_, authorization), *_ = replica.platform.metadata(user)
    with tempfile.TemporaryDirectory(prefix="tieline-bench-") as folder:
        body = Path(folder) / "body"
        body.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
        process = await asyncio.create_subprocess_exec(
            *BEHIND,
            *("h2load", "-c", str(_CLIENTS), "-m", str(_STREAMS_OF_A_CLIENT), "-t", "1"),
            *("-D", str(_SURGE_S), "--rps", f"{rate / _CLIENTS:.0f}", "-d", str(body)),
            *("-H", "content-type: application/grpc", "-H", "te: trailers"),
            *("-H", f"authorization: {authorization}", "-H", "grpc-timeout: 1S"),
            f"http://{target}{_SERVICE}/GetConversation",
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
    line = next(line for line in output.decode().splitlines() if line.startswith("requests:"))
    return float(line.split()[1])


async def _time_one(replica: _Replica, channel: grpc.aio.Channel) -> float:
    user = next(iter(replica.conversations))
    call: Any = channel.unary_unary(f"{_SERVICE}/GetConversation")
    begin = perf_counter()
    await call(
        replica.body("GetConversation", user),
        timeout=5.0,
        metadata=replica.platform.metadata(user),
    )
    return perf_counter() - begin


BENCHMARKS = (
    Benchmark((_GOODPUT, _SUCCESS, _P99, _OFFERED, _PER_CPU, _MIXED), measure_surge),
    Benchmark((_ADDED, "overload.call_alone_ms"), measure_added),
)
