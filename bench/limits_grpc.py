"""What gRPC itself reaches on this machine: messages echoed on open streams.

The empty unary call beside it is measured in ``chassis_call``, together with what it is compared
with.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import grpc
import uvloop
from google.protobuf.wrappers_pb2 import BytesValue

from bench.grpc_load import Load, Rate, Work, announce, server_process

_SERVICE = "tieline.bench.v1.Echo"
METHOD = f"/{_SERVICE}/Echo"
_MODULE = "bench.limits_grpc"

# A chat line with its ids.
_PAYLOAD_BYTES = 200


async def measure_stream_echo(seconds: float) -> Rate:
    """Return the rate of messages sent and echoed one by one on 64 open streams."""
    async with server_process(_MODULE, "echo") as server, Load(server, build_echoes()) as load:
        return await load.measure(seconds)


def build_echoes() -> Work:
    """Return the work of sending messages to the echo server, one by one on an open stream."""
    message = BytesValue(value=bytes(_PAYLOAD_BYTES))

    async def work(channel: grpc.aio.Channel) -> AsyncGenerator[None, None]:
        method = channel.stream_stream(METHOD, BytesValue.SerializeToString, BytesValue.FromString)
        stream = method()
        try:
            while True:
                await stream.write(message)
                await stream.read()
                yield
        finally:
            stream.cancel()

    return work


async def _echo(requests: AsyncIterator[BytesValue], _context: Any) -> AsyncIterator[BytesValue]:
    async for request in requests:
        yield request


async def _serve() -> None:
    server = grpc.aio.server()
    handler = grpc.stream_stream_rpc_method_handler(
        _echo, BytesValue.FromString, BytesValue.SerializeToString
    )
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(_SERVICE, {"Echo": handler})]
    )
    await announce(server)


if __name__ == "__main__":
    assert sys.argv[1:] == ["echo"], "run by measure_stream_echo"
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve())
