"""A replica behind the edge, as a process of its own: ``python -m fakes.edge_replica HOST PORT
AGENT CAPACITY [PEM]``, with the PEM of its key and certificate for TLS.

Has every method of messaging and of identity. What a call does is said by its metadata:
``x-test-delay-ms`` makes the handler wait, ``x-test-status`` ends it with a status, and with the
trailer that ``x-test-trailer`` names. The answer begins with the replica's port and ends with its
host; the stream of Subscribe gives the port each ``x-test-delay-ms`` for ever. SIGUSR1 drains it.
"""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc

from tieline.chassis.admission.edge_agent import Capacity, answering_edge
from tieline.chassis.health import Health
from tieline.edge.methods import list_methods


class _Replica(grpc.GenericRpcHandler):
    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._streams = {
            method.path: method.is_stream for method in list_methods(["messaging", "identity"])
        }

    def service(self, details: Any) -> Any:
        if details.method not in self._streams:
            return None
        if self._streams[details.method]:
            return grpc.unary_stream_rpc_method_handler(self._stream)
        return grpc.unary_unary_rpc_method_handler(self._call)

    async def _call(self, request: bytes, context: Any) -> bytes:
        metadata = dict(context.invocation_metadata())
        await asyncio.sleep(int(metadata.get("x-test-delay-ms", 0)) / 1000)
        if status := metadata.get("x-test-status"):
            trailer = metadata.get("x-test-trailer")
            said = ((trailer, "as asked"),) if trailer else ()
            await context.abort(grpc.StatusCode[status], "as asked", said)
        seen = metadata.get("x-forwarded-for", "")
        return f"{self._port} {len(request)} {seen} {self._host}".encode()

    async def _stream(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        metadata = dict(context.invocation_metadata())
        while True:
            yield str(self._port).encode()
            await asyncio.sleep(int(metadata.get("x-test-delay-ms", 50)) / 1000)


async def main(
    host: str, port: int, agent_port: int, capacity_per_second: float, pem: str = ""
) -> None:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers([_Replica(host, port)])
    if pem:
        pair = Path(pem).read_bytes()  # noqa: ASYNC240 -- before anything is served
        server.add_secure_port(f"{host}:{port}", grpc.ssl_server_credentials([(pair, pair)]))
    else:
        server.add_insecure_port(f"{host}:{port}")
    health = Health()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, health.mark_draining)
    capacity = Capacity(capacity_per_second, 0)
    async with answering_edge(
        host, agent_port, service="messaging", health=health, capacity=lambda: capacity
    ):
        await server.start()
        health.mark_serving()
        await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(
        main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), *sys.argv[5:])
    )
