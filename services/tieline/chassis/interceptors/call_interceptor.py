"""The one gRPC interceptor: guards each method, once, with everything that every call needs.

A handler is wrapped when its method is called first and found by name from then on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from tieline.chassis.admission.control import AdmissionControl
from tieline.chassis.admission.headers import read_held_back
from tieline.chassis.admission.known_callers import KnownCaller
from tieline.chassis.admission.priorities import USER_LEVELS, BusinessClass, priority_of
from tieline.chassis.admission.queue_probe import PROBE_METHOD, QueueProbe
from tieline.chassis.authentication import TokenVerifier
from tieline.chassis.health import Health
from tieline.chassis.interceptors.access import UNGUARDED_SERVICES, AccessRule
from tieline.chassis.interceptors.arrivals import Arrival, arrived
from tieline.chassis.interceptors.call_metadata import (
    AUTHORIZATION_KEY,
    HELD_BACK_KEY,
    OUR_RETRY_KEY,
    RETRY_KEY,
    Metadata,
    arrived_metadata,
    read_token,
)
from tieline.chassis.interceptors.call_metrics import CallMetrics
from tieline.chassis.interceptors.guarded_method import CallLimits, GuardedMethod, SharedParts
from tieline.chassis.interceptors.refusals import Refusals
from tieline.chassis.interceptors.response_streams import ResponseStreams
from tieline.chassis.interceptors.tracing import CallTracing

# A method that the table forgot is closed to everybody.
_CLOSED = AccessRule()


Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Any]]
"""Returns the method's bare handler, or None."""


@dataclass(frozen=True, slots=True)
class _Guarded:
    handler: grpc.RpcMethodHandler[Any, Any]
    refusal: grpc.RpcMethodHandler[Any, Any]
    base_priority: int


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Guards every method of a server, except those that must answer whatever happens."""

    def __init__(
        self,
        *,
        access: Mapping[str, AccessRule],
        classes: Mapping[str, BusinessClass],
        control: AdmissionControl,
        probe: QueueProbe,
        verifier: TokenVerifier,
        health: Health,
        metrics: CallMetrics,
        tracing: CallTracing,
        limits: CallLimits,
    ) -> None:
        self._access = access
        self._classes = classes
        self._control = control
        self._probe = probe
        self._refusals = Refusals(control, verifier)
        streams = ResponseStreams(verifier.revocations)
        self._parts = SharedParts(verifier, health, metrics, tracing, limits, streams, control)
        self._guarded: dict[str, _Guarded] = {}

    async def intercept_service(
        self,
        continuation: Continuation,
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Return the method's guarded handler, or what refuses the call."""
        sent = handler_call_details.invocation_metadata
        metadata = dict(sent)
        if len(metadata) < len(sent):
            _drop_ambiguous_token(metadata, sent)
        arrived_metadata.set(metadata)
        method = handler_call_details.method
        guarded = self._guarded.get(method)
        if guarded is None:
            if method == PROBE_METHOD:
                return self._probe.receive(metadata)
            return await self._guard(continuation, handler_call_details, metadata)
        return self._choose(guarded, metadata)

    async def _guard(
        self, continuation: Continuation, details: grpc.HandlerCallDetails, metadata: Metadata
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        method = details.method
        bare: grpc.RpcMethodHandler[Any, Any] | None = await continuation(details)
        # Methods that nobody serves are not remembered: callers could name any number of them.
        if bare is None or method.split("/")[1] in UNGUARDED_SERVICES:
            return bare
        rule = self._access.get(method, _CLOSED)
        handler = GuardedMethod(method, bare, rule, self._parts).build_handler()
        refusals = self._refusals
        guarded = self._guarded[method] = _Guarded(
            handler,
            refusals.stream_handler if bare.request_streaming else refusals.handler,
            priority_of(self._classes.get(method, BusinessClass.NORMAL), 0),
        )
        return self._choose(guarded, metadata)

    def _choose(self, guarded: _Guarded, metadata: Metadata) -> grpc.RpcMethodHandler[Any, Any]:
        """Return the method's handler, or what refuses the call."""
        control = self._control
        caller = control.callers.find(metadata.get(AUTHORIZATION_KEY)) or self._meet(metadata)
        priority = guarded.base_priority + caller.user_level
        arrival = Arrival(control, priority, caller)
        arrived.set(arrival)
        if RETRY_KEY in metadata or OUR_RETRY_KEY in metadata:
            control.counts.retries[priority // USER_LEVELS] += 1
        if HELD_BACK_KEY in metadata and caller.is_verified:
            control.note_held_back(read_held_back(metadata[HELD_BACK_KEY]), caller.corp)
        if not control.lets_in(priority, caller.corp):
            return guarded.refusal
        arrival.count_if_expired()
        return guarded.handler

    def _meet(self, metadata: Metadata) -> KnownCaller:
        """Return what stands for a caller whom admission does not know, or has forgotten.

        Whoever is refused again and again is verified by no handler: without a look at who was once
        verified, nobody would believe a minute later what such callers hold back.
        """
        callers = self._control.callers
        principal = self._parts.verifier.find_verified(read_token(metadata))
        if principal is None:
            return callers.meet(metadata.get(AUTHORIZATION_KEY))
        return callers.remember(str(metadata[AUTHORIZATION_KEY]), principal)

    @property
    def metrics(self) -> CallMetrics:
        """The instruments of this server's calls."""
        return self._parts.metrics

    def end_response_streams(self) -> None:
        """End the open response streams with SHUTTING_DOWN: subscribers go to another replica."""
        self._parts.response_streams.end_all()


def _drop_ambiguous_token(
    metadata: dict[str, str | bytes], sent: Sequence[tuple[str, str | bytes]]
) -> None:
    """Take several tokens for none: the edge may have looked at another one than is left here."""
    if sum(key == AUTHORIZATION_KEY for key, _ in sent) > 1:
        del metadata[AUTHORIZATION_KEY]
