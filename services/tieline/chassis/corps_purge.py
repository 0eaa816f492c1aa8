"""Has a service delete what it keeps of corps that are gone, some thousand rows at a time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from tieline.chassis.postgres import Pool
from tieline.chassis.repeating import repeating

_INTERVAL_S = 60.0

# About 50 ms of PostgreSQL's time.
_PURGE_ROWS = 5000


class Purge(Protocol):
    """What a service does about one corp."""

    async def __call__(self, pool: Pool, *, maximum_rows: int) -> bool:
        """Delete so many rows of one corp at most; tell whether there was such a corp."""


@asynccontextmanager
async def purging_corps(
    pool: Pool, purge: Purge, *, interval_s: float = _INTERVAL_S
) -> AsyncIterator[None]:
    """Purge corps that are gone, now and then, within the block.

    Every replica does; they keep out of each other's way.
    """

    async def purge_all() -> None:
        while await purge(pool, maximum_rows=_PURGE_ROWS):
            pass

    async with repeating(
        "the purge of deleted corps", purge_all, interval_s=interval_s, at_once=True
    ):
        yield
