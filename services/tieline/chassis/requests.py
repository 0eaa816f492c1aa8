"""Questions between services: protobuf requests and replies over NATS' service API.

``requests.<service>.v1.<method>`` reaches one replica of the service. With a request travel what
is left of its deadline (a duration: clocks differ), the caller, the priority, the request id and
the trace. A ServiceError of the answering side is raised again by ``ask`` as it was; a fault over
there is an InternalError here, which tells the caller nothing.

A replica that is overloaded refuses questions by priority as it refuses calls, and every answer
tells its level: what would be refused is then not asked. Questions are never sent again from here;
that is for whoever began it all, or each hop would multiply the retries of the one before.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

import nats.errors
import nats.micro
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2, status_pb2
from nats.micro.request import ERROR_CODE_HEADER, Request
from nats.micro.service import Service
from opentelemetry import trace

from tieline.chassis.admission.callee_levels import CalleeLevel
from tieline.chassis.admission.control import AdmissionControl
from tieline.chassis.admission.priorities import DEFAULT_PRIORITY, class_of, read_priority
from tieline.chassis.broker import Broker, check_connected
from tieline.chassis.calls import Call, entered, find_call
from tieline.chassis.errors import (
    RETRY_DELAY_S,
    DeadlineExceededError,
    InvalidArgumentError,
    ServiceError,
    UnavailableError,
    overloaded_error,
)
from tieline.chassis.health import RETRY_AFTER_S
from tieline.chassis.message_headers import (
    LEVEL_HEADER,
)
from tieline.chassis.request_headers import build_headers, read_call
from tieline.chassis.statuses import from_status, to_status
from tieline.chassis.telemetry import extract_context

# Handlers of one replica at the same time; more wait for their turn while their deadlines run.
_MAX_HANDLERS = 256

# Some seconds of work; who comes later would be past its deadline before its turn.
_MAX_WAITING = 4096

_DRAIN_TIMEOUT_S = 5.0

# Prefix of the subjects on which askers wait for answers.
_INBOX = "_INBOX."

_levels: WeakKeyDictionary[Broker, dict[str, CalleeLevel]] = WeakKeyDictionary()

M = TypeVar("M", bound=Message)
R = TypeVar("R", bound=Message)

_tracer = trace.get_tracer("tieline.chassis")
logger = logging.getLogger(__name__)


class InternalError(Exception):
    """The other service failed by a fault of its own; its log has the cause."""


@dataclass(frozen=True, slots=True)
class RequestHandler(Generic[M, R]):
    """What answers one method."""

    request_type: type[M]
    answer: Callable[[M], Awaitable[R]]
    """Runs with the request's Call as the current one; its ServiceErrors reach the asker."""


async def ask(
    broker: Broker,
    service: str,
    method: str,
    request: Message,
    response_type: type[M],
    *,
    timeout_s: float = 2.0,
    priority: int | None = None,
) -> M:
    """Return the answer of ``service``, or raise the ServiceError that it answered with.

    ``method`` is in snake case, as in the handlers that it gives to ``answering``.

    Waits no longer than ``timeout_s`` and the current call's deadline. UnavailableError:
    BROKER_UNAVAILABLE at once while NATS is away, SERVICE_UNAVAILABLE (metadata ``service``) when
    no replica is there or none answers in time. What was asked may have been done all the same.
    OVERLOADED: nothing was done. ``priority`` None means the current call's.
    """
    check_connected(broker)
    if priority is None:
        call = find_call()
        priority = DEFAULT_PRIORITY if call is None else call.priority
    level = _level_of(broker, service)
    if not level.lets_in(priority):
        raise overloaded_error(RETRY_DELAY_S)
    subject = _build_subject(service, method)
    timeout_s = _shorten_to_deadline(timeout_s)
    try:
        reply = await broker.request(
            subject,
            request.SerializeToString(),
            timeout=timeout_s,
            headers=build_headers(timeout_s, priority),
        )
    except (
        nats.errors.TimeoutError,
        nats.errors.NoRespondersError,
        nats.errors.ConnectionClosedError,
        nats.errors.ConnectionDrainingError,
        nats.errors.OutboundBufferLimitError,
    ):
        _shorten_to_deadline(timeout_s)
        raise _unavailable_error(service, f"{service} does not answer") from None
    headers = reply.headers or {}
    told = read_priority(headers.get(LEVEL_HEADER))
    if told is not None:
        level.note(told)
    if ERROR_CODE_HEADER in headers:
        error = _read_error(reply.data, subject)
        if isinstance(error, UnavailableError) and error.reason == "OVERLOADED":
            level.hold_off(error.retry_after_s or RETRY_DELAY_S)
        raise error
    return response_type.FromString(reply.data)


@asynccontextmanager
async def answering(
    broker: Broker,
    service: str,
    handlers: Mapping[str, RequestHandler[Any, Any]],
    *,
    control: AdmissionControl | None = None,
) -> AsyncIterator[None]:
    """Answer the service's requests, ``method_in_snake_case`` -> handler, until the block is left.

    ``control`` refuses by priority; without it everything is taken. Leaving the block takes no new
    requests, and gives those being handled 5 seconds to end.
    """
    endpoint = await nats.micro.add_service(
        broker, name=service, version="1.0.0", queue_group=service
    )
    answers = _Answers(service, control)
    try:
        for method, handler in handlers.items():
            await endpoint.add_endpoint(
                name=method,
                subject=_build_subject(service, method),
                handler=answers.build_receiver(handler),
            )
        # The server knows of the subscriptions once it has answered a ping that follows them.
        await broker.flush()
        yield
    finally:
        await _stop(endpoint)
        await answers.drain()


class _Answers:
    """The requests being handled."""

    def __init__(self, service: str, control: AdmissionControl | None) -> None:
        self._service = service
        self._control = control
        self._free = asyncio.Semaphore(_MAX_HANDLERS)
        self._tasks: set[asyncio.Task[None]] = set()

    def build_receiver(
        self, handler: RequestHandler[Any, Any]
    ) -> Callable[[Request], Awaitable[None]]:
        async def receive(request: Request) -> None:
            received = time.monotonic()
            # The server lets whoever answers publish to the subject that the asker names. Answers
            # go to inboxes alone, or one service could have another delete streams or forge events.
            if not request._msg.reply.startswith(_INBOX):
                logger.warning("%s: an answer was asked for at no inbox", request.subject)
                return
            if len(self._tasks) >= _MAX_HANDLERS + _MAX_WAITING:
                text = f"{self._service} has too many requests waiting"
                await _respond_error(request, to_status(_unavailable_error(self._service, text)))
                return
            # A task for each: a subscription delivers its next message when this returns.
            task = asyncio.create_task(
                _answer(request, handler, received, self._free, self._control),
                name=request.subject,
            )
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return receive

    async def drain(self) -> None:
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_DRAIN_TIMEOUT_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


async def _answer(
    request: Request,
    handler: RequestHandler[Any, Any],
    received: float,
    free: asyncio.Semaphore,
    control: AdmissionControl | None,
) -> None:
    headers = request.headers or {}
    try:
        call = read_call(request.subject, headers, received)
    except InvalidArgumentError as error:
        await _respond_error(request, to_status(error), _tell_level(control))
        return
    with entered(call):
        try:
            if control is not None:
                _check_admitted(call, control, received)
            with _tracer.start_as_current_span(
                request.subject,
                extract_context(headers),
                trace.SpanKind.SERVER,
                record_exception=False,
            ):
                response = await _handle(request, handler, call, free)
            await request.respond(response.SerializeToString(), headers=_tell_level(control))
        except ServiceError as error:
            await _respond_error(request, to_status(error), _tell_level(control))
        except Exception:
            logger.exception("%s failed", request.subject)
            await _respond_error(request, status_pb2.Status(code=code_pb2.INTERNAL))


def _check_admitted(call: Call, control: AdmissionControl, received: float) -> None:
    control.note_queueing(time.monotonic() - received)
    # A corp's flood was held to its share where it entered.
    if not control.lets_in(call.priority, control.no_corp):
        raise overloaded_error(control.retry_delay_s)
    if call.remaining_s() == 0:
        control.counts.expired[class_of(call.priority)] += 1
        raise _deadline_passed_error()


def _tell_level(control: AdmissionControl | None) -> dict[str, str] | None:
    return None if control is None else {LEVEL_HEADER: str(control.level)}


async def _handle(
    request: Request, handler: RequestHandler[Any, Any], call: Call, free: asyncio.Semaphore
) -> Message:
    try:
        message = handler.request_type.FromString(request.data)
    except DecodeError:
        name = handler.request_type.DESCRIPTOR.full_name
        raise InvalidArgumentError({"request": f"must be a {name}"}) from None
    remaining_s = call.remaining_s()
    if remaining_s == 0:
        raise _deadline_passed_error()
    limit = asyncio.timeout(remaining_s)
    try:
        async with limit, free:
            response: Message = await handler.answer(message)
            return response
    except TimeoutError:
        if limit.expired():
            raise _deadline_passed_error() from None
        raise


async def _respond_error(
    request: Request, status: status_pb2.Status, headers: dict[str, str] | None = None
) -> None:
    try:
        await request.respond_error(
            str(status.code),
            code_pb2.Code.Name(status.code),
            status.SerializeToString(),
            headers=headers,
        )
    except nats.errors.Error as error:
        logger.warning("%s: the answer could not be sent: %s", request.subject, error)


def _read_error(data: bytes, subject: str) -> Exception:
    try:
        error = from_status(status_pb2.Status.FromString(data))
    except (DecodeError, ValueError):
        error = None
    return error or InternalError(f"{subject} failed")


def _level_of(broker: Broker, service: str) -> CalleeLevel:
    levels = _levels.setdefault(broker, {})
    level = levels.get(service)
    if level is None:
        level = levels[service] = CalleeLevel(time.monotonic)
    return level


def _build_subject(service: str, method: str) -> str:
    return f"requests.{service}.v1.{method}"


def _shorten_to_deadline(timeout_s: float) -> float:
    call = find_call()
    remaining_s = None if call is None else call.remaining_s()
    if remaining_s is None:
        return timeout_s
    if remaining_s == 0:
        raise _deadline_passed_error()
    return min(timeout_s, remaining_s)


def _deadline_passed_error() -> DeadlineExceededError:
    return DeadlineExceededError("DEADLINE_PASSED", "the deadline passed before the answer")


def _unavailable_error(service: str, text: str) -> UnavailableError:
    return UnavailableError(
        "SERVICE_UNAVAILABLE", text, {"service": service}, retry_after_s=RETRY_AFTER_S
    )


async def _stop(endpoint: Service) -> None:
    try:
        await endpoint.stop()
    except nats.errors.Error as error:
        logger.debug("the broker's connection was closed first: %s", error)
