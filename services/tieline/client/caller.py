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

from tieline.client.calls import LateCall
from tieline.client.credentials import Credentials
from tieline.client.errors import REQUEST_ID_KEY, TOKEN_EXPIRED, TielineError
from tieline.client.retries import (
    RetryBudget,
    RetryPolicy,
    is_repeatable,
    plan_retry,
    with_request_id,
)

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
        credentials: Credentials | None,
        policy: RetryPolicy,
        budget: RetryBudget,
        call_timeout_s: float,
    ) -> None:
        self._credentials = credentials
        self._policy = policy
        self._budget = budget
        self._call_timeout_s = call_timeout_s

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
        plan = RetryPlan(self._policy, self._budget, is_repeatable(method, request))
        while True:
            metadata = await self._sign(late, given_metadata, deadline)
            late.attempt = attempt = invoke(
                request,
                timeout=deadline - time.monotonic(),
                metadata=metadata,
                **options.others,
            )
            try:
                return await attempt
            except grpc.aio.AioRpcError as rpc_error:
                error = late.translate(rpc_error)
                delay_s = plan.delay_s(error, deadline - time.monotonic())
                if delay_s is None:
                    raise error from rpc_error
            await asyncio.sleep(delay_s)

    async def begin(
        self, late: LateCall, invoke: Callable[..., Any], source: Any, options: CallOptions
    ) -> Any:
        """Begin a call that is a stream in one direction or both; it has no deadline of ours."""
        until = time.monotonic() + self._call_timeout_s
        metadata = await self._sign(late, _with_request_id(options.metadata), until)
        late.attempt = call = invoke(
            source, timeout=options.timeout_s, metadata=metadata, **options.others
        )
        return call

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
        if delay_s is None or not self._is_safe or not self._budget.try_spend():
            return None
        return delay_s


def _with_request_id(metadata: Any) -> tuple[tuple[str, str | bytes], ...]:
    """Give the request one name in all logs, which stays the same over attempts."""
    given = tuple(metadata or ())
    if any(key == REQUEST_ID_KEY for key, _ in given):
        return given
    return (*given, (REQUEST_ID_KEY, _new_id()))


def _new_id() -> str:
    return str(uuid.uuid4())
