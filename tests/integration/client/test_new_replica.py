"""A replica that joins at an address that clients have gets its share, and connections age.

One at an address that they must ask for first: ``test_replicas_by_name``.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from fakes.eventually import eventually
from fakes.guarded_calls import guarded_server, unary
from tieline.chassis.grpc_server import Transport
from tieline.client.connection import _open_channel
from tieline.embedded.ports import find_free_port

SHARE_WITHIN_S = 10.0
METHOD = "/tieline.test.v1.Replica/Call"


@asynccontextmanager
async def serving(port: int, name: str, calls: Counter[str]) -> AsyncIterator[None]:
    async def count(_: bytes, __: Any) -> bytes:
        calls[name] += 1
        return b""

    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    handler: Any = grpc.unary_unary_rpc_method_handler(count)
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("tieline.test.v1.Replica", {"Call": handler})]
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


async def test_a_replica_that_joins_at_a_known_address_has_its_share_within_ten_seconds() -> None:
    ports = find_free_port(), find_free_port()
    calls: Counter[str] = Counter()
    target = "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)
    async with (
        serving(ports[0], "old", calls),
        _open_channel(target, tls=False, roots=None) as channel,
    ):
        call: Any = channel.unary_unary(METHOD)

        async def call_on() -> None:
            while True:
                await call(b"", timeout=10)

        calling = [asyncio.create_task(call_on()) for _ in range(8)]
        await eventually(lambda: calls["old"] > 500)
        async with serving(ports[1], "new", calls):
            calls.clear()
            await eventually(lambda: calls["new"] > 100, timeout_s=SHARE_WITHIN_S)
            calls.clear()
            await eventually(lambda: calls.total() > 500)
            share = calls["new"] / calls.total()
            for task in calling:
                task.cancel()
            await asyncio.gather(*calling, return_exceptions=True)

    assert 0.4 < share < 0.6


async def test_a_connection_ends_at_its_age_without_cutting_off_what_is_open() -> None:
    async def echo(request: Any, _: Any) -> Any:
        return request

    transport = Transport(connection_age_s=0.5)
    async with guarded_server({"Echo": unary(echo)}, transport=transport) as caller:
        states: list[grpc.ChannelConnectivity] = []

        async def watch() -> None:
            while True:
                state = caller.channel.get_state()
                states.append(state)
                await caller.channel.wait_for_state_change(state)

        await caller.unary("Echo", "hello")
        watching = asyncio.create_task(watch())
        await eventually(lambda: grpc.ChannelConnectivity.IDLE in states, timeout_s=10)
        assert await caller.unary("Echo", "again") == "again"
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
