"""The audit log: entries come in and are read, and nothing else."""

import datetime as dt
import json
import uuid

from tieline.chassis.postgres import Connection, Record
from tieline.identity.audit.log import AuditFilter, Entry, Position


async def insert_entry(connection: Connection, entry: Entry) -> None:
    """Insert the entry; one that is there stays as it is."""
    await connection.execute(
        """
        INSERT INTO identity.audit_entries
               (corp_id, act_time, event_id, actor_kind, actor_id, action, resource, details,
                address, request_id)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        ON CONFLICT (corp_id, act_time, event_id) DO NOTHING
        """,
        entry.corp_id,
        entry.act_time,
        uuid.UUID(entry.event_id),
        entry.actor_kind,
        entry.actor_id,
        entry.action,
        entry.resource,
        json.dumps(entry.details),
        entry.address,
        entry.request_id,
    )


async def list_entries(
    connection: Connection,
    corp_id: str,
    wanted: AuditFilter,
    before: Position,
    limit: int,
) -> list[Entry]:
    """Return the corp's entries that fit, the newest first, from before this position on.

    Both bounds of the time are always there, so that months outside of them are not looked into.
    An actor and a resource have their indexes, which PostgreSQL uses only where the statement says
    that there is one; so there are four statements.
    """
    actor = "actor_id = $5" if wanted.actor_id else "$5 = ''"
    resource = "resource = $8" if wanted.resource else "$8 = ''"
    rows = await connection.fetch(
        f"""
        SELECT corp_id, act_time, event_id, actor_kind, actor_id, action, resource, details,
               address, request_id
          FROM identity.audit_entries
         WHERE corp_id = $1
           AND act_time >= $2 AND act_time <= $3
           AND (act_time, event_id) < ($3, $4)
           AND {actor}
           AND ($6 = '' OR actor_kind = $6)
           AND ($7 = '' OR starts_with(action, $7))
           AND {resource}
         ORDER BY act_time DESC, event_id DESC
         LIMIT $9
        """,  # noqa: S608 -- constants
        corp_id,
        wanted.start_time,
        before.act_time,
        uuid.UUID(before.event_id),
        wanted.actor_id,
        wanted.actor_kind,
        wanted.action_prefix,
        wanted.resource,
        limit,
    )
    return [_to_entry(row) for row in rows]


async def keep_partitions(connection: Connection, retention: dt.timedelta) -> list[str]:
    """Make the months' partitions that are missing, drop those past the retention; return these.

    The database keeps half a year whatever it is asked for.
    """
    dropped: list[str] = await connection.fetchval(
        "SELECT identity.keep_audit_partitions($1)", retention.days
    )
    return dropped


async def find_now(connection: Connection) -> dt.datetime:
    """Return the database's time."""
    now: dt.datetime = await connection.fetchval("SELECT now()")
    return now


def _to_entry(row: Record) -> Entry:
    return Entry(
        **{
            **row,
            "event_id": str(row["event_id"]),
            "details": json.loads(row["details"]),
        }
    )
