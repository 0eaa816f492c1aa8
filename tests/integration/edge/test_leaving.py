"""What callers see who send nothing again while a replica or an edge is told to stop.

As in a rolling update: who is told to stop says so first, and serves on until everybody who sends
calls there has heard. Calls are made with bare stubs, without the retries of the client library.
"""

import asyncio
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from e2e.platform_process import environment, tieline_command
from engines import Database
from fakes.edges import SERVICE, MakeReplica, running_edge
from fakes.eventually import eventually
from tieline.api.identity.v1 import signing_key_service_pb2, signing_key_service_pb2_grpc
from tieline.cli.grpc_health import is_serving
from tieline.embedded.nats import EmbeddedNats
from tieline.embedded.ports import find_free_port

pytestmark = pytest.mark.haproxy

# The edge's agent asks every half second.
DRAIN_S = 2.0
CALLERS = 16
# How late whoever sends connections to an edge hears of it.
PROBE_INTERVAL_S = 0.5
NO_LIMITS: dict[str, Any] = {
    # Nor for being slow.
    "edge_slots": 100,
    "edge_queue_length": 10_000,
    "edge_queue_time_ms": 10_000,
    "edge_address_calls_per_minute": 0,
    "edge_address_all_calls_per_minute": 0,
    "edge_requests_per_address": 0,
    "edge_connections_per_address": 100_000,
}


class Calls:
    """Calls without a pause, each made once."""

    def __init__(self, call: Callable[[], Awaitable[object]]) -> None:
        self.answered = 0
        self.errors: Counter[str] = Counter()
        self._call = call
        self._is_over = False
        self._tasks = [asyncio.create_task(self._run()) for _ in range(CALLERS)]

    async def go_on(self) -> None:
        """Return when some more were answered."""
        wanted = self.answered + 20 * CALLERS
        await eventually(lambda: self.answered >= wanted)

    async def stop(self) -> None:
        self._is_over = True
        await asyncio.gather(*self._tasks)

    async def _run(self) -> None:
        while not self._is_over:
            try:
                await self._call()
                self.answered += 1
            except grpc.aio.AioRpcError as error:
                self.errors[f"{error.code().name} {error.details()}"] += 1


@contextmanager
def started(output: Path, *command: str, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    with output.open("ab") as file:
        process = subprocess.Popen(
            tieline_command(*command),
            env=environment(**settings),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def test_a_service_that_is_told_to_stop_behind_the_edge_costs_no_call(
    database: Database, nats: EmbeddedNats, tmp_path: Path
) -> None:
    ports = [(find_free_port(), find_free_port()) for _ in range(2)]
    settings = {
        "TIELINE_DATABASE_DSN": database.dsn("identity"),
        "TIELINE_NATS_URL": nats.url("identity"),
        "TIELINE_SECRET_KEY": "only-for-tests".ljust(32, "-"),
        "TIELINE_ADMISSION": "false",
        "TIELINE_DRAIN_S": str(DRAIN_S),
    }

    def serve(port: int, agent_port: int) -> Any:
        own = {"TIELINE_GRPC_PORT": str(port), "TIELINE_AGENT_PORT": str(agent_port)}
        return started(tmp_path / "output", "serve", "identity", **settings, **own)

    where = ",".join(f"127.0.0.1:{port}@{agent_port}" for port, agent_port in ports)
    with serve(*ports[0]) as leaving, serve(*ports[1]):
        for port, _ in ports:
            await eventually(lambda port=port: is_serving(port))
        async with running_edge(edge_messaging="", edge_identity=where, **NO_LIMITS) as edge:
            await eventually(lambda: edge.has_ready(2))
            stub: Any = signing_key_service_pb2_grpc.SigningKeyServiceStub(edge.channel)
            calls = Calls(lambda: stub.GetJwks(signing_key_service_pb2.GetJwksRequest()))
            await calls.go_on()

            leaving.send_signal(signal.SIGTERM)
            status = await asyncio.to_thread(leaving.wait, 40)
            await calls.go_on()
            await calls.stop()

    assert status == 0
    assert calls.errors == Counter()


class Edges:
    """Edges as a Service has them: connections go to those whose probe was answered with yes."""

    def __init__(self, ports: list[tuple[int, int]]) -> None:
        self.present: list[int] = []
        self._ports = ports
        self._turn = 0

    @asynccontextmanager
    async def probed(self) -> AsyncIterator[None]:
        probing = asyncio.create_task(self._probe())
        try:
            yield
        finally:
            probing.cancel()

    async def call(self) -> bytes:
        """Call over a connection of its own, as a new client does."""
        self._turn += 1
        port = self.present[self._turn % len(self.present)]
        async with grpc.aio.insecure_channel(
            f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            call: Any = channel.unary_unary(f"{SERVICE}/ListMessages")
            answer: bytes = await call(b"x", timeout=10)
            return answer

    async def _probe(self) -> None:
        while True:
            answers = await asyncio.gather(*(is_present(port) for _, port in self._ports))
            self.present = [
                port for (port, _), is_there in zip(self._ports, answers, strict=True) if is_there
            ]
            await asyncio.sleep(PROBE_INTERVAL_S)


async def is_present(metrics_port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", metrics_port)
    except OSError:
        return False
    writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
    line = await reader.readline()
    writer.close()
    return b" 200 " in line


async def test_an_edge_that_is_told_to_stop_costs_no_call(
    make_replica: MakeReplica, tmp_path: Path
) -> None:
    replica = make_replica()
    await replica.is_up()
    ports = [(find_free_port(), find_free_port()) for _ in range(2)]
    limits = {f"TIELINE_{name.upper()}": str(value) for name, value in NO_LIMITS.items()}

    def run(port: int, metrics_port: int) -> Any:
        return started(
            tmp_path / "output",
            "edge",
            TIELINE_EDGE_MESSAGING=replica.address,
            TIELINE_EDGE_PORT=str(port),
            TIELINE_EDGE_METRICS_PORT=str(metrics_port),
            TIELINE_DRAIN_S=str(DRAIN_S),
            TIELINE_SHUTDOWN_GRACE_S="2",
            **limits,
        )

    edges = Edges(ports)
    with run(*ports[0]) as leaving, run(*ports[1]):
        async with edges.probed():
            await eventually(lambda: len(edges.present) == 2)
            new = Calls(edges.call)
            # Connections that were there before stay where they are until they are ended.
            async with grpc.aio.insecure_channel(
                f"ipv4:{','.join(f'127.0.0.1:{port}' for port, _ in ports)}",
                options=[("grpc.lb_policy_name", "round_robin")],
            ) as channel:
                call: Any = channel.unary_unary(f"{SERVICE}/ListMessages")
                old = Calls(lambda: call(b"x", timeout=10))
                await new.go_on()
                await old.go_on()

                leaving.send_signal(signal.SIGTERM)
                status = await asyncio.to_thread(leaving.wait, 40)
                await new.go_on()
                await old.go_on()
                await old.stop()
            await new.stop()

    assert status == 0
    assert new.errors + old.errors == Counter()
    assert edges.present == [ports[1][0]]
