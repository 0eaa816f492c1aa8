"""Writes acts of identity down: their events and audit entries, in the transaction of the act."""

from collections.abc import Mapping, Sequence

from tieline.chassis.audit import PLATFORM_LOG, build_audit_event
from tieline.chassis.calls import find_call
from tieline.chassis.outbox import Event, insert_events
from tieline.chassis.postgres import Connection
from tieline.chassis.principals import PrincipalKind
from tieline.identity.repositories import SCHEMA


async def record_act(
    connection: Connection,
    *,
    corp_id: str,
    action: str,
    resource: str,
    details: Mapping[str, str] | None = None,
    events: Sequence[Event] = (),
) -> None:
    """Insert the act's events and audit entries.

    An act of a platform administrator on a corp stands in both logs: the corp learns what was done
    to it, and whoever runs the deployment what its administrators did.
    """
    corp_ids = {corp_id}
    call = find_call()
    principal = None if call is None else call.principal
    if principal is not None and principal.kind is PrincipalKind.PLATFORM_ADMINISTRATOR:
        corp_ids.add(PLATFORM_LOG)
        if corp_id:
            details = {"corp_id": corp_id, **(details or {})}
    entries = [
        await build_audit_event(
            connection,
            SCHEMA,
            corp_id=log,
            action=f"{SCHEMA}.{action}",
            resource=resource,
            details=details,
        )
        for log in sorted(corp_ids)
    ]
    await insert_events(connection, SCHEMA, [*events, *entries])
