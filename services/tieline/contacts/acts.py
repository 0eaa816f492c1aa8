"""Writes acts of contacts down: what lets people from outside the corp in, in its transaction.

A code is never in an entry: whoever reads the log must not come in by it.
"""

from collections.abc import Mapping, Sequence

from tieline.chassis.audit import build_audit_event
from tieline.chassis.outbox import Event, insert_events
from tieline.chassis.postgres import Connection
from tieline.contacts.repositories import SCHEMA


async def record_act(
    connection: Connection,
    *,
    corp_id: str,
    action: str,
    resource: str,
    details: Mapping[str, str] | None = None,
    events: Sequence[Event] = (),
) -> None:
    """Insert the act's events and its audit entry."""
    entry = await build_audit_event(
        connection,
        SCHEMA,
        corp_id=corp_id,
        action=f"{SCHEMA}.{action}",
        resource=resource,
        details=details,
    )
    await insert_events(connection, SCHEMA, [*events, entry])
