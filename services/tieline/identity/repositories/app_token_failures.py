"""Rejected secrets of apps, counted by the address that sent them."""

import datetime as dt

from tieline.chassis.command_tags import count_rows
from tieline.chassis.postgres import Connection


async def find_block_end(
    connection: Connection, address: str, *, maximum: int, window: dt.timedelta
) -> dt.timedelta | None:
    """Return how long the address is to wait, or None where it need not."""
    left: dt.timedelta | None = await connection.fetchval(
        """
        SELECT begin_time + $3::interval - now()
          FROM identity.app_token_failures
         WHERE address = $1 AND failures >= $2 AND begin_time + $3::interval > now()
        """,
        address,
        maximum,
        window,
    )
    return left


async def count_failure(connection: Connection, address: str, *, window: dt.timedelta) -> None:
    """Count one more; the first one after a window begins the next."""
    await connection.execute(
        """
        INSERT INTO identity.app_token_failures AS counted (address, failures, begin_time)
        VALUES ($1, 1, now())
        ON CONFLICT ON CONSTRAINT app_token_failures_pkey
        DO UPDATE
           SET failures = CASE WHEN counted.begin_time + $2::interval > now()
                               THEN counted.failures + 1 ELSE 1 END,
               begin_time = CASE WHEN counted.begin_time + $2::interval > now()
                                 THEN counted.begin_time ELSE now() END
        """,
        address,
        window,
    )


async def delete_over(connection: Connection, *, window: dt.timedelta, maximum_rows: int) -> int:
    """Delete counts whose window is over; return how many rows.

    Rows that another replica is deleting are left to it.
    """
    status = await connection.execute(
        """
        DELETE FROM identity.app_token_failures
         WHERE address IN (
               SELECT address
                 FROM identity.app_token_failures
                WHERE begin_time + $2::interval < now()
                LIMIT $1
                  FOR UPDATE SKIP LOCKED)
        """,
        maximum_rows,
        window,
    )
    return count_rows(status)
