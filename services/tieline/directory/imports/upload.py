"""The caller's side of an import: the messages that it sends, in their order."""

from collections.abc import AsyncIterator
from typing import TypeVar

from tieline.api.directory.v1 import directory_service_pb2, import_service_pb2
from tieline.chassis.errors import InvalidArgumentError

MAX_CHUNK_BYTES = 1024 * 1024

Request = TypeVar(
    "Request",
    directory_service_pb2.ImportMembersRequest,
    import_service_pb2.CreateImportJobRequest,
)


async def read_first(requests: AsyncIterator[Request]) -> Request:
    """Return the first message, which has the config."""
    first = await anext(requests, None)
    if first is None or first.WhichOneof("content") != "config":
        raise InvalidArgumentError({"config": "must be in the first message"})
    return first


async def read_chunks(requests: AsyncIterator[Request]) -> AsyncIterator[bytes]:
    """Yield the other messages' chunks."""
    async for request in requests:
        if request.WhichOneof("content") != "chunk":
            raise InvalidArgumentError({"chunk": "must be in every message after the first"})
        if len(request.chunk) > MAX_CHUNK_BYTES:
            raise InvalidArgumentError({"chunk": f"must have at most {MAX_CHUNK_BYTES} bytes"})
        yield request.chunk
