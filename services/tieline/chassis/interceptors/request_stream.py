"""What a caller sends on a stream, and what becomes of it when the call is refused.

gRPC's Python client loses an error that comes while it still writes, and reports INTERNAL in its
place. So before a call with a request stream ends with an error, what is on its way is read and
dropped.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, NoReturn, Self

# A caller that writes leaves smaller gaps; one that waits for an answer shall not wait long. Twice,
# since a loop that stood still sees that the time is over before it sees what arrived meanwhile.
_DRAIN_GAP_S = 0.1
_DRAIN_GAPS = 2

# 100 MB arrive within it from nearby; nobody may hold the call open for longer.
_DRAIN_S = 5.0


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

    async def drain(self) -> None:
        """Drop what is still arriving, to its end, to a gap, or for 5 seconds."""
        gaps = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                while gaps < _DRAIN_GAPS:
                    try:
                        if await asyncio.wait_for(anext(self, None), _DRAIN_GAP_S) is None:
                            return
                        gaps = 0
                    except TimeoutError:
                        gaps += 1

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
