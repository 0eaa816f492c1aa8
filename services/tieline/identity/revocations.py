"""What ends sessions and the tokens that were issued in them."""

from tieline.chassis.outbox import Event
from tieline.chassis.postgres import Connection
from tieline.identity.repositories import sessions


async def end_member_sessions(connection: Connection, corp_id: str, user_id: str) -> list[Event]:
    """End every session of the member; return the events to insert in the same transaction."""
    await sessions.end_member_sessions(connection, corp_id, user_id)
    return []
