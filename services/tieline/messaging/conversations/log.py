"""Adds notes to conversations' logs: the one way in which the service tells what happened there.

In the caller's transaction, with the numbers, the event and the live announcement of any message.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tieline.api.messaging.v1 import messaging_pb2
from tieline.chassis.fields import to_timestamp
from tieline.chassis.postgres import Connection
from tieline.messaging.conversations.rules import Participant
from tieline.messaging.live.announcer import Announcer
from tieline.messaging.messages.rules import StoredMessage, build_proto
from tieline.messaging.repositories.messages import MessageRepository
from tieline.messaging.sending.batches import build_announcements, build_events
from tieline.messaging.sending.numbering import ConversationKey, Counter, number_notes


@dataclass(frozen=True, slots=True)
class Note:
    """Something that happened in a conversation."""

    key: ConversationKey
    actor: Participant
    """Who did it."""

    content: messaging_pb2.MessageContent
    """One of the kinds from 50 on."""


class ConversationLog:
    """Appends to the logs of conversations in one transaction."""

    def __init__(self, connection: Connection, announcer: Announcer) -> None:
        self._connection = connection
        self._announcer = announcer
        self._repository = MessageRepository(connection)

    async def lock(self, keys: Sequence[ConversationKey]) -> Mapping[ConversationKey, Counter]:
        """Lock these conversations in their order; return how far those go that exist.

        Whoever decides by what a conversation is now holds its lock first.
        """
        return await self._repository.lock_counters(keys)

    async def append(
        self, notes: Sequence[Note], counters: Mapping[ConversationKey, Counter] | None = None
    ) -> list[StoredMessage]:
        """Give each note the next number of its conversation and store it; return them.

        ``counters`` are those of :meth:`lock` where nothing was appended since; without them the
        conversations are locked here. All of them exist.
        """
        if not notes:
            return []
        if counters is None:
            counters = await self.lock(sorted({note.key for note in notes}))
        now = await self._repository.read_clock()
        stored = number_notes(
            [(note.key, note.actor, note.content) for note in notes], counters, now
        )
        create_time = to_timestamp(now)
        protos = [build_proto(message, create_time) for message in stored]
        await self._repository.insert_messages(stored, now, list(build_events(protos)))
        self._announcer.announce_after_commit(self._connection, build_announcements(protos))
        return stored
