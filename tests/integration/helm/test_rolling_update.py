"""What a rolling update does to callers, and what the replicas tell Prometheus meanwhile.

Real processes of identity share one port, as pods share a Service: a new one comes up, the old one
gets SIGTERM, drains and ends, until all are new. Calls go on all the time, by TLS.
"""

import asyncio
import signal
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
from docs.generate_dashboards import WITHOUT_PANEL

from e2e.platform_process import environment, tieline_command
from engines import Database, build_nats, create_database
from fakes.certificates import Authority
from fakes.eventually import eventually
from fakes.memory_cluster import MemoryCluster
from integration.identity.world import PLATFORM_PASSWORD, corp_request
from promql import exposed_metrics, instruments_of, shown_metrics, unknown_labels, wanted_metrics
from tieline.chassis import streams
from tieline.chassis.telemetry import telemetry
from tieline.cli.grpc_health import is_serving
from tieline.client import Endpoints, SignedIn, TielineError, connect
from tieline.embedded.nats import EmbeddedNats
from tieline.embedded.ports import find_free_port
from tieline.operator.lease import LeaseKeeper
from tieline.operator.metrics import observe_operator
from tieline.payments.ledger_audit import auditing_ledgers
from unit.operator.test_scaler import Operator, world

CLIENTS = 3
# Each caller's; a Python server's limit is no part of this.
PACE_S = 0.02
STEP_CALLS = 20


@dataclass
class Rollout:
    """What an update of all replicas came to."""

    acknowledged: set[str] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)
    """With how long the call took and what was going on when it ended."""

    now: str = "one replica"
    statuses: list[int] = field(default_factory=list)
    stored: set[str] = field(default_factory=set)
    metrics: str = ""
    output: str = ""
    """What the replicas wrote: of a slow call, how it ended in the replica that had it."""


class Replicas:
    """Processes of identity on one port, each with a probe port of its own."""

    def __init__(self, database: Database, nats: EmbeddedNats, folder: Path) -> None:
        self.authority = Authority()
        issued = self.authority.issue()
        (folder / "tls.crt").write_bytes(issued.pem)
        (folder / "tls.key").write_bytes(issued.key)
        self.port = find_free_port()
        self.metrics_port = find_free_port()
        self.output = folder / "output"
        self._settings = {
            "TIELINE_DATABASE_DSN": database.dsn("identity"),
            "TIELINE_NATS_URL": nats.url("identity"),
            "TIELINE_SECRET_KEY": "only-for-tests".ljust(32, "-"),
            "TIELINE_GRPC_PORT": str(self.port),
            "TIELINE_GRPC_PORT_SHARED": "true",
            "TIELINE_GRPC_TLS_CERT_FILE": str(folder / "tls.crt"),
            "TIELINE_GRPC_TLS_KEY_FILE": str(folder / "tls.key"),
            "TIELINE_PASSWORD_MEMORY_KIB": "8192",
            # On a busy machine some calls would be refused for their waiting, and not for the stop.
            "TIELINE_ADMISSION": "false",
            "TIELINE_PLATFORM_ADMINISTRATOR_PASSWORD": PLATFORM_PASSWORD,
        }

    @asynccontextmanager
    async def replica(self, *, metrics_port: int = 0) -> AsyncIterator[subprocess.Popen[bytes]]:
        """Start one; yield it when its probe says that it is ready."""
        probe_port = find_free_port()
        own = {"TIELINE_PROBE_PORT": str(probe_port), "TIELINE_METRICS_PORT": str(metrics_port)}
        with self.output.open("ab") as file:
            process = subprocess.Popen(  # noqa: ASYNC220 -- starts, and does not wait
                tieline_command("serve", "identity"),
                env=environment(**self._settings, **own),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        try:
            await eventually(lambda: is_serving(probe_port), timeout_s=40)
            yield process
        finally:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
async def rollout(
    database: Database, worker_id: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Rollout]:
    folder = tmp_path_factory.mktemp("rollout")
    own = await create_database(database, f"tieline_rollout_{worker_id}", ["identity"])
    nats = build_nats(folder / "nats")
    with nats.running():
        await streams.declare(nats.url("admin"))
        yield await roll(own, Replicas(own, nats, folder))


async def roll(database: Database, replicas: Replicas) -> Rollout:
    """Replace two replicas, one after the other, under calls that write."""
    rollout, is_over = Rollout(), asyncio.Event()
    endpoints = Endpoints.single(f"localhost:{replicas.port}")
    roots = replicas.authority.pem
    async with AsyncExitStack() as stack:
        running = [
            await stack.enter_async_context(replicas.replica(metrics_port=replicas.metrics_port))
        ]
        tieline = await stack.enter_async_context(
            connect(endpoints, tls=True, root_certificates=roots)
        )
        administrator = await tieline.sign_in_platform_administrator("platform", PLATFORM_PASSWORD)
        calling = [
            asyncio.create_task(call(administrator, rollout, is_over)) for _ in range(CLIENTS)
        ]
        await served(rollout)
        rollout.metrics = await asyncio.to_thread(scrape, replicas.metrics_port)
        for number in range(2):
            rollout.now = f"a new replica beside number {number}"
            running.append(await stack.enter_async_context(replicas.replica()))
            rollout.now = f"number {number} stops"
            old = running.pop(0)
            old.send_signal(signal.SIGTERM)
            rollout.statuses.append(await asyncio.to_thread(old.wait, 40))
            rollout.now = f"number {number} has ended"
            await served(rollout)
        is_over.set()
        await asyncio.gather(*calling)
        rollout.output = await asyncio.to_thread(replicas.output.read_text)
    connection = await asyncpg.connect(database.admin_dsn)
    rollout.stored = {
        row[0] for row in await connection.fetch("SELECT corp_id FROM identity.corps")
    }
    await connection.close()
    return rollout


async def call(caller: SignedIn, rollout: Rollout, is_over: asyncio.Event) -> None:
    """Create corps until it is over; what fails is a failed request of the update."""
    while not is_over.is_set():
        began, then = monotonic(), rollout.now
        try:
            created = await caller.identity.CreateCorp(corp_request())
            rollout.acknowledged.add(created.corp.corp_id)
        except TielineError as error:
            took = f"{monotonic() - began:.1f} s, from '{then}' to '{rollout.now}'"
            rollout.failures.append(f"{error} ({took})")
        await asyncio.sleep(PACE_S)


async def served(rollout: Rollout) -> None:
    before = len(rollout.acknowledged)
    await eventually(lambda: len(rollout.acknowledged) >= before + STEP_CALLS, timeout_s=40)


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        return str(response.read().decode())


async def test_no_request_fails_and_none_is_done_twice(rollout: Rollout) -> None:
    assert rollout.failures == [], rollout.output
    assert rollout.statuses == [0, 0]
    # A corp that a repeat made beside the first would be one more.
    assert rollout.stored == rollout.acknowledged


@pytest.fixture(scope="module")
async def pages(rollout: Rollout) -> Sequence[str]:
    """Prometheus' pages of a service, of payments and of the operator, which has just scaled."""
    ports = find_free_port(), find_free_port()
    with telemetry("payments", metrics_port=ports[0]) as measured:
        pool: Any = SimpleNamespace()
        async with auditing_ledgers(pool, measured.meter):
            payments = await asyncio.to_thread(scrape, ports[0])
    with telemetry("operator", metrics_port=ports[1]) as measured:
        running = Operator(world())
        for _ in range(4):
            await running.second(1500.0)
        lease = LeaseKeeper(MemoryCluster(), "operator", "a")
        observe_operator(measured, running.scaler, lease, lambda: 0, lambda _: {"identity": 1.0})
        operator = await asyncio.to_thread(scrape, ports[1])
    return rollout.metrics, payments, operator


async def test_every_metric_that_alerts_and_dashboards_ask_for_exists(pages: Sequence[str]) -> None:
    exposed = set().union(*map(exposed_metrics, pages))

    # HAProxy's are tested with an edge.
    wanted = {name for name in wanted_metrics() if not name.startswith("haproxy_")}
    assert wanted - exposed == set()
    assert unknown_labels(pages) == {}


async def test_every_metric_has_a_panel_or_a_reason_for_having_none(pages: Sequence[str]) -> None:
    exposed = instruments_of(set().union(*map(exposed_metrics, pages)))

    assert "operator_decision_latency_seconds" in exposed
    assert exposed - instruments_of(shown_metrics()) == WITHOUT_PANEL.keys()
