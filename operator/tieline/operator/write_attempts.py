"""Writes that may fail: counted and logged, for whoever decides anew in the next second."""

import logging
from collections.abc import Awaitable

from tieline.operator.cluster import ClusterError

logger = logging.getLogger(__name__)


class WriteAttempts:
    """Carries writes out and counts those that failed."""

    def __init__(self) -> None:
        self.failed = 0

    async def succeeds(self, write: Awaitable[None]) -> bool:
        """Carry one out; tell whether it was."""
        try:
            await write
        except ClusterError as error:
            self.failed += 1
            logger.warning("%s", error)
            return False
        return True
