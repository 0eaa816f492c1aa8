"""The SQL of corps that are gone."""

import datetime as dt

from tieline.chassis import corps_purge
from tieline.chassis.postgres import Connection
from tieline.payments.repositories import SCHEMA


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
    """Lock a corp that is gone for so long and has rows left; None if there is none."""
    age = dt.timedelta(days=keep_days)
    return await corps_purge.lock_deleted_corp(connection, SCHEMA, "deleted_corps", age)


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
