"""The caller's side of an import: the messages that it sends, in their order.

gRPC's Python client loses an error that comes while it still writes, and reports INTERNAL in its
place. So before an import ends with an error, what is on its way is read and dropped.
"""

import asyncio
from collections.abc import AsyncIterator

from tieline.api.directory.v1 import directory_service_pb2
from tieline.chassis.errors import InvalidArgumentError

MAX_CHUNK_BYTES = 1024 * 1024

# A caller that writes leaves smaller gaps; one that waits for an answer shall not wait long.
_DRAIN_GAP_S = 0.1

# 100 MB of a million rows arrive within it from nearby; nobody may hold the call open for longer.
_DRAIN_S = 5.0


class Upload:
    """The messages of one import's stream."""

    def __init__(self, requests: AsyncIterator[directory_service_pb2.ImportMembersRequest]) -> None:
        self._requests = requests
        # gRPC allows one read at a time and can't take one back: who is cancelled while waiting
        # leaves it to the next.
        self._reading: asyncio.Task[directory_service_pb2.ImportMembersRequest | None] | None = None

    async def read_config(self) -> directory_service_pb2.ImportMembersConfig:
        """Return the first message's config."""
        first = await self._read()
        if first is None or first.WhichOneof("content") != "config":
            raise InvalidArgumentError({"config": "must be in the first message"})
        return first.config

    async def read_chunks(self) -> AsyncIterator[bytes]:
        """Yield the other messages' chunks."""
        while (request := await self._read()) is not None:
            if request.WhichOneof("content") != "chunk":
                raise InvalidArgumentError({"chunk": "must be in every message after the first"})
            if len(request.chunk) > MAX_CHUNK_BYTES:
                raise InvalidArgumentError({"chunk": f"must have at most {MAX_CHUNK_BYTES} bytes"})
            yield request.chunk

    async def drain(self) -> None:
        """Drop what is still arriving, to its end, to the first gap, or for 5 seconds."""
        try:
            async with asyncio.timeout(_DRAIN_S):
                while await asyncio.wait_for(self._read(), _DRAIN_GAP_S) is not None:
                    pass
        except TimeoutError:
            return

    async def close(self) -> None:
        """Let go of a read that nobody waits for any more."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> directory_service_pb2.ImportMembersRequest | None:
        if self._reading is None:
            self._reading = asyncio.create_task(_next(self._requests))
        try:
            return await asyncio.shield(self._reading)
        finally:
            if self._reading.done():
                self._reading = None


async def _next(
    requests: AsyncIterator[directory_service_pb2.ImportMembersRequest],
) -> directory_service_pb2.ImportMembersRequest | None:
    return await anext(requests, None)
