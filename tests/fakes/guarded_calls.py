"""A guarded gRPC server on loopback with methods of the test's own, and calls to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2_grpc
from joserfc.jwk import OKPKey
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from fakes.tokens import KEY_ID, TestTokens
from tieline.chassis.admission.control import AdmissionControl
from tieline.chassis.admission.priorities import BusinessClass
from tieline.chassis.authentication import TokenVerifier, build_public_key
from tieline.chassis.grpc_server import (
    NO_CLASSES,
    GuardedServer,
    Transport,
    bind,
    build_guarded_server,
)
from tieline.chassis.health import Health
from tieline.chassis.health_servicer import HealthServicer
from tieline.chassis.interceptors.access import AccessRule
from tieline.chassis.interceptors.guarded_method import CallLimits
from tieline.chassis.principals import PrincipalKind
from tieline.chassis.revocation_list import RevocationList
from tieline.chassis.telemetry import telemetry

SERVICE = "tieline.test.v1.Sample"

Behaviour = Callable[[Any, Any], Any]


@dataclass(frozen=True, slots=True)
class Caller:
    """Calls the methods of a :func:`guarded_server`; requests and responses are StringValues."""

    guarded: GuardedServer
    channel: grpc.aio.Channel
    tokens: TestTokens
    spans: InMemorySpanExporter
    port: int
    revocations: RevocationList
    trailers: dict[str, str | bytes] = field(default_factory=dict)
    """Trailing metadata of the last unary call."""

    async def unary(
        self,
        method: str,
        text: str = "",
        *,
        token: str | None = None,
        metadata: Sequence[tuple[str, str]] = (),
        timeout_s: float | None = 10,
    ) -> str:
        """Call a unary method as a member, or with the token given (empty for none)."""
        call = self.channel.unary_unary(
            f"/{SERVICE}/{method}", StringValue.SerializeToString, StringValue.FromString
        )(StringValue(value=text), timeout=timeout_s, metadata=self.metadata(token, metadata))
        try:
            response: StringValue = await call
        finally:
            self.trailers.clear()
            self.trailers.update(dict(await call.trailing_metadata()))
        return str(response.value)

    def stream(self, method: str, *, token: str | None = None) -> Any:
        """Open a bidirectional stream as a member, or with the token given."""
        return self.channel.stream_stream(
            f"/{SERVICE}/{method}", StringValue.SerializeToString, StringValue.FromString
        )(metadata=self.metadata(token))

    def metadata(
        self, token: str | None, more: Sequence[tuple[str, str]] = ()
    ) -> list[tuple[str, str]]:
        """Return the metadata of a call."""
        if token is None:
            token = self.tokens.member("wwacme", "li.wei")
        return [*([("authorization", f"Bearer {token}")] if token else []), *more]


@asynccontextmanager
async def guarded_server(
    behaviours: dict[str, grpc.RpcMethodHandler[Any, Any]],
    *,
    access: AccessRule | None = None,
    undeclared: frozenset[str] = frozenset(),
    limits: CallLimits | None = None,
    transport: Transport | None = None,
    classes: Mapping[str, BusinessClass] = NO_CLASSES,
    control: AdmissionControl | None = None,
    keys_come: bool = True,
    host: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[Caller]:
    """Serve the methods; each is for members, unless ``access`` says otherwise.

    The access table says nothing about the ``undeclared`` ones. Where no ``keys_come`` the calls
    wait for the verification of their tokens.
    """
    tokens, spans, health = TestTokens(), InMemorySpanExporter(), Health()

    async def fetch_keys() -> Mapping[str, OKPKey]:
        if not keys_come:
            await asyncio.Event().wait()
        return {KEY_ID: build_public_key(tokens.public_key)}

    revocations = RevocationList()
    rule = access or AccessRule(kinds=frozenset({PrincipalKind.MEMBER}))
    with telemetry("test", span_exporter=spans) as measured:
        guarded = build_guarded_server(
            {f"/{SERVICE}/{method}": rule for method in behaviours.keys() - undeclared},
            verifier=TokenVerifier(fetch_keys, revocations),
            health=health,
            telemetry=measured,
            limits=limits or CallLimits(trace_sample_ratio=0),
            classes={f"/{SERVICE}/{method}": of for method, of in classes.items()},
            control=control,
            transport=transport,
        )
        guarded.server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(SERVICE, behaviours)]
        )
        health_pb2_grpc.add_HealthServicer_to_server(
            HealthServicer(health, [SERVICE]), guarded.server
        )
        port = bind(guarded, host, port)
        await guarded.server.start()
        health.mark_serving()
        async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
            yield Caller(guarded, channel, tokens, spans, port, revocations)
        await guarded.server.stop(None)


def unary(behaviour: Behaviour) -> grpc.RpcMethodHandler[Any, Any]:
    """Return a unary method."""
    return grpc.unary_unary_rpc_method_handler(
        behaviour, StringValue.FromString, StringValue.SerializeToString
    )


def bidirectional(behaviour: Behaviour) -> grpc.RpcMethodHandler[Any, Any]:
    """Return a method with streams both ways."""
    return grpc.stream_stream_rpc_method_handler(
        behaviour, StringValue.FromString, StringValue.SerializeToString
    )


def read_status(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """Return the status that an error carries."""
    trailers = dict(error.trailing_metadata())
    details = trailers["grpc-status-details-bin"]
    assert isinstance(details, bytes), "gRPC gives -bin metadata as bytes"
    return status_pb2.Status.FromString(details)


def read_reason(error: grpc.aio.AioRpcError) -> str:
    """Return the reason of an error's ErrorInfo."""
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in read_status(error).details), "has ErrorInfo"
    return str(info.reason)
