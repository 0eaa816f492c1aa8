"""One open SendMessages call: many messages on their way at a time, results in their order.

The window bounds what a client can make this replica hold. A full one stops the reading, and gRPC's
flow control then holds up the client: one that does not read its results can send no more.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress

from tieline.api.messaging.v1 import messaging_pb2, messaging_service_pb2
from tieline.chassis.ids import new_uuid7
from tieline.messaging.sending.results import write_result

# Of one request: a few commits' worth for a client that has everything ready.
MAX_REQUEST_MESSAGES = 64

# As many as a batch of the committer holds, at most 2 KiB of contents each; one request beyond it
# may have been read.
MAX_UNANSWERED = 256

# What is committed together is told together, 150 KiB at most.
_MAX_RESULTS = 64

# Of one person on this replica: more than anybody has devices, and no way to fill it alone.
MAX_SEND_STREAMS = 20

logger = logging.getLogger(__name__)

Begin = Callable[
    [messaging_service_pb2.SendMessagesRequest],
    "Awaitable[Iterator[asyncio.Future[messaging_pb2.Message]]]",
]
"""Hands a request's messages in. What is wrong with a message is its future's error; raising ends
the stream."""


class SendStream:
    """Reads requests, hands them in, and yields their results in order."""

    def __init__(
        self, requests: AsyncIterator[messaging_service_pb2.SendMessagesRequest], begin: Begin
    ) -> None:
        self._requests = requests
        self._begin = begin
        self._unanswered: deque[asyncio.Future[messaging_pb2.Message]] = deque()
        self._has_news = asyncio.Event()
        self._has_room = asyncio.Event()
        self._is_read = False

    async def run(self) -> AsyncGenerator[messaging_service_pb2.SendMessagesResponse, None]:
        """Yield the results of everything that is sent; then raise what ended the reading, if any.

        Left early, it takes back what is not being committed yet.
        """
        reading = asyncio.create_task(self._read(), name="send-stream")
        try:
            while await self._wait_for_result():
                yield self._take_results()
            await reading
        finally:
            reading.cancel()
            await asyncio.gather(reading, *self._cancel_unanswered(), return_exceptions=True)

    async def _read(self) -> None:
        try:
            async for request in self._requests:
                self._unanswered.extend(await self._begin(request))
                self._has_news.set()
                while len(self._unanswered) >= MAX_UNANSWERED:
                    self._has_room.clear()
                    await self._has_room.wait()
        finally:
            self._is_read = True
            self._has_news.set()

    async def _wait_for_result(self) -> bool:
        """Return once the oldest message has its result; False when there is no message left."""
        while not self._unanswered:
            if self._is_read:
                return False
            self._has_news.clear()
            await self._has_news.wait()
        oldest = self._unanswered[0]
        if not oldest.done():
            # Waited for itself, which costs a tenth of asyncio.wait: its outcome is taken later.
            with suppress(Exception):
                await oldest
        return True

    def _take_results(self) -> messaging_service_pb2.SendMessagesResponse:
        response = messaging_service_pb2.SendMessagesResponse()
        results = response.results
        while self._unanswered and self._unanswered[0].done() and len(results) < _MAX_RESULTS:
            outcome = self._unanswered.popleft()
            write_result(results.add(), outcome.exception() or outcome.result(), report_fault)
        self._has_room.set()
        return response

    def _cancel_unanswered(self) -> "list[asyncio.Future[messaging_pb2.Message]]":
        for outcome in self._unanswered:
            outcome.cancel()
        return list(self._unanswered)


def report_fault(error: BaseException) -> str:
    """Log a fault of ours in full; return its incident number."""
    incident = new_uuid7()
    logger.error("a message could not be stored; incident %s", incident, exc_info=error)
    return incident
