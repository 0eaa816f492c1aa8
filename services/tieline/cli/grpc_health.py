"""Asks a gRPC server on loopback whether it is ready."""

import socket

import grpc
from grpc_health.v1 import health_pb2

from tieline.embedded.ports import LOOPBACK

CHECK_TIMEOUT_S = 1.0


async def is_serving(port: int) -> bool:
    """Tell whether the server on the port says SERVING for all that it offers."""
    # A channel whose first attempt fails waits a second before the next one; a socket doesn't.
    if not is_listening(port):
        return False
    async with grpc.aio.insecure_channel(f"{LOOPBACK}:{port}") as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            response = await check(health_pb2.HealthCheckRequest(), timeout=CHECK_TIMEOUT_S)
        except grpc.aio.AioRpcError:
            return False
    return bool(response.status == health_pb2.HealthCheckResponse.SERVING)


def is_listening(port: int, host: str = LOOPBACK) -> bool:
    """Tell whether anything listens on the port."""
    with socket.socket() as probe:
        probe.settimeout(CHECK_TIMEOUT_S)
        return probe.connect_ex((host, port)) == 0
