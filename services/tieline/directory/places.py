"""How much long work a replica does at once: one more is refused, and told when to come back."""

from collections.abc import Iterator
from contextlib import contextmanager

from tieline.chassis.errors import ResourceExhaustedError

# A large corp's export, or some batches of an import, take seconds; others may end before.
_RETRY_AFTER_S = 5.0


class Places:
    """Counts what runs."""

    def __init__(self, maximum: int, reason: str, what: str) -> None:
        self._maximum = maximum
        self._reason = reason
        self._what = what
        self._taken = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Take a place within the block, or raise ResourceExhaustedError where none is free."""
        if self._taken >= self._maximum:
            raise ResourceExhaustedError(
                self._reason,
                f"{self._maximum} {self._what} run here already: try again later",
                retry_after_s=_RETRY_AFTER_S,
            )
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1
