"""Audit entries: committed with the act that they tell of, and sent to identity, who keeps the log.

An entry is an event of the service that acted; identity's consumer stores it. So an act is in the
log if and only if it is committed, and no service can read or change what is there.

What is written down: every change by a right that the owner gives (those of `access.proto` but
reading and sending), every act of a platform administrator, who may sign in and how, and what lets
people from outside the corp in. Of reads the exports of the directory, of the archive and of the
log, and media opened in the archive. Everyday use is not: what members and customers say, read and
join. `tests/e2e/test_audit_walk.py` calls each method and has the list, with the reason of each
that writes nothing.
"""

import datetime as dt
from collections.abc import Mapping, Sequence

from tieline.api.common.v1 import audit_pb2, principal_pb2
from tieline.chassis.calls import find_call
from tieline.chassis.fields import to_timestamp
from tieline.chassis.ids import new_uuid7
from tieline.chassis.outbox import Event, build_event, insert_events
from tieline.chassis.postgres import Connection
from tieline.chassis.principals import Principal, PrincipalKind

PLATFORM_LOG = ""
"""What stands for the corp in the log of what the deployment's administrators do."""

_KINDS = {
    PrincipalKind.PLATFORM_ADMINISTRATOR: principal_pb2.PRINCIPAL_KIND_PLATFORM_ADMINISTRATOR,
    PrincipalKind.MEMBER: principal_pb2.PRINCIPAL_KIND_MEMBER,
    PrincipalKind.CUSTOMER: principal_pb2.PRINCIPAL_KIND_CUSTOMER,
    PrincipalKind.APP: principal_pb2.PRINCIPAL_KIND_APP,
    PrincipalKind.LINKED_APP: principal_pb2.PRINCIPAL_KIND_LINKED_APP,
}


async def build_audit_event(
    connection: Connection,
    schema: str,
    *,
    corp_id: str,
    action: str,
    resource: str,
    details: Mapping[str, str] | None = None,
    actor: Principal | None = None,
    act_time: dt.datetime | None = None,
) -> Event:
    """Return the event that records an act; insert it with the others of the transaction.

    ``actor`` is for acts of somebody who is only now being signed in; otherwise it is the caller.
    The time is the transaction's, so that a log's order is that of what it tells: ``now()``, which
    ``act_time`` is where the caller has read it already.
    """
    call = find_call()
    principal = actor or (None if call is None else call.principal)
    entry = audit_pb2.AuditEntry(
        event_id=new_uuid7(),
        corp_id=corp_id,
        act_time=to_timestamp(act_time or await connection.fetchval("SELECT now()")),
        action=action,
        resource=resource,
        details=details or {},
    )
    if principal is not None:
        entry.actor.kind = _KINDS[principal.kind]
        entry.actor.id = principal.id
    if call is not None:
        entry.address = call.find_address()
        entry.request_id = call.request_id
    return build_event(f"tieline.{schema}.v1.audit_recorded", corp_id, f"audit/{corp_id}", entry)


async def record_act(
    connection: Connection,
    schema: str,
    *,
    corp_id: str,
    action: str,
    resource: str,
    details: Mapping[str, str] | None = None,
    events: Sequence[Event] = (),
) -> None:
    """Insert the act's audit entry behind its other events, in the transaction of the act."""
    entry = await build_audit_event(
        connection, schema, corp_id=corp_id, action=action, resource=resource, details=details
    )
    await insert_events(connection, schema, [*events, entry])
