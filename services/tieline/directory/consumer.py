"""Other services' events, as the directory takes them in."""

from tieline.api.identity.v1 import identity_pb2
from tieline.chassis.events import EventHandler, ReceivedEvent
from tieline.chassis.postgres import Connection
from tieline.directory.members import member_key
from tieline.directory.repositories import corps, members


async def add_corp(connection: Connection, received: ReceivedEvent) -> None:
    """Give a new corp its root department and its owner as the first member.

    A repeat changes nothing, even under another event id.
    """
    event = received.decode(identity_pb2.CorpCreated)
    corp = event.corp
    await corps.insert_corp(connection, corp.corp_id, corp.display_name)
    await members.insert_owner(
        connection, corp.corp_id, member_key(corp.owner_user_id), event.owner_name
    )


HANDLERS: dict[str, EventHandler] = {"tieline.identity.v1.corp_created": add_corp}
