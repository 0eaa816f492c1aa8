"""Calls as grpc.aio has them, for what Caller does: tokens, deadlines, retries, errors.

Each class stands for one of gRPC's kinds of call. What is sent begins as soon as the call is made,
as with grpc.aio itself; the call beneath exists a moment later, since a token may have to be
refreshed first.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Any, Generic, TypeVar

import grpc

from tieline.client.errors import TielineError

Request = TypeVar("Request")
Response = TypeVar("Response")

Begin = Callable[["LateCall"], Awaitable[Any]]


class StreamNotes:
    """Told what passes on a stream; this one learns nothing."""

    def sign(self, request: Any) -> Any:
        """Return the request as it is to be sent."""
        return request

    def note_response(self, response: Any) -> None:
        """Learn from a response."""

    def note_end(self, trailers: Any) -> None:
        """Learn from what the service sent at the end; may be told more than once."""


class LateCall:
    """Passes gRPC's questions about a call on to the latest attempt at it."""

    def __init__(self, begin: Begin) -> None:
        self.attempt: grpc.aio.Call | None = None
        self.translate: Callable[[grpc.aio.AioRpcError], TielineError] = TielineError.from_rpc_error
        self.notes = StreamNotes()
        """Told what passes, where the call is a stream."""

        self._task: asyncio.Task[Any] = asyncio.ensure_future(begin(self))

    def cancelled(self) -> bool:
        """Tell whether the call was cancelled on this side."""
        return self._task.cancelled() or (self.attempt is not None and self.attempt.cancelled())

    def done(self) -> bool:
        """Tell whether the call is over."""
        return self._task.done() and (self.attempt is None or self.attempt.done())

    def time_remaining(self) -> float | None:
        """Return the seconds until the latest attempt's deadline; None if there is none."""
        return None if self.attempt is None else self.attempt.time_remaining()

    def cancel(self) -> bool:
        """End the call; False if it is over."""
        is_cancelled = self._task.cancel()
        return (self.attempt is not None and self.attempt.cancel()) or is_cancelled

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Call back once the call is over, or for streams once it has begun."""
        self._task.add_done_callback(lambda _: callback(self))

    async def initial_metadata(self) -> grpc.aio.Metadata:
        """Return what the service sent ahead."""
        return await (await self._latest()).initial_metadata()

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        """Return what the service sent at the end."""
        return await (await self._latest()).trailing_metadata()

    async def code(self) -> grpc.StatusCode:
        """Return how the call ended."""
        return await (await self._latest()).code()

    async def details(self) -> str:
        """Return the status's text."""
        return await (await self._latest()).details()

    async def wait_for_connection(self) -> None:
        """Return once the call is on its way."""
        await (await self._latest()).wait_for_connection()

    async def _latest(self) -> grpc.aio.Call:
        await asyncio.wait([self._task])
        if self.attempt is None:
            await self._task
        assert self.attempt is not None, "a call that has begun has an attempt"
        return self.attempt


class UnaryCall(LateCall, grpc.aio.UnaryUnaryCall[Request, Response]):
    """One request, one response, as many attempts as it takes."""

    def __await__(self) -> Generator[Any, None, Response]:
        """Return the response, or raise TielineError."""
        return self._task.__await__()


class _StreamCall(LateCall):
    """A call that is more than one question and one answer; never repeated."""

    async def _do(self, step: Callable[[Any], Awaitable[Response]]) -> Response:
        # Cancelling one read must not cancel the beginning, which later reads need as well.
        call = await asyncio.shield(self._task)
        try:
            return await step(call)
        except grpc.aio.AioRpcError as error:
            self.notes.note_end(error.trailing_metadata())
            raise self.translate(error) from error


class _Reading(_StreamCall, Generic[Response]):
    """The side of a stream that responses come from."""

    def __aiter__(self) -> AsyncIterator[Response]:
        return self._read_all()

    async def read(self) -> Any:
        """Return the next response, or ``grpc.aio.EOF``."""
        response = await self._do(lambda call: call.read())
        if response is grpc.aio.EOF:
            self.notes.note_end(await self.trailing_metadata())
        else:
            self.notes.note_response(response)
        return response

    async def _read_all(self) -> AsyncIterator[Response]:
        while (response := await self.read()) is not grpc.aio.EOF:
            yield response


class _Writing(_StreamCall, Generic[Request]):
    """The side of a stream that requests go to."""

    async def write(self, request: Request) -> None:
        """Send one request."""
        await self._do(lambda call: call.write(self.notes.sign(request)))

    async def done_writing(self) -> None:
        """Tell the service that no more requests follow."""
        await self._do(lambda call: call.done_writing())


class ReadingCall(_Reading[Response], grpc.aio.UnaryStreamCall[Request, Response]):
    """One request, a stream of responses."""


class WritingCall(_Writing[Request], grpc.aio.StreamUnaryCall[Request, Response]):
    """A stream of requests, one response."""

    def __await__(self) -> Generator[Any, None, Response]:
        """Return the response, or raise TielineError."""
        return self._do(lambda call: call).__await__()


class TwoWayCall(
    _Reading[Response],
    _Writing[Request],
    grpc.aio.StreamStreamCall[Request, Response],
):
    """A stream of requests, a stream of responses."""
