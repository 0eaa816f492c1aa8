"""Which corps are suspended or gone: nobody sends in their conversations, customers neither.

Every replica keeps them in memory, read anew every few seconds: who belongs to such a corp is
refused by authentication at once, this is for those who belong to none.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tieline.chassis.errors import FailedPreconditionError
from tieline.chassis.postgres import Pool
from tieline.chassis.repeating import repeating
from tieline.messaging.repositories.corps import CorpRepository

INTERVAL_S = 2.0


class SuspendedCorps:
    """The corps in which nothing is said for now."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._corp_ids: frozenset[str] = frozenset()

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Keep what is known up to date within the block."""
        async with repeating(
            "the reading of suspended corps", self.read, interval_s=INTERVAL_S, at_once=True
        ):
            yield

    async def read(self) -> None:
        """Read them anew."""
        async with self._pool.acquire() as connection:
            self._corp_ids = frozenset(await CorpRepository(connection).list_suspended())

    def check(self, corp_id: str) -> None:
        """Refuse, by FAILED_PRECONDITION CORP_SUSPENDED, to send in such a corp."""
        if corp_id in self._corp_ids:
            raise FailedPreconditionError("CORP_SUSPENDED", "the corp is suspended")
