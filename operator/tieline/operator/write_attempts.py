"""Writes that may fail: counted and logged, for whoever decides anew in the next second."""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from enum import StrEnum

from tieline.operator.cluster import ClusterError, ConflictError

logger = logging.getLogger(__name__)


class Write(StrEnum):
    """What is written."""

    SCALE = "scale"
    STATUS = "status"
    EVENT = "event"


class WriteAttempts:
    """Carries writes out and counts those that failed."""

    def __init__(self) -> None:
        self.failed = Counter(dict.fromkeys(Write, 0))
        """Conflicts included."""

        self.conflicts = Counter(dict.fromkeys(Write, 0))
        """Somebody else changed the object meanwhile."""

    async def succeeds(self, kind: Write, write: Callable[[], Awaitable[None]]) -> bool:
        """Carry one out; tell whether it was.

        It is made here, by a call: one that is cancelled before its turn was never begun.
        """
        try:
            await write()
        except ClusterError as error:
            self.failed[kind] += 1
            self.conflicts[kind] += isinstance(error, ConflictError)
            logger.warning("%s", error)
            return False
        return True
