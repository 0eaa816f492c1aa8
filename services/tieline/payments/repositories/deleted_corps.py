"""The SQL of corps that are gone."""

from tieline.chassis.postgres import Connection

# More than there are replicas that each may hold one.
_CANDIDATES = 50


async def mark_deleted(connection: Connection, corp_id: str) -> None:
    """Note that the corp is gone; a repeat changes nothing."""
    await connection.execute(
        """
        INSERT INTO payments.deleted_corps (corp_id) VALUES ($1)
            ON CONFLICT ON CONSTRAINT deleted_corps_pkey DO NOTHING
        """,
        corp_id,
    )


async def lock_corp_to_purge(connection: Connection, *, keep_days: int) -> str | None:
    """Lock a corp that is gone for so long and has rows left; None if there is none.

    One that another replica is purging is left to it. Looks first and locks by corp: Citus locks
    no rows across nodes.
    """
    candidates = await connection.fetch(
        """
        SELECT corp_id
          FROM payments.deleted_corps
         WHERE purge_time IS NULL AND delete_time <= now() - make_interval(days => $1)
         ORDER BY delete_time
         LIMIT $2
        """,
        keep_days,
        _CANDIDATES,
    )
    for candidate in candidates:
        corp_id: str | None = await connection.fetchval(
            """
            SELECT corp_id
              FROM payments.deleted_corps
             WHERE corp_id = $1 AND purge_time IS NULL
               FOR NO KEY UPDATE SKIP LOCKED
            """,
            candidate["corp_id"],
        )
        if corp_id is not None:
            return corp_id
    return None


async def delete_rows(
    connection: Connection, corp_id: str, *, keep_days: int, maximum_rows: int
) -> int:
    """Delete at most so many rows of the locked corp; return how many.

    By a function of the schema's owner: the service's own role may delete no ledger.
    """
    deleted: int = await connection.fetchval(
        "SELECT payments.delete_kept_rows($1, $2, $3)", corp_id, keep_days, maximum_rows
    )
    return deleted


async def mark_purged(connection: Connection, corp_id: str) -> None:
    """Note that nothing is left of the corp."""
    await connection.execute(
        "UPDATE payments.deleted_corps SET purge_time = now() WHERE corp_id = $1", corp_id
    )
