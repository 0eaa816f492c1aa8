"""A real HAProxy before real replicas, each a process of its own."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from fakes.edges import Edge, MakeReplica, Replica, StartEdge, running_edge
from fakes.eventually import eventually
from tieline.chassis.process import StartError
from tieline.edge.haproxy import find_binary
from tieline.embedded.ports import find_free_port


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without HAProxy an ordinary user can't install, these tests are left out, and that is told.

    Root can: there they fail with the line that says how.
    """
    here = [item for item in items if Path(__file__).parent in item.path.parents]
    if not here or has_haproxy() or os.geteuid() == 0:
        return
    items[:] = [item for item in items if item not in here]
    config.hook.pytest_deselected(items=here)
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.write_line(
            f"{len(here)} tests of the edge are left out: HAProxy is not installed "
            "(as root: apt-get install haproxy)"
        )


def has_haproxy() -> bool:
    try:
        find_binary()
    except StartError:
        return False
    return True


@pytest.fixture
def make_replica() -> Iterator[MakeReplica]:
    """Make replicas, which end with the test."""
    made: list[Replica] = []

    def make(*, is_started: bool = True, capacity_per_second: float = 0) -> Replica:
        replica = Replica(find_free_port(), find_free_port(), capacity_per_second)
        made.append(replica)
        if is_started:
            replica.start()
        return replica

    yield make
    for replica in made:
        if replica.process is not None:
            replica.kill()


@pytest.fixture
async def start_edge() -> AsyncIterator[StartEdge]:
    """Start edges, which end with the test."""
    async with AsyncExitStack() as stack:

        async def start(*replicas: Replica, ready: int | None = None, **settings: Any) -> Edge:
            edge = await stack.enter_async_context(running_edge(*replicas, **settings))
            wanted = len(replicas) if ready is None else ready
            await eventually(lambda: edge.has_ready(wanted))
            return edge

        yield start
