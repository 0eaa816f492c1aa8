"""A real HAProxy before real replicas, each a process of its own."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from fakes.edges import Edge, MakeReplica, Replica, StartEdge, running_edge
from fakes.eventually import eventually
from tieline.embedded.ports import find_free_port


@pytest.fixture
def make_replica() -> Iterator[MakeReplica]:
    """Make replicas, which end with the test."""
    made: list[Replica] = []

    def make(
        *, is_started: bool = True, capacity_per_second: float = 0, beside: Replica | None = None
    ) -> Replica:
        """``beside`` another one: on its ports at an address of its own, as pods are."""
        if beside is None:
            replica = Replica(find_free_port(), find_free_port(), capacity_per_second)
        else:
            host = f"127.0.0.{len(made) + 1}"
            replica = Replica(beside.port, beside.agent_port, capacity_per_second, host=host)
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
