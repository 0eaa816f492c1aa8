from collections.abc import Sequence
from typing import cast

import grpc

from tieline.api.messaging.v1 import messaging_service_pb2, messaging_service_pb2_grpc
from tieline.chassis.grpc_server import Served


class RecordingServer:
    """Keeps what the generated code adds to a server."""

    def __init__(self) -> None:
        self.generic: list[grpc.GenericRpcHandler] = []
        self.registered: list[str] = []

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        self.generic += handlers

    def add_registered_method_handlers(self, service: str, _: object) -> None:
        self.registered.append(service)


def test_methods_wait_in_one_queue_whatever_their_number() -> None:
    """gRPC's loop looks at the queue of every registered method for each call."""
    server = RecordingServer()
    served = Served(
        messaging_service_pb2_grpc.add_MessagingServiceServicer_to_server,
        messaging_service_pb2_grpc.MessagingServiceServicer(),  # type: ignore[abstract]
        messaging_service_pb2.DESCRIPTOR.services_by_name["MessagingService"],
    )

    served.add(cast(grpc.aio.Server, server))

    assert len(server.generic) == 1
    assert server.registered == []
