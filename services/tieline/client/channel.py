"""A gRPC channel that generated stubs work on, whose calls go through a Caller.

Wrapping the channel rather than the stubs keeps every generated type, and lets many signed-in
parties share one connection. Interceptors can't do that: they belong to a channel, and a channel
to one party.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from tieline.client.caller import Caller, CallOptions
from tieline.client.calls import ReadingCall, TwoWayCall, UnaryCall, WritingCall

Request = TypeVar("Request")
Response = TypeVar("Response")


class PartyChannel(grpc.aio.Channel):
    """One party's view of a channel and one for streams, which stay their owner's to close."""

    def __init__(
        self, channel: grpc.aio.Channel, streams: grpc.aio.Channel, caller: Caller
    ) -> None:
        self._channel = channel
        self._streams = streams
        self._caller = caller

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Make a method of one request and one response callable."""
        inner = self._channel.unary_unary(method, *args, **kwargs)
        return _Unary(inner, self._caller, method)

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Make a method with a stream of responses callable."""
        inner = self._streams.unary_stream(method, *args, **kwargs)
        return _Stream(ReadingCall, inner, self._caller, method)

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Make a method with a stream of requests callable."""
        inner = self._streams.stream_unary(method, *args, **kwargs)
        return _Stream(WritingCall, inner, self._caller, method)

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Make a method with streams in both directions callable."""
        inner = self._streams.stream_stream(method, *args, **kwargs)
        return _Stream(TwoWayCall, inner, self._caller, method)

    async def close(self, grace: float | None = None) -> None:
        """Leave the channel open: other parties call through it as well."""

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Return the state of the connection for calls."""
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Return once that state is another one."""
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Return once there is a connection for calls."""
        await self._channel.channel_ready()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        return None


class _Unary(grpc.aio.UnaryUnaryMultiCallable[Any, Any]):
    def __init__(self, inner: Callable[..., Any], caller: Caller, method: str) -> None:
        self._inner = inner
        self._caller = caller
        self._method = method

    def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: Any = None,
        **others: Any,
    ) -> Any:
        options = CallOptions(timeout, metadata, others)
        return UnaryCall(
            lambda late: self._caller.call(late, self._inner, self._method, request, options)
        )


class _Stream:
    """A method with a stream: its calls differ in their type only."""

    def __init__(
        self, kind: type[Any], inner: Callable[..., Any], caller: Caller, method: str
    ) -> None:
        self._method = method
        self._kind = kind
        self._inner = inner
        self._caller = caller

    def __call__(
        self,
        source: Any = None,
        timeout: float | None = None,
        metadata: Any = None,
        **others: Any,
    ) -> Any:
        options = CallOptions(timeout, metadata, others)
        return self._kind(
            lambda late: self._caller.begin(late, self._inner, self._method, source, options)
        )
