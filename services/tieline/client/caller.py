"""How one party calls one service: with which token, until when, and how often again."""

import asyncio
import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import Message

from tieline.client.callee_level import (
    HELD_BACK_KEY,
    PREVIOUS_ATTEMPTS_KEY,
    PROBE_INTERVAL_S,
    CalleeLevel,
    find_business_class,
)
from tieline.client.calls import LateCall
from tieline.client.credentials import Credentials
from tieline.client.errors import OVERLOADED, REQUEST_ID_KEY, TOKEN_EXPIRED, TielineError
from tieline.client.retries import (
    RetryBudget,
    RetryPolicy,
    is_repeatable,
    plan_retry,
    with_request_id,
)
from tieline.client.stream_level import StreamLevel, find_told, find_told_by_response

AUTHORIZATION_KEY = "authorization"


@dataclass(frozen=True, slots=True)
class CallOptions:
    """What grpc.aio takes beside the request."""

    timeout_s: float | None
    metadata: Any
    others: dict[str, Any]


class Caller:
    """Makes the calls of one party to one service."""

    def __init__(
        self,
        credentials: Credentials[Any] | None,
        policy: RetryPolicy,
        budget: RetryBudget,
        call_timeout_s: float,
        level: CalleeLevel,
    ) -> None:
        self._credentials = credentials
        self._policy = policy
        self._budget = budget
        self._call_timeout_s = call_timeout_s
        self._level = level
        self._user_level = 0
        """Of this party with the service; 0 until the first response tells it."""

    async def call(
        self,
        late: LateCall,
        invoke: Callable[..., Any],
        method: str,
        request: Message,
        options: CallOptions,
    ) -> Any:
        """Return the response; repeat the request while that is safe and may help."""
        timeout_s = self._call_timeout_s if options.timeout_s is None else options.timeout_s
        deadline = time.monotonic() + timeout_s
        request = with_request_id(request, _new_id)
        given_metadata = _with_request_id(options.metadata)
        name = method.rpartition("/")[2]
        plan = RetryPlan(self._policy, self._budget, is_repeatable(name, request))
        attempts = 0
        while True:
            self._check_level(method)
            metadata = await self._sign(late, given_metadata, deadline)
            held_back = self._level.take_held_back()
            metadata = (*metadata, *_tell(attempts, held_back))
            attempts += 1
            late.attempt = attempt = invoke(
                request,
                timeout=deadline - time.monotonic(),
                metadata=metadata,
                **options.others,
            )
            try:
                response = await attempt
                self._learn(find_told(await attempt.trailing_metadata()))
                self._learn(find_told_by_response(response))
                return response
            except grpc.aio.AioRpcError as rpc_error:
                if not self._learn(find_told(rpc_error.trailing_metadata())):
                    # The edge answered, or gRPC's core, or nobody.
                    self._level.give_back(held_back)
                error = late.translate(rpc_error)
                delay_s = plan.delay_s(error, deadline - time.monotonic())
                if delay_s is None:
                    raise error from rpc_error
            await asyncio.sleep(delay_s)

    async def begin(
        self,
        late: LateCall,
        invoke: Callable[..., Any],
        method: str,
        source: Any,
        options: CallOptions,
    ) -> Any:
        """Begin a call that is a stream in one direction or both; it has no deadline of ours."""
        self._check_level(method)
        until = time.monotonic() + self._call_timeout_s
        metadata = await self._sign(late, _with_request_id(options.metadata), until)
        late.notes = notes = StreamLevel(self._level, self._learn)
        metadata = (*metadata, *notes.begin())
        late.attempt = call = invoke(
            source, timeout=options.timeout_s, metadata=metadata, **options.others
        )
        return call

    def _check_level(self, method: str) -> None:
        """Raise OVERLOADED, as the service would, for a call that it has said it refuses."""
        if not self._level.lets_in(find_business_class(method), self._user_level):
            raise TielineError(
                grpc.StatusCode.UNAVAILABLE,
                "the service is overloaded; the call was not sent",
                reason=OVERLOADED,
                domain="tieline.dev",
                # Told apart from refusals of the service and of the edge.
                metadata={"ring": "caller"},
                retry_after_s=PROBE_INTERVAL_S,
            )

    def _learn(self, told: object) -> bool:
        """Record the level that an answer tells; False where the service told none."""
        user_level = self._level.note(told)
        if user_level is None:
            return False
        self._user_level = user_level
        return True

    async def _sign(self, late: LateCall, metadata: Any, deadline: float) -> Any:
        """Return the metadata with a token, and have the call report one that has expired."""
        credentials = self._credentials
        if credentials is None:
            return metadata
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                token = await credentials.access_token()
        except TimeoutError:
            raise TielineError(
                grpc.StatusCode.DEADLINE_EXCEEDED, "the session was not refreshed in time"
            ) from None

        def translate(rpc_error: grpc.aio.AioRpcError) -> TielineError:
            error = TielineError.from_rpc_error(rpc_error)
            if error.reason == TOKEN_EXPIRED:
                credentials.note_expired(token)
            return error

        late.translate = translate
        return (*metadata, (AUTHORIZATION_KEY, f"Bearer {token}"))


class RetryPlan:
    """Decides, for one request, whether it goes out again."""

    def __init__(self, policy: RetryPolicy, budget: RetryBudget, is_safe: bool) -> None:
        self._policy = policy
        self._budget = budget
        self._is_safe = is_safe
        self._attempt = 0
        self._has_new_token = False
        budget.note_call()

    def delay_s(self, error: TielineError, remaining_s: float) -> float | None:
        """Return the seconds to wait before the next attempt, or None if there is none."""
        if error.reason == TOKEN_EXPIRED and not self._has_new_token:
            # Refused before anything was done, so this is safe for every request.
            self._has_new_token = True
            return 0.0
        delay_s = plan_retry(
            error,
            attempt=self._attempt,
            remaining_s=remaining_s,
            policy=self._policy,
            draw=random.random(),
        )
        self._attempt += 1
        is_safe = self._is_safe or error.reason == OVERLOADED
        if delay_s is None or not is_safe or not self._budget.try_spend():
            return None
        return delay_s


def _tell(attempts: int, held_back: str) -> list[tuple[str, str]]:
    told = []
    if attempts:
        told.append((PREVIOUS_ATTEMPTS_KEY, str(attempts)))
    if held_back:
        told.append((HELD_BACK_KEY, held_back))
    return told


def _with_request_id(metadata: Any) -> tuple[tuple[str, str | bytes], ...]:
    """Give the request one name in all logs, which stays the same over attempts."""
    given = tuple(metadata or ())
    if any(key == REQUEST_ID_KEY for key, _ in given):
        return given
    return (*given, (REQUEST_ID_KEY, _new_id()))


def _new_id() -> str:
    return str(uuid.uuid4())
