"""The port to where blobs lie: bytes under a key, whole or not there. Behind it: ``object_store``.

Errors are ServiceErrors: UnavailableError MEDIA_STORE_UNAVAILABLE, ResourceExhaustedError
MEDIA_STORE_FULL, and for what is not there BlobMissingError.
"""

from collections.abc import Sequence
from typing import Protocol

from tieline.chassis.errors import FailedPreconditionError


class BlobMissingError(Exception):
    """There is nothing under the key."""


class BlobStore(Protocol):
    """Keeps blobs of a few bytes to 20 MiB. Keys are paths of letters, digits, ``-`` and ``_``."""

    async def put(self, key: str, content: bytes) -> None:
        """Keep the content under the key for good; what was there is replaced as a whole."""
        ...

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return bytes of a blob; the range must lie within it. BlobMissingError if it is gone."""
        ...

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove blobs; those that are not there are none the less gone."""
        ...

    async def list_keys(self, prefix: str) -> Sequence[str]:
        """Return the keys within a folder."""
        ...


class MissingStore:
    """Stands for the store where the deployment has none."""

    async def put(self, key: str, content: bytes) -> None:
        """Refuse."""
        raise missing_store_error()

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        """Refuse."""
        raise missing_store_error()

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove nothing of nothing."""

    async def list_keys(self, prefix: str) -> Sequence[str]:
        """Return that there is nothing."""
        return []


def missing_store_error() -> FailedPreconditionError:
    """Return the error for what needs a store where there is none."""
    return FailedPreconditionError(
        "MEDIA_STORE_MISSING", "this deployment keeps no media: set TIELINE_MEDIA_STORE_URL"
    )
