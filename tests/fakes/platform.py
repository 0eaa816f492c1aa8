"""A gRPC server on loopback whose answers are functions of the test, for clients under test."""

import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import grpc
from google.protobuf import any_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

# Importing a service's stubs is what makes its methods known.
from tieline.api.contacts.v1 import contacts_service_pb2  # noqa: F401
from tieline.api.directory.v1 import (
    directory_service_pb2,  # noqa: F401
    export_service_pb2,  # noqa: F401
    import_service_pb2,  # noqa: F401
)
from tieline.api.identity.v1 import (
    app_service_pb2,  # noqa: F401
    identity_service_pb2,  # noqa: F401
    session_service_pb2,  # noqa: F401
    signing_key_service_pb2,  # noqa: F401
)
from tieline.api.messaging.v1 import (
    media_service_pb2,  # noqa: F401
    messaging_service_pb2,  # noqa: F401
)
from tieline.api.payments.v1 import payments_service_pb2  # noqa: F401

Answer = Callable[[Any, Mapping[str, str]], Any]


class Refusal(Exception):
    """Ends a call as a service, or the edge in front of it, would."""

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: str = "",
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
        trailers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(reason)
        self.code = code
        self.trailers: tuple[tuple[str, str | bytes], ...] = trailers
        details: list[Message] = []
        if reason:
            details.append(
                error_details_pb2.ErrorInfo(
                    reason=reason, domain="tieline.dev", metadata=metadata or {}
                )
            )
        if violations:
            bad_request = error_details_pb2.BadRequest()
            for name, rule in violations.items():
                bad_request.field_violations.add(field=name, description=rule)
            details.append(bad_request)
        if retry_after_s is not None:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromTimedelta(timedelta(seconds=retry_after_s))
            details.append(retry)
        if details:
            self.trailers += (("grpc-status-details-bin", _pack(code, details)),)


@dataclass(frozen=True)
class ReceivedCall:
    """What the server saw of one attempt."""

    method: str
    request: Any
    metadata: Mapping[str, str]
    time_remaining_s: float | None


@dataclass
class FakePlatform(grpc.GenericRpcHandler):
    """All five services on one port; a method without an answer is UNIMPLEMENTED."""

    answers: dict[str, Answer] = field(default_factory=dict)
    calls: list[ReceivedCall] = field(default_factory=list)
    target: str = ""
    trailers: tuple[tuple[str, str], ...] = ()
    """What streams that end well end with."""

    def service(self, handler_call_details: Any) -> Any:
        """Return the handler of a method, made from its descriptor."""
        service_name, _, name = handler_call_details.method[1:].rpartition("/")
        method = descriptor_pool.Default().FindServiceByName(service_name).methods_by_name[name]
        if name not in self.answers:
            return None
        kind = f"{_direction(method.client_streaming)}_{_direction(method.server_streaming)}"
        behaviour = self._stream if method.server_streaming else self._unary
        return getattr(grpc, f"{kind}_rpc_method_handler")(
            behaviour(name, dict(handler_call_details.invocation_metadata)),
            request_deserializer=message_factory.GetMessageClass(method.input_type).FromString,
            response_serializer=lambda response: response.SerializeToString(),
        )

    def received(self, method: str) -> list[ReceivedCall]:
        """Return the attempts at one method, in order."""
        return [call for call in self.calls if call.method == method]

    def _unary(self, name: str, metadata: Mapping[str, str]) -> Any:
        async def handle(request: Any, context: Any) -> Any:
            self._note(name, request, metadata, context)
            try:
                response = self.answers[name](request, metadata)
                return await response if inspect.isawaitable(response) else response
            except Refusal as refusal:
                await context.abort(refusal.code, "refused", refusal.trailers)

        return handle

    def _stream(self, name: str, metadata: Mapping[str, str]) -> Any:
        async def handle(request: Any, context: Any) -> AsyncIterator[Any]:
            self._note(name, request, metadata, context)
            try:
                async for response in self.answers[name](request, metadata):
                    yield response
                context.set_trailing_metadata(self.trailers)
            except Refusal as refusal:
                await context.abort(refusal.code, "refused", refusal.trailers)

        return handle

    def _note(self, name: str, request: Any, metadata: Mapping[str, str], context: Any) -> None:
        self.calls.append(ReceivedCall(name, request, metadata, context.time_remaining()))

    @asynccontextmanager
    async def serving(self, port: int = 0, *, max_streams: int = 1000) -> AsyncIterator[None]:
        """Serve on loopback; leaving the block ends open calls at once, as a kill would."""
        options = (("grpc.so_reuseport", 0), ("grpc.max_concurrent_streams", max_streams))
        server = grpc.aio.server(options=options)
        server.add_generic_rpc_handlers((self,))
        bound_port = server.add_insecure_port(f"127.0.0.1:{port}")
        self.target = f"127.0.0.1:{bound_port}"
        await server.start()
        try:
            yield
        finally:
            await server.stop(None)


def _direction(streaming: bool) -> str:
    return "stream" if streaming else "unary"


def _pack(code: grpc.StatusCode, details: list[Message]) -> bytes:
    status = status_pb2.Status(code=code.value[0], message="refused")
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return bytes(status.SerializeToString())
