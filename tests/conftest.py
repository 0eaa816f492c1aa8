"""Real engines for the tests: one PostgreSQL per run, one database and one NATS per test worker.

The controller of a parallel run starts PostgreSQL and tells the workers where it is; a run without
workers starts it itself. Nothing here is shared with `tieline up` or left behind.
"""

import os

# As ``tieline.cli.main`` has it, and before anything loads gRPC.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"

import asyncio
import contextlib
import gc
import importlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
import uvloop

from engines import (
    Database,
    build_nats,
    build_settings,
    connected,
    create_database,
    running_postgres,
)
from fakes.tokens import TestTokens
from late_tests import told_of
from tieline.chassis import streams
from tieline.chassis.forks import pause_collection_in_forks
from tieline.chassis.process import StartError
from tieline.chassis.streams import SERVICES
from tieline.edge.haproxy import find_binary
from tieline.embedded.nats import EmbeddedNats

StartService = Callable[[str], Awaitable[grpc.aio.Channel]]

_SERVERS = pytest.StashKey[contextlib.ExitStack]()
_ADMIN_DSN = pytest.StashKey[str]()
_STDERR = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    """Take PostgreSQL's address from the controller, if this is a worker."""
    pause_collection_in_forks()
    # Before it is captured.
    config.stash[_STDERR] = os.dup(2)
    worker_input = getattr(config, "workerinput", None)
    if worker_input is not None:
        config.stash[_ADMIN_DSN] = worker_input["admin_dsn"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, and say so, the tests of programs that are missing and can't be installed.

    Root can install HAProxy: there the edge's tests fail with the line that says how. Prometheus is
    nobody's need but that of `make observe`. Helm's command is in no package of Debian; without it
    the engine in `helm-python-sdk` alone renders the chart.
    """
    if os.geteuid() != 0 and not is_haproxy_there():
        _leave_out(config, items, "haproxy", "HAProxy", "as root: apt-get install haproxy")
    if shutil.which("promtool") is None:
        _leave_out(config, items, "prometheus", "Prometheus", "as root: apt-get install prometheus")
    if shutil.which("helm") is None:
        _leave_out(config, items, "helm", "Helm", "3 or 4, whose output they compare")


def _leave_out(
    config: pytest.Config, items: list[pytest.Item], marker: str, program: str, hint: str
) -> None:
    needing = [item for item in items if item.get_closest_marker(marker)]
    if not needing:
        return
    items[:] = [item for item in items if item not in needing]
    config.hook.pytest_deselected(items=needing)
    if not hasattr(config, "workerinput"):
        reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
        reporter.write_line(
            f"{len(needing)} tests are left out: {program} is not installed ({hint})"
        )


def pytest_collection() -> None:
    """Keep the garbage collector away: it would walk again and again what only becomes more."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Collect from now on, but leave out what collection made, which lives as long as the run."""
    gc.enable()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Have a test that hangs say where."""
    marker = item.get_closest_marker("timeout")
    timeout_s = float(marker.args[0] if marker else item.config.getini("timeout"))
    with told_of(item.nodeid, timeout_s, item.config.stash[_STDERR]):
        return (yield)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the files that share a platform on one worker."""
    if config.getvalue("dist") != "loadfile":
        return None
    # A run without workers needs no scheduler.
    from e2e.shared_platform import ByFileAndPlatform

    return ByFileAndPlatform(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker where the run's PostgreSQL is."""
    node.workerinput["admin_dsn"] = _ensure_postgres(node.config)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop what this process started."""
    servers = config.stash.get(_SERVERS, None)
    if servers is not None:
        servers.close()


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run the tests on the loop that the services run on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def postgres_admin_dsn(request: pytest.FixtureRequest) -> str:
    """The superuser's DSN of the run's PostgreSQL; tests make databases of their own there."""
    return _ensure_postgres(request.config)


@pytest.fixture(scope="session")
async def database(postgres_admin_dsn: str, worker_id: str) -> Database:
    """The worker's database, migrated. Tests keep out of each other's way by new corps."""
    return await create_database(Database(postgres_admin_dsn), f"tieline_{worker_id}", SERVICES)


@pytest.fixture(scope="session")
async def nats(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedNats]:
    """The worker's nats-server, with the users, permissions and streams of a real platform."""
    server = build_nats(tmp_path_factory.mktemp("nats") / "data")
    with server.running():
        await streams.declare(server.url("admin"))
        yield server


@pytest.fixture(scope="session")
def tokens() -> TestTokens:
    """Signs the tokens of the test's callers; services ask the worker's NATS for its key."""
    return TestTokens()


@pytest.fixture(scope="session")
async def start_service(
    database: Database, nats: EmbeddedNats, tokens: TestTokens
) -> AsyncIterator[StartService]:
    """Start services in this process, each once per worker; returns a channel to each.

    The tokens' key is published in identity's place, so identity itself is not started by this.
    """
    channels: dict[str, grpc.aio.Channel] = {}
    async with AsyncExitStack() as stack:

        async def start(service: str) -> grpc.aio.Channel:
            if service not in channels:
                settings = build_settings(service, database, nats)
                app = importlib.import_module(f"tieline.{service}.app")
                await stack.enter_async_context(app.role(settings))
                channel = grpc.aio.insecure_channel(f"127.0.0.1:{settings.grpc_port}")
                channels[service] = await stack.enter_async_context(channel)
            return channels[service]

        broker = await stack.enter_async_context(connected(nats, "identity"))
        await stack.enter_async_context(tokens.published(broker))
        yield start


def is_haproxy_there() -> bool:
    """Tell whether the edge could start."""
    try:
        find_binary()
    except StartError:
        return False
    return True


def _ensure_postgres(config: pytest.Config) -> str:
    known = config.stash.get(_ADMIN_DSN, None)
    if known is not None:
        return known
    servers = contextlib.ExitStack()
    config.stash[_SERVERS] = servers
    config.stash[_ADMIN_DSN] = servers.enter_context(running_postgres())
    return config.stash[_ADMIN_DSN]
