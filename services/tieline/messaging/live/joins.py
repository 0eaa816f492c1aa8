"""Who of this replica's subscribers wants to follow a conversation, and who is let in.

Somebody wants in who is told to have joined, who is found in a conversation that he or she does not
follow, and who was let out and may have come back since. Whether a user is in it decides the
database, after the conversation's feed is in force.
"""

import asyncio
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from google.protobuf.message import DecodeError
from nats.aio.msg import Msg

from tieline.api.messaging.v1 import messaging_pb2, messaging_service_pb2
from tieline.chassis.errors import ServiceError
from tieline.chassis.postgres import Pool
from tieline.messaging.conversations.rules import (
    Conversation,
    conversation_to_proto,
    find_participant,
)
from tieline.messaging.live.feeds import Feeds
from tieline.messaging.live.subscriber import Subscriber, Update
from tieline.messaging.repositories.conversations import ConversationRepository
from tieline.messaging.repositories.participants import ParticipantRepository, UserKey
from tieline.messaging.sending.numbering import ConversationKey

logger = logging.getLogger(__name__)


class LiveJoins:
    """The joins that wait; ``run`` handles them."""

    def __init__(
        self,
        pool: Pool,
        feeds: Feeds,
        reads: asyncio.Semaphore,
        subscribers: Mapping[UserKey, Collection[Subscriber]],
    ) -> None:
        self._pool = pool
        self._feeds = feeds
        self._reads = reads
        self._subscribers = subscribers
        self._waiting: dict[ConversationKey, set[UserKey]] = {}
        self._is_wanted = asyncio.Event()

    async def receive(self, message: Msg) -> None:
        """Take what is told of anybody's joining; most are not here."""
        try:
            changed = messaging_pb2.ParticipantsChanged.FromString(message.data)
        except DecodeError:
            logger.warning("what came on %s is no change of participants", message.subject)
            return
        key = (changed.corp_id, changed.conversation_id)
        for ref in changed.joined:
            participant = find_participant(ref)
            if participant is not None:
                self.check(key, (changed.corp_id, participant))

    def check(self, key: ConversationKey, user: UserKey) -> None:
        """Let a user in who is connected here and may be in the conversation."""
        if user in self._subscribers:
            self.want(key, user)

    def want(self, key: ConversationKey, user: UserKey) -> None:
        """Let a user's subscribers in who do not follow the conversation yet."""
        self._waiting.setdefault(key, set()).add(user)
        self._is_wanted.set()

    def list_conversation_ids(self, user: UserKey) -> set[str]:
        """Return the conversations that the user waits for."""
        return {key[1] for key, users in self._waiting.items() if user in users}

    def retry(self) -> None:
        """Try again what failed."""
        if self._waiting:
            self._is_wanted.set()

    async def run(self) -> None:
        """Let in whoever waits, until cancelled."""
        while True:
            await self._is_wanted.wait()
            self._is_wanted.clear()
            joins, self._waiting = self._waiting, {}
            try:
                await self._join(joins)
            except ServiceError as error:
                logger.info("joins wait: %s", error.text)
                self._put_off(joins)
            except Exception:
                logger.exception("joins failed")
                self._put_off(joins)

    def _put_off(self, joins: Mapping[ConversationKey, set[UserKey]]) -> None:
        """Keep joins for the next retry: comparisons find those of the last minute only."""
        for key, users in joins.items():
            self._waiting.setdefault(key, set()).update(users)

    async def _join(self, joins: Mapping[ConversationKey, set[UserKey]]) -> None:
        """Let all subscribers of these users receive the conversations that they joined."""
        targets = list(self._find_targets(joins))
        if not targets:
            return
        try:
            for subscriber, key in targets:
                await self._feeds.acquire(subscriber, [key])
            await self._feeds.flush()
            conversations = await self._read_joined(targets)
        except Exception:
            # Held but never begun they would look received, and no retry would begin them.
            for subscriber, key in targets:
                await self._feeds.release(subscriber, [key])
            raise
        for (subscriber, key), conversation in zip(targets, conversations, strict=True):
            if conversation is not None:
                self._tell_joined(subscriber, conversation)
            else:
                await self._feeds.release(subscriber, [key])
                _tell_left(subscriber, key[1])

    def _find_targets(
        self, joins: Mapping[ConversationKey, set[UserKey]]
    ) -> Iterator[tuple[Subscriber, ConversationKey]]:
        for key, users in joins.items():
            for user in users:
                for subscriber in self._subscribers.get(user, ()):
                    if not subscriber.is_started:
                        subscriber.postponed_joins.add(key[1])
                    elif key[1] not in subscriber.conversation_ids:
                        yield subscriber, key

    async def _read_joined(
        self, targets: Sequence[tuple[Subscriber, ConversationKey]]
    ) -> list[Conversation | None]:
        """Return each target's conversation, None for one that its user is not in."""
        pairs = [(key, subscriber.user[1]) for subscriber, key in targets]
        async with self._reads, self._pool.acquire() as connection:
            repository = ConversationRepository(connection)
            conversations = await repository.list_conversations({key for key, _ in pairs})
            participating = await ParticipantRepository(connection).filter_participants(set(pairs))
        return [
            replace(
                conversations[pair[0]],
                visible_from_sequence=participating[pair].visible_from_sequence,
                role=participating[pair].role,
            )
            if pair in participating and pair[0] in conversations
            else None
            for pair in pairs
        ]

    def _tell_joined(self, subscriber: Subscriber, conversation: Conversation) -> None:
        key = (conversation.corp_id, conversation.conversation_id)
        if key[1] not in subscriber.conversation_ids:
            return  # it left meanwhile
        joined = conversation_to_proto(conversation)
        start = self._feeds.start(
            subscriber, key, conversation.last_sequence, conversation.visible_from_sequence
        )
        joined.last_sequence = start.number
        subscriber.unsettled_ids.discard(key[1])
        subscriber.push(Update(joined=joined))


def _tell_left(subscriber: Subscriber, conversation_id: str) -> None:
    """Tell a client that holds a conversation that its user did not come back to it."""
    if conversation_id in subscriber.unsettled_ids:
        subscriber.unsettled_ids.remove(conversation_id)
        left = messaging_service_pb2.ConversationLeft(conversation_id=conversation_id)
        subscriber.push(Update(left=left))
