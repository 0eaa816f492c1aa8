"""Changes of one group, in the caller's transaction and under the group's lock.

Each is decided by what the group is under the lock (``groups``), written, and told by a note in the
same transaction. What changes nothing writes no note.
"""

from collections.abc import Collection, Sequence
from typing import Self

from tieline.api.messaging.v1 import conversation_note_pb2, messaging_pb2
from tieline.chassis.postgres import Connection
from tieline.messaging.conversations.log import ConversationLog, Note
from tieline.messaging.conversations.notes import (
    build_dismiss_note,
    build_participants_note,
    build_roles_note,
    build_settings_note,
)
from tieline.messaging.conversations.opening import tell_members_changed
from tieline.messaging.conversations.rules import (
    Conversation,
    Participant,
    Role,
    conversation_not_found_error,
)
from tieline.messaging.groups import rules as groups
from tieline.messaging.live.announcer import Announcer
from tieline.messaging.repositories.conversations import ConversationRepository
from tieline.messaging.repositories.groups import GroupRepository
from tieline.messaging.repositories.messages import MessageRepository
from tieline.messaging.repositories.participants import ParticipantRepository
from tieline.messaging.sending.numbering import ConversationKey, Counter

ADDED = conversation_note_pb2.PARTICIPANTS_CHANGE_ADDED
JOINED = conversation_note_pb2.PARTICIPANTS_CHANGE_JOINED
REMOVED = conversation_note_pb2.PARTICIPANTS_CHANGE_REMOVED
LEFT = conversation_note_pb2.PARTICIPANTS_CHANGE_LEFT


class GroupChange:
    """A group that is locked, to be changed once."""

    def __init__(
        self,
        connection: Connection,
        announcer: Announcer,
        actor: Participant,
        conversation: Conversation,
        counter: Counter,
    ) -> None:
        self._connection = connection
        self._announcer = announcer
        self._actor = actor
        self._counter = counter
        self._repository = GroupRepository(connection)
        self.conversation = conversation
        """As it was when the lock was taken; its role is the actor's."""

    @classmethod
    async def begin(
        cls, connection: Connection, announcer: Announcer, key: ConversationKey, actor: Participant
    ) -> Self:
        """Lock a group that the actor is in, or raise NotFoundError CONVERSATION_NOT_FOUND."""
        counters = await ConversationLog(connection, announcer).lock([key])
        conversation = await ConversationRepository(connection).find_conversation_of(key, actor)
        if conversation is None:
            raise conversation_not_found_error(key[1])
        return cls(connection, announcer, actor, conversation, counters[key])

    @classmethod
    async def begin_from_outside(
        cls, connection: Connection, announcer: Announcer, key: ConversationKey, actor: Participant
    ) -> Self | None:
        """Lock a group that the actor may not be in; None if it is gone."""
        counters = await ConversationLog(connection, announcer).lock([key])
        repository = ConversationRepository(connection)
        conversation = await repository.find_conversation_of(key, actor)
        conversation = conversation or (await repository.list_conversations([key])).get(key)
        if conversation is None:
            return None
        return cls(connection, announcer, actor, conversation, counters[key])

    @property
    def key(self) -> ConversationKey:
        """The group's key."""
        return self.conversation.corp_id, self.conversation.conversation_id

    async def change_settings(
        self, wanted: conversation_note_pb2.ConversationSettings, paths: Sequence[str]
    ) -> None:
        """Store the named settings."""
        groups.require_going_on(self.conversation)
        groups.require_role(self.conversation, Role.OWNER, Role.ADMIN)
        now = await MessageRepository(self._connection).read_clock()
        settings, fields = groups.change_settings(
            self.conversation.kind, self.conversation.settings, wanted, paths, now
        )
        if fields:
            await self._repository.set_settings(self.key, settings)
            await self._tell(build_settings_note(fields, settings))

    async def add(
        self,
        participants: Collection[Participant],
        change: conversation_note_pb2.ParticipantsChange.ValueType = ADDED,
    ) -> list[Participant]:
        """Let in those who are not in the group yet; return them."""
        groups.require_going_on(self.conversation)
        groups.require_own_membership(self.conversation)
        joined = await ParticipantRepository(self._connection).insert_participants(
            self.key, participants, self._counter.last_sequence
        )
        # Counted after the insert: who is in it already takes no room.
        groups.check_room(self.conversation, len(joined))
        if joined:
            await self._tell_members_changed(joined=joined)
            await self._tell(build_participants_note(change, joined))
        return joined

    async def remove(self, participants: Collection[Participant]) -> list[Participant]:
        """Take out those who are in the group; return them."""
        groups.require_going_on(self.conversation)
        groups.require_own_membership(self.conversation)
        places = await self._repository.list_places(self.key, participants)
        groups.check_removal(self.conversation, places)
        removed = await self._repository.delete_participants(self.key, participants)
        if removed:
            await self._tell_members_changed(left=removed)
            await self._tell(build_participants_note(REMOVED, removed))
        return removed

    async def leave(self) -> None:
        """Take the actor out; an owner is followed by somebody else."""
        groups.require_own_membership(self.conversation)
        await self._repository.delete_participants(self.key, [self._actor])
        await self._tell_members_changed(left=[self._actor])
        notes = [build_participants_note(LEFT, [self._actor])]
        if self.conversation.role is Role.OWNER:
            notes += await self._replace_owner()
        await self._tell(*notes)

    async def set_role(self, participant: Participant, role: Role) -> None:
        """Make somebody an administrator, or no longer."""
        place = await self._find_place(participant)
        if place.role is Role.OWNER:
            raise groups.role_error()
        if place.role is role:
            return
        if role is Role.ADMIN:
            groups.check_admins(await self._repository.count_admins(self.key))
        await self._set_roles({participant: role})

    async def transfer(self, participant: Participant) -> None:
        """Make somebody else the owner."""
        place = await self._find_place(participant)
        if place.role is not Role.OWNER:
            await self._set_roles({participant: Role.OWNER, self._actor: Role.MEMBER})

    async def dismiss(self) -> None:
        """End the group."""
        groups.require_own_membership(self.conversation)
        groups.require_role(self.conversation, Role.OWNER)
        if await self._repository.dismiss(self.key):
            await self._tell(build_dismiss_note())

    async def _find_place(self, participant: Participant) -> groups.Place:
        groups.require_going_on(self.conversation)
        groups.require_own_membership(self.conversation)
        groups.require_role(self.conversation, Role.OWNER)
        places = await self._repository.list_places(self.key, [participant])
        if not places:
            raise groups.participant_not_found_error(participant)
        return places[0]

    async def _replace_owner(self) -> list[messaging_pb2.MessageContent]:
        """Give the group its next owner, or end it; return what is to be told of it."""
        successor = groups.choose_successor(await self._repository.list_all_places(self.key))
        if successor is not None:
            await self._repository.set_role(self.key, successor, Role.OWNER)
            return [build_roles_note({successor: Role.OWNER})]
        return [build_dismiss_note()] if await self._repository.dismiss(self.key) else []

    async def _set_roles(self, roles: dict[Participant, Role]) -> None:
        for participant, role in roles.items():
            await self._repository.set_role(self.key, participant, role)
        await self._tell(build_roles_note(roles))

    async def _tell(self, *contents: messaging_pb2.MessageContent) -> None:
        log = ConversationLog(self._connection, self._announcer)
        notes = [Note(self.key, self._actor, content) for content in contents]
        await log.append(notes, {self.key: self._counter})

    async def _tell_members_changed(
        self, *, joined: Sequence[Participant] = (), left: Sequence[Participant] = ()
    ) -> None:
        await tell_members_changed(
            self._connection, self._announcer, self.key, joined=joined, left=left
        )
