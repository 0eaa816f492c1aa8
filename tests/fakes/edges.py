"""What the tests of the edge share: replicas, the running edge, tokens that name anybody."""

import asyncio
import base64
import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from fakes.eventually import eventually
from tieline.cli.grpc_health import is_listening
from tieline.edge import app
from tieline.edge.backends import Kind
from tieline.edge.haproxy import Master
from tieline.edge.settings import EdgeSettings
from tieline.edge.statistics import ReplicaState, parse_table, read_replicas
from tieline.embedded.ports import LOOPBACK, find_free_port

SERVICE = "/tieline.api.messaging.v1.MessagingService"
TESTS = Path(__file__).parents[1]


@dataclass
class Replica:
    """A replica of messaging, not yet started."""

    port: int
    agent_port: int
    capacity_per_second: float = 0
    process: subprocess.Popen[bytes] | None = None
    pem: str = ""
    host: str = LOOPBACK

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}@{self.agent_port}"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "fakes.edge_replica"),
                *(self.host, str(self.port), str(self.agent_port), str(self.capacity_per_second)),
                *([self.pem] if self.pem else []),
            ],
            cwd=TESTS,
        )

    async def is_up(self) -> None:
        # Asked by connecting: to try whether the port can be listened on would keep the replica
        # from doing so at that moment.
        await eventually(lambda: is_listening(self.port, self.host))

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def drain(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGUSR1)


class Edge:
    """A running edge and a channel to it."""

    def __init__(self, settings: EdgeSettings, master: Master, channel: grpc.aio.Channel) -> None:
        self.settings = settings
        self.master = master
        self.channel = channel

    async def call(
        self,
        method: str = "ListMessages",
        body: bytes = b"x",
        *,
        token: str = "",
        delay_ms: int = 0,
        status: str = "",
        channel: grpc.aio.Channel | None = None,
        metadata: tuple[tuple[str, str], ...] = (),
    ) -> bytes:
        """Call a method of messaging; the words of the answer are port, length, address, host."""
        sent = [*metadata, ("x-test-delay-ms", str(delay_ms))]
        sent += [("authorization", f"Bearer {token}")] if token else []
        sent += [("x-test-status", status)] if status else []
        path = method if method.startswith("/") else f"{SERVICE}/{method}"
        call: Any = (channel or self.channel).unary_unary(path)
        answer: bytes = await call(body, timeout=20, metadata=tuple(sent))
        return answer

    async def code(self, *arguments: Any, **options: Any) -> str:
        """Call, and return the name of the status."""
        try:
            await self.call(*arguments, **options)
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return "OK"

    def subscribe(self, delay_ms: int = 20, channel: grpc.aio.Channel | None = None) -> Any:
        stream: Any = (channel or self.channel).unary_stream(f"{SERVICE}/Subscribe")
        return stream(b"", metadata=(("x-test-delay-ms", str(delay_ms)),))

    async def replicas(self, kind: Kind = Kind.CALLS) -> list[ReplicaState]:
        table = parse_table(await self.master.ask("show stat"))
        return [state for state in read_replicas(table) if state.kind == kind]

    async def in_flight(self, kind: Kind = Kind.CALLS) -> int:
        return sum(state.in_flight for state in await self.replicas(kind))

    async def has_ready(self, count: int) -> bool:
        return sum(state.is_ready for state in await self.replicas()) == count


MakeReplica = Callable[..., Replica]
StartEdge = Callable[..., Awaitable[Edge]]


@asynccontextmanager
async def running_edge(*replicas: Replica, **settings: Any) -> AsyncIterator[Edge]:
    chosen = EdgeSettings(
        edge_port=find_free_port(),
        edge_threads=2,
        **{
            "edge_messaging": ",".join(replica.address for replica in replicas),
            "shutdown_grace_s": 1,
            # A test is a crowd at one address.
            "edge_requests_per_address": 0,
            **settings,
        },
    )
    for replica in replicas:
        if replica.process is not None:
            await replica.is_up()
    async with app.role(chosen) as master, open_channel(chosen) as channel:
        yield Edge(chosen, master, channel)


def open_channel(settings: EdgeSettings, **options: Any) -> grpc.aio.Channel:
    """Return a connection of its own."""
    return grpc.aio.insecure_channel(
        f"127.0.0.1:{settings.edge_port}",
        options=list(
            {
                "grpc.use_local_subchannel_pool": 1,
                "grpc.enable_retries": 0,
                "grpc.initial_reconnect_backoff_ms": 100,
                "grpc.max_reconnect_backoff_ms": 500,
                **options,
            }.items()
        ),
    )


def token(corp: str = "", user: str = "li.wei") -> str:
    """Return an access token with a signature that no service would accept."""
    claims = {"sub": user, **({"corp": corp} if corp else {})}
    parts = [json.dumps(part).encode() for part in ({"alg": "EdDSA"}, claims)]
    return ".".join(base64.urlsafe_b64encode(p).decode().rstrip("=") for p in [*parts, b"sig"])


async def has_begun(edge: Edge, count: int) -> bool:
    """Tell whether so many requests have come."""
    rows = await edge.master.ask("show stat")
    frontend = next(line for line in rows.splitlines() if line.startswith("edge,FRONTEND"))
    # req_tot, the 49th column.
    return int(frontend.split(",")[48] or 0) >= count


async def together(count: int, call: Callable[[], Awaitable[Any]]) -> list[Any]:
    return await asyncio.gather(*(call() for _ in range(count)))


async def read_page(port: int, path: str) -> str:
    """Return what the port for metrics says at a path."""

    def get() -> str:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}{path}", timeout=10) as response:
            return str(response.read().decode())

    return await asyncio.to_thread(get)
