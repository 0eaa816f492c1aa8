"""Many messages of one party on one stream, each stored once, whatever becomes of the stream.

One stream after the other: a new one begins with the messages that have no result yet, under the
ids that they had, so that the service recognises those it has stored. What is ready at the same
time goes out in one request.

A message that an overloaded service refuses has that as its result. What follows waits for the time
that the service named, then one message finds out whether it would be refused as well.
"""

import asyncio
import logging
import random
import time
import uuid
from collections import deque
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Any, Self

import grpc

from tieline.api.messaging.v1 import (
    messaging_pb2,
    messaging_service_pb2,
    messaging_service_pb2_grpc,
)
from tieline.client.callee_level import PROBE_INTERVAL_S
from tieline.client.errors import OVERLOADED, TielineError
from tieline.client.interruptions import is_passing

# What the service takes in one request, and what it lets be without a result.
MAX_REQUEST_MESSAGES = 64
MAX_UNANSWERED = 256

FIRST_DELAY_S = 0.1
MAX_DELAY_S = 5.0

_CODES = {code.value[0]: code for code in grpc.StatusCode}

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Unanswered:
    message: messaging_pb2.OutgoingMessage
    result: asyncio.Future[messaging_pb2.Message]


class MessageSender:
    """An async context manager by which one party sends much in one corp.

    Calls of ``send`` at the same time share the stream; those for one conversation are numbered in
    the order in which ``send`` was called. At most 256 are under way, further ones wait.
    """

    def __init__(
        self, messaging: messaging_service_pb2_grpc.MessagingServiceStub, *, corp_id: str = ""
    ) -> None:
        self._messaging = messaging
        self._corp_id = corp_id
        self._unanswered: deque[_Unanswered] = deque()
        self._written = 0
        self._room = asyncio.Semaphore(MAX_UNANSWERED)
        self._has_messages = asyncio.Event()
        self._error: TielineError | None = None
        self._task: asyncio.Task[None] | None = None
        self._held_until = 0.0
        self._is_held_back = False
        self.interruptions = 0
        """How often a stream ended and another one was made."""

    async def send(
        self,
        conversation_id: str,
        content: messaging_pb2.MessageContent,
        *,
        client_message_id: str = "",
    ) -> messaging_pb2.Message:
        """Return the message as stored; raise TielineError with the reason why it is not.

        Without a ``client_message_id`` the message gets one that nobody has used. After UNAVAILABLE
        it may be stored nevertheless: send it again under an id of your own.
        """
        message = messaging_pb2.OutgoingMessage(
            conversation_id=conversation_id,
            client_message_id=client_message_id or str(uuid.uuid4()),
            content=content,
        )
        await self._room.acquire()
        if self._error is not None:
            self._room.release()
            raise self._error
        unanswered = _Unanswered(message, asyncio.get_running_loop().create_future())
        self._unanswered.append(unanswered)
        self._has_messages.set()
        return await unanswered.result

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="message-sender")
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        assert self._task is not None, "entered"
        self._task.cancel()
        await asyncio.wait([self._task])
        self._fail(TielineError(grpc.StatusCode.CANCELLED, "the sender was left"))

    async def _run(self) -> None:
        delay_s = FIRST_DELAY_S
        while True:
            self._written = 0
            if not self._unanswered:
                self._has_messages.clear()
                await self._has_messages.wait()
            had = len(self._unanswered)
            try:
                await self._follow_one_stream()
            except TielineError as error:
                if not is_passing(error):
                    self._fail(error)
                    return
                logger.info("send stream ended: %s", error)
                if error.reason == OVERLOADED:
                    self._hold_back(error.pushback_s or error.retry_after_s)
                delay_s = FIRST_DELAY_S if len(self._unanswered) < had else delay_s
            self.interruptions += 1
            held_s = self._held_until - time.monotonic()
            await asyncio.sleep(max(held_s, delay_s * random.random()))
            delay_s = min(delay_s * 2, MAX_DELAY_S)

    async def _follow_one_stream(self) -> None:
        call = self._messaging.SendMessages()
        writing = asyncio.create_task(self._write(call))
        try:
            async for response in call:
                for result in response.results:
                    self._take(result)
        finally:
            writing.cancel()
            call.cancel()
            await asyncio.gather(writing, return_exceptions=True)

    async def _write(self, call: Any) -> None:
        while True:
            self._has_messages.clear()
            held_s = self._held_until - time.monotonic()
            if held_s > 0:
                await asyncio.sleep(held_s)
            # Held back, one message at a time finds out how things are.
            most = 1 if self._is_held_back else self._written + MAX_REQUEST_MESSAGES
            ready = islice(self._unanswered, self._written, max(most, self._written))
            messages = [unanswered.message for unanswered in ready]
            if not messages:
                await self._has_messages.wait()
                continue
            self._written += len(messages)
            # What this raises, reading the call raises as well.
            await call.write(
                messaging_service_pb2.SendMessagesRequest(corp_id=self._corp_id, messages=messages)
            )

    def _take(self, result: messaging_pb2.SendResult) -> None:
        unanswered = self._unanswered.popleft()
        self._written -= 1
        self._room.release()
        if result.error.reason == OVERLOADED:
            self._hold_back(_read_error(result.error).retry_after_s)
            self._has_messages.set()
        elif self._is_held_back:
            self._is_held_back = False
            self._has_messages.set()
        if unanswered.result.done():
            return  # its caller was cancelled
        if result.HasField("message"):
            unanswered.result.set_result(result.message)
        else:
            unanswered.result.set_exception(_read_error(result.error))

    def _hold_back(self, seconds: float | None) -> None:
        # Those who are refused together shall not come back together.
        wait_s = (seconds or PROBE_INTERVAL_S) * random.uniform(0.8, 1.2)
        self._held_until = max(self._held_until, time.monotonic() + wait_s)
        self._is_held_back = True

    def _fail(self, error: TielineError) -> None:
        """Let everybody who waits, and everybody who comes, have the error."""
        self._error = error
        while self._unanswered:
            unanswered = self._unanswered.popleft()
            self._room.release()
            if not unanswered.result.done():
                unanswered.result.set_exception(error)


def _read_error(error: messaging_pb2.SendError) -> TielineError:
    retry_after_s = None
    if error.HasField("retry_delay"):
        retry_after_s = error.retry_delay.ToTimedelta().total_seconds()
    return TielineError(
        _CODES.get(error.code, grpc.StatusCode.UNKNOWN),
        error.text,
        reason=error.reason,
        domain="tieline.dev",
        metadata=dict(error.metadata),
        violations=dict(error.violations),
        retry_after_s=retry_after_s,
    )
