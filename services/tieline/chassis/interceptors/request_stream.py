"""What a caller sends on a stream, and what becomes of it when the call is refused.

gRPC's Python client loses an error that comes while it still writes, and reports INTERNAL in its
place. So before a call with a request stream ends with an error, what is on its way is read and
dropped.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, NoReturn, Self

from tieline.chassis.errors import InvalidArgumentError

# A caller that writes leaves smaller gaps; one that waits for an answer shall not wait long. Twice,
# since a loop that stood still sees that the time is over before it sees what arrived meanwhile.
_DRAIN_GAP_S = 0.1
_DRAIN_GAPS = 2

# 100 MB arrive within it from nearby; nobody may hold the call open for longer.
_DRAIN_S = 5.0

# Of strangers: two of the largest chunks of files. Who writes on may find INTERNAL in place of the
# reason, and else could have each replica read at full speed for as long as it likes.
_STRANGERS_MESSAGES = 64
_STRANGERS_BYTES = 2 * 1024 * 1024


class RequestStream:
    """The messages of one call, as an iterator.

    gRPC allows one read at a time and can't take one back: who is cancelled while waiting for a
    message leaves it to the next. So one task reads for as long as the stream is open, a message
    ahead of whoever iterates: a task for each message would cost as much as the message.
    """

    def __init__(self, requests: AsyncIterator[Any]) -> None:
        self._requests = requests
        self._reading: asyncio.Task[None] | None = None
        self._next: Any = None
        self._error: BaseException | None = None
        self._is_filled = asyncio.Event()
        self._is_taken = asyncio.Event()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        if self._reading is None:
            self._reading = asyncio.create_task(self._read(), name="request-stream")
        if self._next is None:
            await self._is_filled.wait()
        message = self._next
        if message is None:
            self._raise_end()
        self._next = None
        self._is_filled.clear()
        self._is_taken.set()
        return message

    def _raise_end(self) -> NoReturn:
        error, self._error = self._error, None
        if error is None:
            raise StopAsyncIteration
        # A message that could not be decoded is not the last one: whoever asks again reads on.
        self._reading = None
        self._is_filled.clear()
        raise error

    async def drain(self, charge: Callable[[], None], *, is_stranger: bool) -> None:
        """Drop what is still arriving, to its end, to a gap, or for 5 seconds.

        ``charge`` is called for each message. Of strangers, whose token nobody has verified, 64
        messages or 2 MiB are read, and no more.
        """
        left, left_bytes = _STRANGERS_MESSAGES, _STRANGERS_BYTES
        # What can't be decoded ends it as well: its sender has no use for a reason.
        with suppress(TimeoutError, InvalidArgumentError):
            async with asyncio.timeout(_DRAIN_S):
                while not is_stranger or (left > 0 and left_bytes > 0):
                    message = await self._next_within_gaps()
                    if message is None:
                        return
                    charge()
                    left -= 1
                    left_bytes -= _size_of(message)

    async def _next_within_gaps(self) -> Any:
        """Return the next message; None where there is none and none comes soon."""
        for _ in range(_DRAIN_GAPS):
            with suppress(TimeoutError):
                return await asyncio.wait_for(anext(self, None), _DRAIN_GAP_S)
        return None

    async def close(self) -> None:
        """Let go of a read that nobody waits for any more."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        try:
            async for message in self._requests:
                self._next = message
                self._is_filled.set()
                self._is_taken.clear()
                await self._is_taken.wait()
        except Exception as error:
            self._error = error
        except asyncio.CancelledError as error:
            self._error = error
            raise
        finally:
            # There is nothing more to wait for.
            self._is_filled.set()


def _size_of(message: Any) -> int:
    # Where nobody is to read it, gRPC leaves it as it came.
    return len(message) if isinstance(message, bytes) else int(message.ByteSize())
