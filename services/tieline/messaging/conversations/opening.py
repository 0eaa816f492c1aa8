"""Opens conversations and lets people in, in the caller's transaction, and tells of it."""

from collections.abc import Collection, Sequence

from tieline.api.messaging.v1 import conversation_note_pb2, messaging_pb2
from tieline.chassis.ids import new_uuid7
from tieline.chassis.outbox import build_event, insert_events
from tieline.chassis.postgres import Connection
from tieline.messaging.conversations.log import ConversationLog, Note
from tieline.messaging.conversations.notes import build_participants_note
from tieline.messaging.conversations.rules import (
    Allowed,
    ConversationKind,
    Participant,
    build_direct_key,
    participant_to_proto,
)
from tieline.messaging.live import subjects
from tieline.messaging.live.announcer import Announcer
from tieline.messaging.repositories import SCHEMA
from tieline.messaging.repositories.conversations import ConversationRepository
from tieline.messaging.repositories.pairs import find_conversation_ids
from tieline.messaging.repositories.participants import ParticipantRepository
from tieline.messaging.sending.numbering import ConversationKey

PARTICIPANTS_CHANGED = "tieline.messaging.v1.participants_changed"


class Opening:
    """The changes of who is in which conversation. Each is safe to repeat."""

    def __init__(self, connection: Connection, announcer: Announcer) -> None:
        self._connection = connection
        self._announcer = announcer
        self._repository = ConversationRepository(connection)
        self._participants = ParticipantRepository(connection)
        self._log = ConversationLog(connection, announcer)

    async def open_direct(self, corp_id: str, pair: tuple[Participant, Participant]) -> str:
        """Return the id of the pair's conversation, which is made if there is none.

        Two transactions that make it at the same time get the same one: the second waits.
        """
        direct_key = build_direct_key(pair)
        # Looked for first: mostly it is there, and then nothing is locked or written.
        found = await self._repository.find_direct_conversation_id(corp_id, direct_key)
        if found is not None:
            return found
        key = (corp_id, new_uuid7())
        if await self._repository.insert_conversation(
            key, ConversationKind.DIRECT, "", direct_key=direct_key
        ):
            await self._let_in(key, pair)
            return key[1]
        found = await self._repository.find_direct_conversation_id(corp_id, direct_key)
        assert found is not None, "what the insert conflicted with is committed and stays"
        return found

    async def open_app(
        self, corp_id: str, app: Participant, reader: Participant, *, accepts_replies: bool | None
    ) -> str:
        """Return the id of the app's conversation with a member, made if there is none.

        Whether the member may answer is what this says, also of one that was there; None leaves
        that as it is, and to one that is made it means no.
        """
        direct_key = build_direct_key((app, reader))
        posting = Allowed.EVERYONE if accepts_replies else Allowed.OWNER
        key = (corp_id, new_uuid7())
        if await self._repository.insert_conversation(
            key, ConversationKind.APP, "", direct_key=direct_key, posting=posting
        ):
            await self._let_in(key, (app, reader), owner=app)
            return key[1]
        found = await self._repository.find_direct_conversation_id(corp_id, direct_key)
        assert found is not None, "what the insert conflicted with is committed and stays"
        if accepts_replies is not None:
            await self._repository.set_posting((corp_id, found), posting)
        return found

    async def open_app_many(
        self, corp_id: str, app: Participant, readers: Sequence[Participant]
    ) -> dict[Participant, str]:
        """Return the ids of the app's conversations with members, made where there are none.

        In the order of the members, so that two who make the same ones do not deadlock.
        """
        keys = {reader: build_direct_key((app, reader)) for reader in sorted(readers)}
        found = await find_conversation_ids(self._connection, corp_id, list(keys.values()))
        return {
            reader: found.get(direct_key)
            or await self.open_app(corp_id, app, reader, accepts_replies=None)
            for reader, direct_key in keys.items()
        }

    async def open_group(
        self,
        key: ConversationKey,
        kind: ConversationKind,
        name: str,
        owner: Participant,
        others: Collection[Participant] = (),
    ) -> None:
        """Make the group with these people in it, unless it is there."""
        # Customers are shown nothing of what was said before they came.
        history_visible = kind is not ConversationKind.CUSTOMER_GROUP
        if await self._repository.insert_conversation(
            key, kind, name, history_visible=history_visible
        ):
            await self._let_in(key, [owner, *others], owner=owner)

    async def let_in(self, key: ConversationKey, participant: Participant) -> bool:
        """Let somebody into a conversation; False if it is not there."""
        # Under the counter's lock: the number from which on they are in it is exact.
        counters = await self._log.lock([key])
        if key not in counters:
            return False
        if await self._let_in(key, [participant], last_sequence=counters[key].last_sequence):
            change = conversation_note_pb2.PARTICIPANTS_CHANGE_JOINED
            note = build_participants_note(change, [participant])
            await self._log.append([Note(key, participant, note)], counters)
        return True

    async def _let_in(
        self,
        key: ConversationKey,
        participants: Collection[Participant],
        *,
        last_sequence: int = 0,
        owner: Participant | None = None,
    ) -> Sequence[Participant]:
        """Let in those who are not there yet; return them."""
        joined = await self._participants.insert_participants(
            key, participants, last_sequence, owner=owner
        )
        if joined:
            await tell_members_changed(self._connection, self._announcer, key, joined=joined)
        return joined


async def tell_members_changed(
    connection: Connection,
    announcer: Announcer,
    key: ConversationKey,
    *,
    joined: Sequence[Participant] = (),
    left: Sequence[Participant] = (),
) -> None:
    """Tell other services who came and went, and the replicas who came."""
    corp_id, conversation_id = key
    changed = messaging_pb2.ParticipantsChanged(
        corp_id=corp_id,
        conversation_id=conversation_id,
        joined=map(participant_to_proto, joined),
        left=map(participant_to_proto, left),
    )
    event = build_event(PARTICIPANTS_CHANGED, corp_id, conversation_id, changed)
    await insert_events(connection, SCHEMA, [event])
    if joined:
        announcer.announce_after_commit(connection, [(subjects.JOINS, event.payload)])
