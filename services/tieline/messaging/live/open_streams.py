"""How many streams of one sort each person has open on this replica."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from tieline.chassis.errors import ResourceExhaustedError
from tieline.chassis.principals import Principal

MAX_MEDIA_STREAMS = 8
"""Each has a chunk in memory and waits for its other end."""


class OpenStreams:
    """Counts them; one too many is refused with ``reason``."""

    def __init__(self, maximum: int, reason: str, what: str) -> None:
        self._maximum = maximum
        self._reason = reason
        self._what = what
        self._counts: Counter[tuple[str, str, str]] = Counter()

    @contextmanager
    def entered(self, principal: Principal) -> Iterator[None]:
        """Count one more within the block; raises ResourceExhaustedError where that is too many."""
        person = (principal.kind, principal.corp_id, principal.id)
        if self._counts[person] >= self._maximum:
            raise ResourceExhaustedError(
                self._reason, f"at most {self._maximum} {self._what} of one person may be open"
            )
        self._counts[person] += 1
        try:
            yield
        finally:
            self._counts[person] -= 1
            if not self._counts[person]:
                del self._counts[person]
