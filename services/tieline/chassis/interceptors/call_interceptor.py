"""The one gRPC interceptor: guards each method, once, with everything that every call needs.

A handler is wrapped when its method is called first and found by name from then on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc

from tieline.chassis.authentication import TokenVerifier
from tieline.chassis.health import Health
from tieline.chassis.interceptors.access import UNGUARDED_SERVICES, AccessRule
from tieline.chassis.interceptors.call_metrics import CallMetrics
from tieline.chassis.interceptors.guarded_method import (
    CallLimits,
    GuardedMethod,
    SharedParts,
    arrived_metadata,
)
from tieline.chassis.interceptors.response_streams import ResponseStreams
from tieline.chassis.interceptors.tracing import CallTracing

# A method that the table forgot is closed to everybody.
_CLOSED = AccessRule()


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Guards every method of a server, except those that must answer whatever happens."""

    def __init__(
        self,
        *,
        access: Mapping[str, AccessRule],
        verifier: TokenVerifier,
        health: Health,
        metrics: CallMetrics,
        tracing: CallTracing,
        limits: CallLimits,
    ) -> None:
        self._access = access
        streams = ResponseStreams(verifier.revocations)
        self._parts = SharedParts(verifier, health, metrics, tracing, limits, streams)
        self._guarded: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Return the method's guarded handler."""
        arrived_metadata.set(dict(handler_call_details.invocation_metadata))
        method = handler_call_details.method
        guarded = self._guarded.get(method)
        if guarded is not None:
            return guarded
        bare = await continuation(handler_call_details)
        # Methods that nobody serves are not remembered: callers could name any number of them.
        if bare is None or method.split("/")[1] in UNGUARDED_SERVICES:
            return bare
        rule = self._access.get(method, _CLOSED)
        guarded = GuardedMethod(method, bare, rule, self._parts).build_handler()
        self._guarded[method] = guarded
        return guarded

    @property
    def metrics(self) -> CallMetrics:
        """The instruments of this server's calls."""
        return self._parts.metrics

    def end_response_streams(self) -> None:
        """End the open response streams with SHUTTING_DOWN: subscribers go to another replica."""
        self._parts.response_streams.end_all()
