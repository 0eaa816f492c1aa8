"""Forgetting removals when they are old: the feed has to tell of them for a while only."""

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tieline.chassis.postgres import Pool, transaction
from tieline.chassis.repeating import repeating
from tieline.directory.repositories import changes

_PURGE_INTERVAL_S = 3600.0

# About 20 ms of PostgreSQL's time.
_PURGE_ROWS = 10_000


@asynccontextmanager
async def purging(pool: Pool, retention: dt.timedelta) -> AsyncIterator[None]:
    """Forget what was removed longer ago than ``retention``, once an hour, within the block.

    Every replica does: what another one has forgotten meanwhile is no more to be found.
    """

    async def purge_all() -> None:
        while await purge(pool, retention, limit=_PURGE_ROWS):
            pass

    async with repeating(
        "the purge of old removals", purge_all, interval_s=_PURGE_INTERVAL_S, at_once=True
    ):
        yield


async def purge(pool: Pool, retention: dt.timedelta, *, limit: int) -> bool:
    """Forget about ``limit`` of the oldest removals; tell whether there were any."""
    removed_before = dt.datetime.now(dt.UTC) - retention
    async with pool.acquire() as connection:
        through = await changes.list_old_removals(connection, removed_before, limit=limit)
    for corp_id, change_number in through.items():
        # A transaction each: the corp's writers wait for this one's row lock.
        async with transaction(pool) as connection:
            await changes.forget_removals(connection, corp_id, change_number)
    return bool(through)
