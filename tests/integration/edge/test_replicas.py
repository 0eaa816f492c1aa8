"""Replicas that join, die and drain, and the edge itself reloaded and killed, under load."""

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import pytest

from fakes.edges import Edge, MakeReplica, StartEdge, open_channel
from fakes.eventually import eventually
from tieline.chassis.process import StartError
from tieline.chassis.streams import SERVICES
from tieline.client.errors import TielineError
from tieline.client.interruptions import is_passing
from tieline.edge.backends import Kind
from tieline.edge.configuration import render
from tieline.edge.methods import list_methods

pytestmark = pytest.mark.haproxy


class Load:
    """Calls without a pause, on the edge's channel or another one."""

    def __init__(
        self,
        edge: Edge,
        tasks: int = 16,
        delay_ms: int = 5,
        channel: grpc.aio.Channel | None = None,
    ) -> None:
        self.answers: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self._edge = edge
        self._channel = channel
        self._delay_ms = delay_ms
        self._is_over = False
        self._tasks = [asyncio.create_task(self._run()) for _ in range(tasks)]

    async def stop(self) -> None:
        self._is_over = True
        await asyncio.gather(*self._tasks)

    async def _run(self) -> None:
        while not self._is_over:
            try:
                answer = await self._edge.call(
                    "SendMessage", delay_ms=self._delay_ms, channel=self._channel
                )
                self.answers[answer.split()[0].decode()] += 1
            except grpc.aio.AioRpcError as error:
                self.errors[f"{error.code().name} {error.details()}"] += 1
                await asyncio.sleep(0.02)


async def test_a_replica_that_joins_gets_its_share_within_a_second(
    make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    old, new = make_replica(), make_replica(is_started=False)
    edge = await start_edge(old, new, ready=1)
    load = Load(edge)
    await eventually(lambda: sum(load.answers.values()) > 100)

    new.start()
    await new.is_up()
    ready_at = time.monotonic()
    await eventually(lambda: load.answers[str(new.port)] > 20)
    joined_s = time.monotonic() - ready_at
    before = dict(load.answers)
    await eventually(lambda: sum(load.answers.values()) > sum(before.values()) + 400)
    await load.stop()

    share = load.answers[str(new.port)] - before[str(new.port)]
    assert joined_s < 1.0
    assert share > 400 / 4
    assert not load.errors


async def test_a_replica_killed_under_load_costs_nothing_but_calls_that_may_be_sent_again(
    make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    killed, other = make_replica(), make_replica()
    edge = await start_edge(killed, other)
    streams = [edge.subscribe() for _ in range(6)]
    homes = [(await stream.read()).decode() for stream in streams]
    load = Load(edge)
    await eventually(lambda: min(load.answers.values(), default=0) > 50)

    killed.kill()
    await eventually(lambda: edge.has_ready(1))
    before = sum(load.answers.values())
    await eventually(lambda: sum(load.answers.values()) > before + 200)
    await load.stop()

    # UNAVAILABLE: what every client sends again when that is safe. UNKNOWN where the head of the
    # answer was already on its way: it leaves open whether the call took effect, as it must.
    assert {error.split()[0] for error in load.errors} <= {"UNAVAILABLE", "UNKNOWN"}
    assert load.errors.total() <= 32
    for stream, home in zip(streams, homes, strict=True):
        if home == str(killed.port):
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await read_to_the_end(stream)
            assert is_passing(TielineError.from_rpc_error(ended.value))
            again = edge.subscribe()
            assert (await again.read()).decode() == str(other.port)
            again.cancel()
        else:
            assert (await stream.read()).decode() == home
            stream.cancel()


async def test_a_draining_replica_gets_nothing_new_and_keeps_what_it_has(
    make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    draining, other = make_replica(), make_replica()
    edge = await start_edge(draining, other)
    running = [asyncio.create_task(edge.call(delay_ms=1500)) for _ in range(6)]
    await eventually(lambda: has_in_flight(edge, 6))

    draining.drain()
    await eventually(lambda: edge.has_ready(1))
    homes = {(await edge.call()).split()[0].decode() for _ in range(20)}

    assert homes == {str(other.port)}
    answered = Counter(answer.split()[0].decode() for answer in await asyncio.gather(*running))
    assert answered[str(draining.port)] == 3


async def test_slots_and_weight_follow_the_replicas_capacity(
    make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    strong = make_replica(capacity_per_second=5000)
    unmeasured = make_replica()
    edge = await start_edge(strong, unmeasured, edge_slots=24, edge_streams=500)

    async def slots() -> list[int]:
        return [state.slots for state in await edge.replicas()]

    await eventually(lambda: is_equal(slots, [70, 24]))
    assert [state.slots for state in await edge.replicas(Kind.LONG)] == [500, 500]


async def test_streams_do_not_fill_the_slots_of_calls(
    make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    edge = await start_edge(make_replica(), edge_slots=2)
    streams = [edge.subscribe() for _ in range(10)]
    for stream in streams:
        assert await stream.read()

    codes = [await edge.code() for _ in range(5)]

    assert codes == ["OK"] * 5
    for stream in streams:
        stream.cancel()


async def test_a_reload_drops_neither_streams_nor_calls(
    make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    replica, added = make_replica(), make_replica()
    edge = await start_edge(replica)
    stream = edge.subscribe()
    first = await stream.read()
    directory = directory_of(edge)
    addresses = f"{replica.address},{added.address}"
    changed = edge.settings.model_copy(update={"edge_messaging": addresses})
    # As clients are by default: what was on its way when the connection was ended in good order,
    # and was not taken any more, gRPC sends again.
    async with open_channel(edge.settings, **{"grpc.enable_retries": 1}) as calling:
        load = Load(edge, channel=calling)
        await eventually(lambda: sum(load.answers.values()) > 50)

        await edge.master.reload(render(changed, list_methods(SERVICES), directory))
        async with open_channel(edge.settings) as channel:

            async def meets_the_added_one() -> bool:
                answer = await edge.call(channel=channel)
                return answer.split()[0].decode() == str(added.port)

            await eventually(meets_the_added_one)
        before = sum(load.answers.values())
        await eventually(lambda: sum(load.answers.values()) > before + 100)
        await load.stop()

    assert [await stream.read() for _ in range(5)] == [first] * 5
    assert not load.errors
    stream.cancel()


async def test_a_wrong_configuration_is_refused_and_the_old_one_goes_on(
    make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    edge = await start_edge(make_replica())
    worker = await edge.master.worker_id()
    files = dict(render(edge.settings, list_methods(SERVICES), directory_of(edge)))
    files["haproxy.cfg"] += "\nfrontend nonsense\n  what is this\n"

    with pytest.raises(StartError, match="refuses the configuration"):
        await edge.master.reload(files)

    assert await edge.master.worker_id() == worker
    assert await edge.code() == "OK"


async def test_counters_of_limits_outlive_a_reload(
    make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    edge = await start_edge(make_replica(), edge_address_calls_per_minute=10)
    assert [await edge.code() for _ in range(10)] == ["OK"] * 10

    await edge.master.reload(render(edge.settings, list_methods(SERVICES), directory_of(edge)))

    async with open_channel(edge.settings) as channel:

        async def is_limited() -> bool:
            return await edge.code(channel=channel) == "RESOURCE_EXHAUSTED"

        await eventually(is_limited)


async def read_to_the_end(stream: Any) -> None:
    while True:
        await stream.read()


async def has_in_flight(edge: Edge, count: int) -> bool:
    return await edge.in_flight() == count


async def is_equal(read: object, wanted: object) -> bool:
    assert callable(read)
    return bool(await read() == wanted)


def directory_of(edge: Edge) -> Path:
    return edge.master.directory
