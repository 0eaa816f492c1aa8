"""Has a service delete what it keeps of corps that are gone, some thousand rows at a time."""

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from tieline.chassis.postgres import Connection, Pool
from tieline.chassis.repeating import repeating

_INTERVAL_S = 60.0

# About 50 ms of PostgreSQL's time.
_PURGE_ROWS = 5000

# More than there are replicas that each may hold one.
_CANDIDATES = 50


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


async def lock_deleted_corp(
    connection: Connection, schema: str, table: str, age: dt.timedelta = dt.timedelta()
) -> str | None:
    """Lock a corp that has been gone for so long and has rows left; None if there is none.

    The table has ``delete_time`` and ``purge_time`` of each corp. One that another replica is
    purging is left to it. Looks first and locks by corp: Citus locks no rows across nodes.
    """
    candidates = await connection.fetch(
        f"""
        SELECT corp_id
          FROM {schema}.{table}
         WHERE purge_time IS NULL AND delete_time <= now() - $1::interval
         ORDER BY delete_time
         LIMIT $2
        """,  # noqa: S608 -- schemas and tables are named by the code
        age,
        _CANDIDATES,
    )
    for candidate in candidates:
        corp_id: str | None = await connection.fetchval(
            f"""
            SELECT corp_id
              FROM {schema}.{table}
             WHERE corp_id = $1 AND delete_time IS NOT NULL AND purge_time IS NULL
               FOR NO KEY UPDATE SKIP LOCKED
            """,  # noqa: S608 -- schemas and tables are named by the code
            candidate["corp_id"],
        )
        if corp_id is not None:
            return corp_id
    return None
