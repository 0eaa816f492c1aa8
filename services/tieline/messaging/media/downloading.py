"""A medium on its way out of the store: the range that was asked for, in chunks."""

from collections.abc import AsyncIterator

from tieline.chassis.errors import InvalidArgumentError
from tieline.messaging.media.blob_store import BlobMissingError, BlobStore
from tieline.messaging.media.rules import media_not_found_error

DOWNLOAD_CHUNK_BYTES = 256 * 1024


def find_range(size_bytes: int, offset_bytes: int, length_bytes: int) -> tuple[int, int]:
    """Return where to begin and end within so many bytes; a length of 0 is all that follow."""
    if not 0 <= offset_bytes <= size_bytes:
        raise InvalidArgumentError({"offset_bytes": f"must be 0 to {size_bytes}"})
    if length_bytes < 0:
        raise InvalidArgumentError({"length_bytes": "must not be negative"})
    return offset_bytes, min(size_bytes, offset_bytes + (length_bytes or size_bytes))


async def read_chunks(
    store: BlobStore, media_id: str, blob: str, span: tuple[int, int]
) -> AsyncIterator[bytes]:
    """Yield that span of a medium's blob, as fast as it is taken."""
    start, end = span
    while start < end:
        length = min(DOWNLOAD_CHUNK_BYTES, end - start)
        try:
            chunk = await store.get_range(blob, start, length)
        except BlobMissingError:
            # Expired and purged since, or lost.
            raise media_not_found_error(media_id) from None
        yield chunk
        start += length
