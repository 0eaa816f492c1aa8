"""Who looks at which conversation on this replica, and what passes between those who do.

All of it may be lost: who looks on says so again every half a minute, and whoever begins asks.
"""

import logging
from collections.abc import Awaitable, Callable
from time import monotonic

import nats.errors
from google.protobuf.message import DecodeError
from nats.aio.msg import Msg

from tieline.api.messaging.v1 import live_signal_pb2, reading_pb2
from tieline.messaging.conversations.rules import (
    Participant,
    find_participant,
    participant_to_proto,
)
from tieline.messaging.live.feeds import LiveBroker, LiveSubscription
from tieline.messaging.live.subjects import build_look_subject
from tieline.messaging.live.subscriber import Subscriber, Update
from tieline.messaging.repositories.participants import UserKey
from tieline.messaging.sending.numbering import ConversationKey

# Twice the time after which clients repeat that they look.
LOOK_S = 60.0

# Who has just come in may look before the replica has heard of it. Of who has just gone out, an
# earlier look may be heard of after that, which is shown for so long.
_UNREACHED_S = 5.0

logger = logging.getLogger(__name__)


class _Look:
    """One conversation that somebody here looks at."""

    __slots__ = ("key", "subscription", "until")

    def __init__(self, key: ConversationKey) -> None:
        self.key = key
        self.until: dict[Subscriber, float] = {}
        """Each looker, and when that ends by ``time.monotonic()``."""

        self.subscription: LiveSubscription | None = None

    def has(self, participant: Participant) -> bool:
        """Tell whether this person looks at it from here."""
        return any(subscriber.user[1] == participant for subscriber in self.until)


class Looks:
    """The conversations that subscribers of this replica look at: one each at most."""

    def __init__(
        self, broker: LiveBroker, reaches: Callable[[Subscriber, ConversationKey], bool]
    ) -> None:
        self._broker = broker
        self._reaches = reaches
        self._looks: dict[ConversationKey, _Look] = {}
        self._of: dict[Subscriber, ConversationKey] = {}

    async def look(self, subscriber: Subscriber, conversation_id: str) -> None:
        """Let a subscriber look at a conversation from now on, or at none."""
        key = (subscriber.user[0], conversation_id)
        if self._of.get(subscriber) != key:
            await self.end(subscriber)
        if not conversation_id or subscriber.has_left:
            return
        look = self._looks.get(key)
        is_new = subscriber not in self._of
        self._of[subscriber] = key
        if look is None:
            look = self._looks[key] = _Look(key)
            look.until[subscriber] = monotonic() + LOOK_S
            look.subscription = await self._broker.subscribe(
                build_look_subject(*key), cb=self._build_receiver(look)
            )
            if self._looks.get(key) is not look:
                await _unsubscribe(look)  # it ended meanwhile
                return
        else:
            look.until[subscriber] = monotonic() + LOOK_S
        await self._tell(look, subscriber.user[1], looking=True, asks=is_new)

    async def end(self, subscriber: Subscriber) -> None:
        """Let a subscriber look at nothing any more; a second time does nothing."""
        key = self._of.pop(subscriber, None)
        look = None if key is None else self._looks.get(key)
        if look is None:
            return
        look.until.pop(subscriber, None)
        if not look.until:
            del self._looks[look.key]
            await _unsubscribe(look)
        if not look.has(subscriber.user[1]):
            await self._tell(look, subscriber.user[1], looking=False)

    async def end_at(self, key: ConversationKey, user: UserKey) -> None:
        """Let a user who is out of a conversation look at it no more."""
        look = self._looks.get(key)
        for subscriber in () if look is None else list(look.until):
            if subscriber.user == user:
                await self.end(subscriber)

    async def end_old(self) -> None:
        """End those that were not repeated, and those of who is not in the conversation."""
        now = monotonic()
        unreached_until = now + LOOK_S - _UNREACHED_S
        old = [
            subscriber
            for look in self._looks.values()
            for subscriber, until in look.until.items()
            if until < now or (until < unreached_until and not self._reaches(subscriber, look.key))
        ]
        for subscriber in old:
            await self.end(subscriber)

    def _build_receiver(self, look: _Look) -> Callable[[Msg], Awaitable[None]]:
        async def receive(message: Msg) -> None:
            try:
                signal = live_signal_pb2.LookSignal.FromString(message.data)
            except DecodeError:
                logger.warning("what came on %s is no signal", message.subject)
                return
            await self._take(look, signal)

        return receive

    async def _take(self, look: _Look, signal: live_signal_pb2.LookSignal) -> None:
        who = _find_whose(signal.update)
        for subscriber in list(look.until):
            # Who is out of the conversation gets nothing, also where a look comes late.
            if subscriber.user[1] != who and self._reaches(subscriber, look.key):
                subscriber.push_if_room(signal.update)
        if signal.asks:
            for participant in {subscriber.user[1] for subscriber in look.until} - {who}:
                await self._tell(look, participant, looking=True)
        elif who is not None and _is_gone(signal.update) and look.has(who):
            # From another device, which is gone; this one is not.
            await self._tell(look, who, looking=True)

    async def _tell(
        self, look: _Look, participant: Participant, *, looking: bool, asks: bool = False
    ) -> None:
        presence = reading_pb2.Presence(
            conversation_id=look.key[1],
            participant=participant_to_proto(participant),
            looking=looking,
        )
        signal = live_signal_pb2.LookSignal(update=Update(presence=presence), asks=asks)
        try:
            await self._broker.publish(build_look_subject(*look.key), signal.SerializeToString())
        except (OSError, nats.errors.Error) as error:
            logger.info("a presence was not told: %s", error)


def _find_whose(update: Update) -> Participant | None:
    match update.WhichOneof("update"):
        case "receipt":
            return find_participant(update.receipt.reader)
        case "presence":
            return find_participant(update.presence.participant)
        case "typing":
            return find_participant(update.typing.participant)
    return None


def _is_gone(update: Update) -> bool:
    return update.HasField("presence") and not update.presence.looking


async def _unsubscribe(look: _Look) -> None:
    if look.subscription is not None:
        try:
            await look.subscription.unsubscribe()
        except nats.errors.Error as error:
            logger.debug("a subscription ended with its connection: %s", error)
