"""Calls that are not let in: answered before anything of them is read, in a flood a moment later.

UNAVAILABLE, since that is what gRPC's retry rules try again (gRFC A6), and only after the push-back
that comes with it; RESOURCE_EXHAUSTED would end the call at clients that know nothing of it. LOW
calls are told not to come back by themselves.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

from tieline.chassis.admission.control import AdmissionControl
from tieline.chassis.admission.priorities import BusinessClass, class_of
from tieline.chassis.authentication import TokenVerifier
from tieline.chassis.errors import OVERLOADED_TEXT, overloaded_error
from tieline.chassis.grpc_context import Context
from tieline.chassis.interceptors.arrivals import Arrival, arrived
from tieline.chassis.interceptors.call_metadata import (
    HELD_BACK_KEY,
    arrived_metadata,
    read_token,
)
from tieline.chassis.interceptors.request_stream import RequestStream
from tieline.chassis.statuses import to_status

STATUS_DETAILS_KEY = "grpc-status-details-bin"
PUSHBACK_KEY = "grpc-retry-pushback-ms"
NEVER_RETRY = "-1"

ADMISSION_KEY = "tieline-admission"
"""Trailing metadata of every response: the level that holds for the caller, and the priority that
its call had, as two decimal numbers."""

# As many different delays are prepared; a client draws one of them.
_VARIANTS = 16

# From one verification of a stranger's token to the next: it takes about as long as a refusal, and
# anybody can send tokens.
_VERIFICATION_INTERVAL_S = 0.05

# While strangers flood a replica, which has begun to hold up calls. Most callers have a bounded
# number of calls on their way, by their threads or by the streams of a connection, and send so much
# less while an answer is held. Well below the push-back, and of what a caller has left until its
# deadline never more than half. Callers of ours, who hold back, never bring that about, and are
# told at once.
_HOLD_S = 0.5
_HOLD_RATIO = 0.5

# Of the delay, to both sides: those who were refused together shall not come back together.
_JITTER_RATIO = 0.2


class Refusals:
    """Answers refused calls, from a few answers that were made beforehand."""

    def __init__(
        self,
        control: AdmissionControl,
        verifier: TokenVerifier,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._control = control
        self._verifier = verifier
        self._clock = clock
        self._verify_at = clock()
        self._delay_s = 0.0
        self._prepared: list[tuple[bytes, str]] = []
        self.handler: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(
            self._refuse
        )
        """For calls of one request, which is not even read."""

        self.stream_handler: grpc.RpcMethodHandler[Any, Any] = (
            grpc.stream_stream_rpc_method_handler(self._refuse_stream)
        )
        """For calls of many requests, which are read and dropped: see ``request_stream``."""

    async def _refuse(self, _: Any, context: Context) -> None:
        arrival = arrived.get()
        if not arrival.caller.is_verified:
            self._hear(arrival)
        if self._control.is_holding_up:
            await asyncio.sleep(_find_hold_s(context))
        status, pushback_ms = self._draw()
        if class_of(arrival.priority) == BusinessClass.LOW:
            pushback_ms = NEVER_RETRY
        context.set_code(grpc.StatusCode.UNAVAILABLE)
        context.set_details(OVERLOADED_TEXT)
        context.set_trailing_metadata(
            (
                (STATUS_DETAILS_KEY, status),
                (PUSHBACK_KEY, pushback_ms),
                (ADMISSION_KEY, self._control.tell(arrival.priority, arrival.caller.corp)),
            )
        )

    async def _refuse_stream(self, requests: AsyncIterator[Any], context: Context) -> None:
        stream = RequestStream(requests)
        try:
            is_stranger = not arrived.get().caller.is_verified
            await stream.drain(self._control.pace.spend, is_stranger=is_stranger)
            await self._refuse(stream, context)
        finally:
            await stream.close()

    def _hear(self, arrival: Arrival) -> None:
        """Believe what some of the callers with a new token say they held back.

        Where all their calls are refused, no handler would ever verify them: a surge that lasts
        longer than their tokens would look smaller and smaller.
        """
        metadata = arrived_metadata.get()
        if HELD_BACK_KEY not in metadata or (now := self._clock()) < self._verify_at:
            return
        self._verify_at = now + _VERIFICATION_INTERVAL_S
        principal = self._verifier.verify_at_once(read_token(metadata))
        if principal is not None:
            arrival.recognise(principal, metadata)

    def _draw(self) -> tuple[bytes, str]:
        delay_s = self._control.retry_delay_s
        if delay_s != self._delay_s:
            self._delay_s = delay_s
            self._prepared = [_prepare(delay_s) for _ in range(_VARIANTS)]
        return random.choice(self._prepared)


def _find_hold_s(context: Context) -> float:
    # None without a deadline, which gRPC's types forget.
    remaining_s: float | None = context.time_remaining()
    return _HOLD_S if remaining_s is None else min(_HOLD_S, _HOLD_RATIO * remaining_s)


def _prepare(delay_s: float) -> tuple[bytes, str]:
    jittered_s = delay_s * random.uniform(1 - _JITTER_RATIO, 1 + _JITTER_RATIO)
    status = to_status(overloaded_error(jittered_s))
    return status.SerializeToString(), str(round(jittered_s * 1000))
