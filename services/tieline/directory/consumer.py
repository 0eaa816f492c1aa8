"""Other services' events, as the directory takes them in."""

from tieline.api.identity.v1 import app_pb2, corp_link_pb2, identity_pb2
from tieline.chassis.events import EventHandler, ReceivedEvent
from tieline.chassis.postgres import Connection
from tieline.directory.corp_writes import CorpWrite
from tieline.directory.departments.rules import ROOT_DEPARTMENT_ID
from tieline.directory.linked_corps.messages import read_sides
from tieline.directory.members.changes import activate_member
from tieline.directory.members.rules import member_key
from tieline.directory.repositories import app_ranges, corps, linked_corps, member_writes
from tieline.directory.tags.changes import release_tags_of_app


async def add_corp(connection: Connection, received: ReceivedEvent) -> None:
    """Give a new corp its root department and its owner as the first member.

    A repeat changes nothing, even under another event id.
    """
    event = received.decode(identity_pb2.CorpCreated)
    corp_id, owner = event.corp.corp_id, member_key(event.corp.owner_user_id)
    if not await corps.insert_corp(connection, corp_id, event.corp.display_name, owner):
        return
    await member_writes.insert_owner(connection, corp_id, owner, event.owner_name)
    write = await CorpWrite.begin(connection, corp_id)
    write.note_departments([ROOT_DEPARTMENT_ID])
    write.note_members([owner])
    await write.finish()


async def note_corp(connection: Connection, received: ReceivedEvent) -> None:
    """Know who owns the corp now, and whether it is active; a repeat changes nothing."""
    # The payloads of the four events have the same fields.
    corp = received.decode(identity_pb2.CorpUpdated).corp
    await corps.note_corp(
        connection,
        corp.corp_id,
        member_key(corp.owner_user_id),
        is_active=corp.state == identity_pb2.CORP_STATE_ACTIVE,
    )


async def delete_corp(connection: Connection, received: ReceivedEvent) -> None:
    """Let nobody write the corp any more; its rows are deleted afterwards, little by little."""
    event = received.decode(identity_pb2.CorpDeleted)
    await corps.mark_deleted(connection, event.corp_id)


async def note_activation(connection: Connection, received: ReceivedEvent) -> None:
    """Have a member who accepted an invitation be active; a repeat changes nothing.

    Nor does an event of a corp that is gone, purged or not: it will never be ready for it.
    """
    event = received.decode(identity_pb2.MemberActivated)
    if not await corps.has_corp(connection, event.corp_id):
        return
    write = await CorpWrite.begin(connection, event.corp_id)
    await activate_member(write, member_key(event.user_id))
    await write.finish()


async def forget_changed_app(connection: Connection, received: ReceivedEvent) -> None:
    """Have identity asked anew what the app may see; a repeat has it asked once more."""
    app = received.decode(app_pb2.AppChanged).app
    await app_ranges.forget(connection, app.corp_id, str(app.agent_id))


async def forget_deleted_app(connection: Connection, received: ReceivedEvent) -> None:
    """As ``forget_changed_app``: identity answers that the app is not there. Its tags stay."""
    event = received.decode(app_pb2.AppDeleted)
    agent_id = str(event.agent_id)
    await app_ranges.forget(connection, event.corp_id, agent_id)
    await release_tags_of_app(connection, event.corp_id, agent_id)


async def note_link(connection: Connection, received: ReceivedEvent) -> None:
    """Keep both sides of a link as they are now; an older event that comes late changes nothing."""
    event = received.decode(corp_link_pb2.CorpLinkChanged)
    for corp_id, side in read_sides(event):
        await linked_corps.upsert_link(connection, corp_id, side)


HANDLERS: dict[str, EventHandler] = {
    "tieline.identity.v1.app_changed": forget_changed_app,
    "tieline.identity.v1.app_deleted": forget_deleted_app,
    "tieline.identity.v1.corp_created": add_corp,
    "tieline.identity.v1.corp_deleted": delete_corp,
    "tieline.identity.v1.corp_deletion_requested": note_corp,
    "tieline.identity.v1.corp_link_changed": note_link,
    "tieline.identity.v1.corp_resumed": note_corp,
    "tieline.identity.v1.corp_suspended": note_corp,
    "tieline.identity.v1.corp_updated": note_corp,
    "tieline.identity.v1.member_activated": note_activation,
}
