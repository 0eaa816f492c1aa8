"""What a caller sends on a stream, and what becomes of it when the call is refused.

gRPC's Python client loses an error that comes while it still writes, and reports INTERNAL in its
place. So before a call with a request stream ends with an error, what is on its way is read and
dropped.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Self

# A caller that writes leaves smaller gaps; one that waits for an answer shall not wait long.
_DRAIN_GAP_S = 0.1

# 100 MB arrive within it from nearby; nobody may hold the call open for longer.
_DRAIN_S = 5.0


class RequestStream:
    """The messages of one call, as an iterator.

    gRPC allows one read at a time and can't take one back: who is cancelled while waiting for a
    message leaves it to the next.
    """

    def __init__(self, requests: AsyncIterator[Any]) -> None:
        self._requests = requests
        self._reading: asyncio.Task[Any] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        if self._reading is None:
            self._reading = asyncio.create_task(_next(self._requests))
        try:
            message = await asyncio.shield(self._reading)
        finally:
            if self._reading.done():
                self._reading = None
        if message is None:
            raise StopAsyncIteration
        return message

    async def drain(self) -> None:
        """Drop what is still arriving, to its end, to the first gap, or for 5 seconds."""
        try:
            async with asyncio.timeout(_DRAIN_S):
                while await asyncio.wait_for(anext(self, None), _DRAIN_GAP_S) is not None:
                    pass
        except TimeoutError:
            return

    async def close(self) -> None:
        """Let go of a read that nobody waits for any more."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)


async def _next(requests: AsyncIterator[Any]) -> Any:
    return await anext(requests, None)
