"""What contacts does about identity's events."""

from tieline.api.identity.v1 import identity_pb2
from tieline.chassis.events import EventHandler, ReceivedEvent
from tieline.chassis.postgres import Connection
from tieline.contacts.repositories.deleted_corps import mark_deleted


async def delete_corp(connection: Connection, received: ReceivedEvent) -> None:
    """Have the corp's codes lead nowhere; its rows are deleted afterwards, little by little."""
    event = received.decode(identity_pb2.CorpDeleted)
    await mark_deleted(connection, event.corp_id)


HANDLERS: dict[str, EventHandler] = {"tieline.identity.v1.corp_deleted": delete_corp}
