"""Corps that are gone: noted, and what is kept of them deleted."""

import datetime as dt

from tieline.chassis import corps_purge
from tieline.chassis.command_tags import count_rows
from tieline.chassis.postgres import Connection
from tieline.contacts.repositories import SCHEMA

# Every table with a corp's rows, children before parents. What is left out, and why:
# `deleted_corps` keeps the id; events and dead letters are on their way to others.
PURGED_TABLES = (
    "contact_ways",
    "join_ways",
    "contacts",
    "customer_group_members",
    "customer_groups",
    "first_answers",
)

_LEFT_ALONE = dt.timedelta(minutes=1)


async def mark_deleted(connection: Connection, corp_id: str) -> None:
    """Note that the corp is gone; a repeat changes nothing."""
    await connection.execute(
        """
        INSERT INTO contacts.deleted_corps (corp_id) VALUES ($1)
            ON CONFLICT ON CONSTRAINT deleted_corps_pkey DO NOTHING
        """,
        corp_id,
    )


async def lock_deleted_corp(connection: Connection) -> str | None:
    """Lock a corp that is gone and has rows left; None if there is none.

    A corp is left alone for its first minute: by then the calls that did not see that it is gone
    are over, and its tokens are void.
    """
    return await corps_purge.lock_deleted_corp(connection, SCHEMA, "deleted_corps", _LEFT_ALONE)


async def delete_rows(connection: Connection, corp_id: str, *, maximum_rows: int) -> int:
    """Delete at most so many rows of the locked corp; return how many."""
    deleted = 0
    for table in PURGED_TABLES:
        if deleted < maximum_rows:
            # Tables are named by this module. Rows are found by their place, whatever their keys:
            # nobody else writes a corp that is gone.
            statement = f"""
                DELETE FROM contacts.{table}
                 WHERE corp_id = $1
                   AND ctid = ANY (ARRAY(
                       SELECT ctid FROM contacts.{table} WHERE corp_id = $1 LIMIT $2))
            """  # noqa: S608 -- see above
            status = await connection.execute(statement, corp_id, maximum_rows - deleted)
            deleted += count_rows(status)
    return deleted


async def mark_purged(connection: Connection, corp_id: str) -> None:
    """Note that nothing is left of the corp."""
    await connection.execute(
        "UPDATE contacts.deleted_corps SET purge_time = now() WHERE corp_id = $1", corp_id
    )
