"""Audit entries of sessions that end before their time."""

from collections.abc import Mapping

from tieline.chassis.audit import build_audit_event
from tieline.chassis.outbox import Event
from tieline.chassis.postgres import Connection
from tieline.identity.repositories import SCHEMA
from tieline.identity.sessions.owners import SessionOwner


async def build_session_audit(
    connection: Connection,
    verb: str,
    owner: SessionOwner,
    details: Mapping[str, str],
) -> Event:
    """Return the event that records what was done to the owner's sessions.

    It names no actor where a refresh token was all that the caller showed: the owner may have used
    it, or a thief.
    """
    return await build_audit_event(
        connection,
        SCHEMA,
        corp_id=owner.corp_id,
        action=f"identity.session.{verb}",
        resource=f"{owner.kind}s/{owner.principal_id}",
        details=details,
    )
