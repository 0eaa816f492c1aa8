"""The pipeline around one method's handler: flat, one coroutine for all concerns.

The order is the package's. Each line here runs for each call, so the costs are counted: a wrapper
per concern, an SDK span or an SDK measurement would each cost more than all of this together.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from time import monotonic, perf_counter
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from tieline.chassis.addresses import Network, find_client_address, read_address
from tieline.chassis.admission.control import AdmissionControl
from tieline.chassis.admission.priorities import class_of
from tieline.chassis.authentication import TokenVerifier
from tieline.chassis.calls import Call, current
from tieline.chassis.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    ServiceError,
)
from tieline.chassis.grpc_context import Context
from tieline.chassis.health import Health
from tieline.chassis.interceptors.access import AccessRule
from tieline.chassis.interceptors.access_log import log_call
from tieline.chassis.interceptors.arrivals import Arrival, arrived
from tieline.chassis.interceptors.call_metadata import Metadata, arrived_metadata, read_token
from tieline.chassis.interceptors.call_metrics import CallMetrics
from tieline.chassis.interceptors.error_mapping import (
    Failure,
    describe_fault,
    describe_service_error,
)
from tieline.chassis.interceptors.refusals import ADMISSION_KEY
from tieline.chassis.interceptors.request_ids import REQUEST_ID_KEY, accept_request_id
from tieline.chassis.interceptors.request_stream import RequestStream
from tieline.chassis.interceptors.response_streams import ResponseStreams
from tieline.chassis.interceptors.tracing import CallTracing, SampledCall

# Of a call in the mean service time: it tells of the last hundred calls.
_SERVICE_TIME_WEIGHT = 0.01

_FORWARDED_FOR_KEY = "x-forwarded-for"


@dataclass(frozen=True, slots=True)
class CallLimits:
    """What bounds a call, and what is told of it."""

    default_deadline_s: float = 20.0
    """Deadline of unary calls that come without one."""

    slow_call_s: float = 1.0
    """Unary calls that take longer are logged."""

    trace_sample_ratio: float = 0.01
    """Share of calls without an incoming trace that are traced and logged."""

    trusted_proxies: Sequence[Network] = ()
    """Who is believed about whom it forwards calls for."""


@dataclass(slots=True)
class SharedParts:
    """What all methods of a server share."""

    verifier: TokenVerifier
    health: Health
    metrics: CallMetrics
    tracing: CallTracing
    limits: CallLimits
    response_streams: ResponseStreams
    control: AdmissionControl


class GuardedMethod:
    """One method and the pipeline around its handler."""

    def __init__(
        self,
        method: str,
        bare: grpc.RpcMethodHandler[Any, Any],
        rule: AccessRule,
        parts: SharedParts,
    ) -> None:
        self._method = method
        self._bare = bare
        self._rule = rule
        self._parts = parts
        self._limits = parts.limits
        self._metrics = parts.metrics.bind(method)
        self._is_unary = not (bare.request_streaming or bare.response_streaming)
        # Streams are long by nature.
        self._slow_s = parts.limits.slow_call_s if self._is_unary else math.inf
        self._behaviour = _find_behaviour(bare)
        self._is_generator = inspect.isasyncgenfunction(self._behaviour)
        self._respond = self._choose_respond()

    def build_handler(self) -> grpc.RpcMethodHandler[Any, Any]:
        """Return a handler of the same kind whose messages are coded within the pipeline.

        Left to gRPC, a request that is no message of its type ends as UNKNOWN with a traceback.
        """
        bare = self._bare
        if bare.request_streaming and bare.response_streaming:
            return grpc.stream_stream_rpc_method_handler(
                self._handle_stream, self._decode, self._encode_streamed
            )
        if bare.request_streaming:
            return grpc.stream_unary_rpc_method_handler(self._handle_stream, self._decode, None)
        if bare.response_streaming:
            return grpc.unary_stream_rpc_method_handler(self._handle, None, self._encode_streamed)
        return grpc.unary_unary_rpc_method_handler(self._handle, None, None)

    async def _handle_stream(self, requests: AsyncIterator[Any], context: Context) -> Any:
        stream = RequestStream(requests)
        try:
            return await self._handle(stream, context)
        finally:
            await stream.close()

    async def _handle(self, request: Any, context: Context) -> Any:
        """Walk the pipeline. What the handler raises ends the call here, in one place."""
        begun_at = perf_counter()
        parts = self._parts
        metadata = arrived_metadata.get()
        arrival = arrived.get()
        priority = arrival.priority
        control = parts.control
        call = Call(
            self._method,
            accept_request_id(metadata.get(REQUEST_ID_KEY)),
            priority=priority,
            admission=arrival,
            find_address=partial(self._find_address, metadata, context),
        )
        current.set(call)
        sampled = parts.tracing.begin(call, metadata)
        parts.metrics.in_flight += 1
        control.in_flight += self._is_unary
        code = "OK"
        try:
            await self._admit(call, metadata, context, arrival)
            arrival.had_its_turn = True
            context.set_trailing_metadata(
                (
                    (REQUEST_ID_KEY, call.request_id),
                    (ADMISSION_KEY, control.tell(priority, arrival.corp)),
                )
            )
            response = await self._respond(request, context)
            if not self._is_unary:
                # What was said above is as old as the stream.
                told = (ADMISSION_KEY, control.tell(priority, arrival.corp))
                context.set_trailing_metadata(((REQUEST_ID_KEY, call.request_id), told))
            return response
        except BaseException as error:
            failure = self._describe(error, call)
            if failure is None:
                code = _code_without_answer(error, call, context)
                raise
            arrival.had_its_turn = True
            code = failure.code.name
            if isinstance(request, RequestStream):
                is_stranger = not arrival.caller.is_verified
                await request.drain(control.pace.spend, is_stranger=is_stranger)
            told = (ADMISSION_KEY, control.tell(priority, arrival.corp))
            await context.abort(failure.code, failure.text, (*failure.trailing_metadata, told))
        finally:
            # gRPC frees what the context looks at: a task that outlives the call must not ask it.
            call.find_address = str
            parts.metrics.in_flight -= 1
            control.in_flight -= self._is_unary
            self._note_end(call, code, perf_counter() - begun_at, sampled)

    def _find_address(self, metadata: Metadata, context: Context) -> str:
        return find_client_address(
            read_address(context.peer()),
            str(metadata.get(_FORWARDED_FOR_KEY, "")),
            self._limits.trusted_proxies,
        )

    def _note_end(
        self, call: Call, code: str, duration_s: float, sampled: SampledCall | None
    ) -> None:
        self._metrics.record(code, duration_s)
        if self._is_unary:
            control = self._parts.control
            control.service_s += _SERVICE_TIME_WEIGHT * (duration_s - control.service_s)
        if sampled is not None or code != "OK" or duration_s > self._slow_s:
            self._report(call, code, duration_s, sampled)

    def _report(
        self, call: Call, code: str, duration_s: float, sampled: SampledCall | None
    ) -> None:
        # A client that hangs up ends a subscription the normal way; a line each would be noise.
        is_notable = sampled is not None or duration_s > self._slow_s
        if code != "CANCELLED" or is_notable:
            log_call(call, code, duration_s, is_notable=is_notable)
        if sampled is not None:
            sampled.end(code)

    async def _admit(
        self, call: Call, metadata: Metadata, context: Context, arrival: Arrival
    ) -> None:
        """Refuse the call, or fill in who calls and until when."""
        parts = self._parts
        if not parts.health.takes_calls:
            parts.health.check_takes_calls()
        remaining_s = _remaining_s(context)
        if remaining_s is not None:
            if remaining_s <= 0:
                parts.control.counts.expired[class_of(call.priority)] += 1
                raise DeadlineExceededError(
                    "DEADLINE_PASSED", "the deadline had passed before the work began"
                )
            call.deadline = monotonic() + remaining_s
        elif self._is_unary:
            call.deadline = monotonic() + self._limits.default_deadline_s
        if self._rule.anonymous:
            return
        token = read_token(metadata)
        principal = parts.verifier.find_verified(token)
        if principal is None:
            principal = await parts.verifier.verify(token)
        call.principal = principal
        if not arrival.caller.is_verified:
            arrival.recognise(principal, metadata)
        self._rule.check(principal, self._method)

    def _choose_respond(self) -> Callable[[Any, Any], Awaitable[Any]]:
        if self._bare.response_streaming:
            return self._respond_with_stream
        if self._bare.request_streaming:
            return self._respond_to_stream
        return self._respond_to_one

    async def _respond_to_one(self, raw: bytes, context: Context) -> bytes:
        request = self._decode(raw)
        if _remaining_s(context) is None:
            response = await self._run_to_default_deadline(request, context)
        else:
            response = await self._behaviour(request, context)
        return self._encode(response)

    async def _run_to_default_deadline(self, request: Any, context: Context) -> Any:
        """Bound a call whose caller set no deadline; the others are bounded by gRPC itself."""
        limit_s = self._limits.default_deadline_s
        timeout = asyncio.timeout(limit_s)
        try:
            async with timeout:
                return await self._behaviour(request, context)
        except TimeoutError:
            if not timeout.expired():
                raise
            raise DeadlineExceededError(
                "DEADLINE_PASSED", f"the default deadline of {limit_s:g} s has passed"
            ) from None

    async def _respond_to_stream(self, requests: AsyncIterator[Any], context: Context) -> bytes:
        return self._encode(await self._behaviour(requests, context))

    async def _respond_with_stream(self, request: Any, context: Context) -> None:
        """Send the responses. Closes the handler's generator in this task, whatever happens."""
        if not self._bare.request_streaming:
            request = self._decode(request)
        call = current.get()
        principal = None if call is None else call.principal
        async with self._parts.response_streams.open(principal):
            await self._send_responses(request, context)

    async def _send_responses(self, request: Any, context: Context) -> None:
        if not self._is_generator:
            await self._behaviour(request, context)
            return
        async with aclosing(self._behaviour(request, context)) as responses:
            async for response in responses:
                await _write(response, context)

    def _decode(self, raw: bytes) -> Any:
        decode = self._bare.request_deserializer
        if decode is None:
            return raw
        try:
            return decode(raw)
        except (DecodeError, ValueError) as error:
            raise InvalidArgumentError({"request": "must be a message of its type"}) from error

    def _encode(self, response: Any) -> bytes:
        encode = self._bare.response_serializer
        return encode(response) if encode is not None else response

    def _encode_streamed(self, response: Any) -> bytes:
        """As `_encode`; a response that many streams share comes encoded, once for all of them."""
        return response if isinstance(response, bytes) else self._encode(response)

    def _describe(self, error: BaseException, call: Call) -> Failure | None:
        """Return what to answer; None where the call has its answer or nobody waits for one."""
        if isinstance(error, ServiceError):
            return describe_service_error(error, call)
        if isinstance(error, Exception) and not isinstance(error, grpc.aio.AbortError):
            return describe_fault(error, call)
        return None


async def _write(response: Any, context: Context) -> None:
    try:
        await context.write(response)
    except grpc.aio.InternalError:
        # The client hung up in the middle of the write, and its cancellation is on its way.
        raise asyncio.CancelledError from None


def _find_behaviour(bare: grpc.RpcMethodHandler[Any, Any]) -> Callable[[Any, Any], Any]:
    behaviour = bare.unary_unary or bare.unary_stream or bare.stream_unary or bare.stream_stream
    assert behaviour is not None, "a method handler has one behaviour"
    assert inspect.iscoroutinefunction(behaviour) or inspect.isasyncgenfunction(behaviour), (
        f"{behaviour} must be async: a thread per call is not what this server is made for"
    )
    return behaviour


def _remaining_s(context: Any) -> float | None:
    """Return the seconds to the caller's deadline; None without one, which gRPC's types forget."""
    remaining_s: float | None = context.time_remaining()
    return remaining_s


def _code_without_answer(error: BaseException, call: Call, context: Context) -> str:
    """Name the code of a call that its handler answered by itself, or that nobody waits for."""
    if isinstance(error, grpc.aio.AbortError):
        code: object = context.code()
        return code.name if isinstance(code, grpc.StatusCode) else "UNKNOWN"
    return "DEADLINE_EXCEEDED" if call.remaining_s() == 0 else "CANCELLED"
