"""Finding members by numbers and addresses, and counting what found nobody."""

import datetime as dt

from tieline.chassis.postgres import Connection


async def find_by_mobile(connection: Connection, corp_id: str, mobile: str) -> str | None:
    """Return the member who has the number, or None."""
    user_id: str | None = await connection.fetchval(
        "SELECT user_id FROM directory.members WHERE corp_id = $1 AND mobile <> '' AND mobile = $2",
        corp_id,
        mobile,
    )
    return user_id


async def find_by_email(connection: Connection, corp_id: str, email: str) -> str | None:
    """Return the member who has the address, first of all as the work address, or None."""
    user_id: str | None = await connection.fetchval(
        """
        SELECT coalesce(
            (SELECT user_id FROM directory.members
              WHERE corp_id = $1 AND biz_email <> '' AND lower(biz_email) = lower($2)),
            (SELECT user_id FROM directory.members
              WHERE corp_id = $1 AND email <> '' AND lower(email) = lower($2)))
        """,
        corp_id,
        email,
    )
    return user_id


async def read_failures(
    connection: Connection, corp_id: str, principal_id: str
) -> tuple[int, int, dt.datetime]:
    """Return today's failures, their allowance, and the time; no allowance without failures."""
    record = await connection.fetchrow(
        """
        SELECT coalesce(failure_count, 0), coalesce(allowance, 1), now()
          FROM (VALUES (now())) AS today (day)
          LEFT JOIN directory.lookup_failures
            ON corp_id = $1 AND principal_id = $2
           AND failure_date = (now() AT TIME ZONE 'UTC')::date
        """,
        corp_id,
        principal_id,
    )
    assert record is not None, "an outer join gives a row"
    return record[0], record[1], record[2]


async def count_failure(connection: Connection, corp_id: str, principal_id: str) -> bool:
    """Count one more failure of today; False if it is the first one."""
    return bool(
        await connection.fetchval(
            """
            UPDATE directory.lookup_failures
               SET failure_count = failure_count + 1
             WHERE corp_id = $1 AND principal_id = $2
               AND failure_date = (now() AT TIME ZONE 'UTC')::date
            RETURNING true
            """,
            corp_id,
            principal_id,
        )
    )


async def insert_first_failure(
    connection: Connection, corp_id: str, principal_id: str, allowance: int
) -> None:
    """Begin today's count, and forget the corp's of days that are over."""
    await connection.execute(
        """
        DELETE FROM directory.lookup_failures
         WHERE corp_id = $1 AND failure_date < (now() AT TIME ZONE 'UTC')::date
        """,
        corp_id,
    )
    await connection.execute(
        """
        INSERT INTO directory.lookup_failures AS counted
               (corp_id, principal_id, failure_date, failure_count, allowance)
        VALUES ($1, $2, (now() AT TIME ZONE 'UTC')::date, 1, $3)
        ON CONFLICT ON CONSTRAINT lookup_failures_pkey
        DO UPDATE SET failure_count = counted.failure_count + 1
        """,
        corp_id,
        principal_id,
        allowance,
    )


async def count_members(connection: Connection, corp_id: str) -> int:
    """Return how many members the corp has."""
    count: int = await connection.fetchval(
        "SELECT count(*) FROM directory.members WHERE corp_id = $1 AND state <> 'left'", corp_id
    )
    return count
