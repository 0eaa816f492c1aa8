"""What messaging does about contacts' events: customers get conversations with those they meet."""

from collections.abc import Mapping

from tieline.api.contacts.v1 import contacts_pb2
from tieline.api.messaging.v1 import conversation_note_pb2
from tieline.chassis.events import EventHandler, ReceivedEvent
from tieline.chassis.postgres import Connection
from tieline.messaging.conversations.log import ConversationLog, Note
from tieline.messaging.conversations.notes import build_participants_note
from tieline.messaging.conversations.opening import Opening, tell_members_changed
from tieline.messaging.conversations.rules import ConversationKind, customer, member
from tieline.messaging.groups.changes import GroupChange
from tieline.messaging.live.announcer import Announcer
from tieline.messaging.repositories.corps import CorpRepository
from tieline.messaging.repositories.customer_group_changes import claim_change
from tieline.messaging.repositories.groups import GroupRepository


class GroupNotYetThereError(Exception):
    """A customer joined a group whose creation was not handled yet: tried again later."""


class ContactsEvents:
    """Handlers of contacts' events. Each leaves alone what is there already."""

    def __init__(self, announcer: Announcer) -> None:
        self._announcer = announcer

    def handlers(self) -> Mapping[str, EventHandler]:
        """Return the handler of each subject."""
        return {
            "tieline.contacts.v1.contact_added": self.on_contact_added,
            "tieline.contacts.v1.customer_group_created": self.on_customer_group_created,
            "tieline.contacts.v1.customer_joined_group": self.on_customer_joined_group,
            "tieline.contacts.v1.customer_left_group": self.on_customer_left_group,
        }

    async def on_contact_added(self, connection: Connection, event: ReceivedEvent) -> None:
        """Give the member and the customer their direct conversation."""
        added = event.decode(contacts_pb2.ContactAdded)
        if await CorpRepository(connection).is_deleted(added.corp_id):
            return
        pair = (member(added.contact.user_id), customer(added.contact.customer_id))
        await Opening(connection, self._announcer).open_direct(added.corp_id, pair)

    async def on_customer_group_created(self, connection: Connection, event: ReceivedEvent) -> None:
        """Give the group its conversation, under the group's own id, with the owner in it."""
        created = event.decode(contacts_pb2.CustomerGroupCreated)
        if await CorpRepository(connection).is_deleted(created.corp_id):
            return
        await Opening(connection, self._announcer).open_group(
            (created.corp_id, created.group.customer_group_id),
            ConversationKind.CUSTOMER_GROUP,
            created.group.name,
            member(created.group.owner_user_id),
        )

    async def on_customer_joined_group(self, connection: Connection, event: ReceivedEvent) -> None:
        """Let the customer into the group's conversation, unless it is over.

        It is when its last member has left; contacts does not know, and its codes still lead there.
        """
        joined = event.decode(contacts_pb2.CustomerJoinedGroup)
        if await CorpRepository(connection).is_deleted(joined.corp_id):
            return
        key, person = (joined.corp_id, joined.customer_group_id), customer(joined.customer_id)
        change = await GroupChange.begin_from_outside(connection, self._announcer, key, person)
        if change is None:
            raise GroupNotYetThereError(joined.customer_group_id)
        if not await _is_news(connection, joined):
            return
        if change.conversation.dismiss_time is None:
            await Opening(connection, self._announcer).let_in(key, person)

    async def on_customer_left_group(self, connection: Connection, event: ReceivedEvent) -> None:
        """Let the customer out of the group's conversation."""
        left = event.decode(contacts_pb2.CustomerLeftGroup)
        key = (left.corp_id, left.customer_group_id)
        if not await _is_news(connection, left):
            return
        log = ConversationLog(connection, self._announcer)
        counters = await log.lock([key])
        gone = [customer(left.customer_id)]
        if key not in counters or not await GroupRepository(connection).delete_participants(
            key, gone
        ):
            return
        await tell_members_changed(connection, self._announcer, key, left=gone)
        note = build_participants_note(conversation_note_pb2.PARTICIPANTS_CHANGE_LEFT, gone)
        await log.append([Note(key, gone[0], note)], counters)


async def _is_news(
    connection: Connection,
    change: contacts_pb2.CustomerJoinedGroup | contacts_pb2.CustomerLeftGroup,
) -> bool:
    """Tell whether nothing later of the customer in the group was handled: not so of dead letters.

    Contacts that are older number nothing; what they send is taken in the order in which it comes.
    """
    if not change.change_number:
        return True
    key = (change.corp_id, change.customer_group_id)
    return await claim_change(connection, key, change.customer_id, change.change_number)
