"""This replica's feeds: what arrives of each conversation, in order, to the subscribers in it.

A feed is one NATS subscription and one cursor, shared by all of the conversation's subscribers
here: a message is decoded and encoded once, and a gap is fetched once, however many they are. An
edit of a message that some of them do not see is encoded once more, for those.
"""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Protocol

import nats.errors
from google.protobuf.message import DecodeError
from nats.aio.msg import Msg

from tieline.api.messaging.v1 import messaging_service_pb2
from tieline.chassis.broker import broker_unavailable_error
from tieline.chassis.errors import ServiceError
from tieline.chassis.postgres import Pool
from tieline.messaging.conversations.notes import find_departed
from tieline.messaging.conversations.rules import Participant
from tieline.messaging.live.catching_up import Start
from tieline.messaging.live.delivery import Cursor
from tieline.messaging.live.subjects import build_conversation_subject
from tieline.messaging.live.subscriber import Subscriber, Update
from tieline.messaging.messages.rules import hide_edit, is_edit_hidden, message_to_proto
from tieline.messaging.repositories.participants import UserKey
from tieline.messaging.repositories.stored_messages import list_messages
from tieline.messaging.sending.numbering import ConversationKey

# Messages of two replicas overtake each other by about this much; fetching would be a waste.
_GAP_PATIENCE_S = 0.005

_FETCH_ROWS = 200
_FLUSH_TIMEOUT_S = 2

# Behind an outage every feed has a gap; sending must not wait for all of them to be filled.
MAX_LIVE_READS = 2

# Of a subscriber that receives nothing yet.
_NOT_STARTED = Start(sys.maxsize, sys.maxsize)

logger = logging.getLogger(__name__)


class LiveSubscription(Protocol):
    """A subscription that can end."""

    async def unsubscribe(self) -> None:
        """Receive nothing more."""


class LiveBroker(Protocol):
    """What live delivery needs of a NATS connection."""

    @property
    def stats(self) -> dict[str, Any]:
        """Counters, ``reconnects`` among them."""

    @property
    def is_connected(self) -> bool:
        """Whether the server can be reached."""

    async def subscribe(
        self, subject: str, *, cb: Callable[[Msg], Awaitable[None]]
    ) -> LiveSubscription:
        """Call ``cb`` for each message."""

    async def publish(self, subject: str, payload: bytes, /) -> None:
        """Send a message to all who are subscribed."""

    async def flush(self, timeout_s: int, /) -> None:
        """Return once the server has everything that was sent before."""


class _Feed:
    """One conversation on this replica."""

    __slots__ = ("cursor", "filling", "key", "starts", "subscription")

    def __init__(self, key: ConversationKey) -> None:
        self.key = key
        self.cursor: Cursor[Update] = Cursor()
        self.starts: dict[Subscriber, Start] = {}
        """From where on each subscriber receives the messages, and what it reads."""

        self.subscription: LiveSubscription | None = None
        self.filling: asyncio.Task[None] | None = None


class Feeds:
    """The feeds of all conversations that somebody connected to this replica is in."""

    def __init__(
        self,
        pool: Pool,
        broker: LiveBroker,
        reads: asyncio.Semaphore,
        on_left: Callable[[ConversationKey, UserKey], None],
    ) -> None:
        self._pool = pool
        self._broker = broker
        self._reads = reads
        self._on_left = on_left
        self._feeds: dict[ConversationKey, _Feed] = {}
        self._lock = asyncio.Lock()
        self._endings: set[asyncio.Task[None]] = set()

    async def acquire(self, subscriber: Subscriber, keys: Collection[ConversationKey]) -> None:
        """Hold the feeds of these conversations for a subscriber, who receives nothing yet.

        They are in force after the next flush. One who has left holds nothing.
        """
        # Under a lock: whoever finds a feed may rely on its subscription having been sent.
        async with self._lock:
            for key in () if subscriber.has_left else keys:
                feed = self._feeds.get(key)
                if feed is None:
                    feed = _Feed(key)
                    feed.subscription = await self._broker.subscribe(
                        build_conversation_subject(*key), cb=self._build_receiver(feed)
                    )
                    self._feeds[key] = feed
                feed.starts.setdefault(subscriber, _NOT_STARTED)
                subscriber.conversation_ids.add(key[1])

    async def flush(self) -> None:
        """Return once the server has all subscriptions; UnavailableError while it is away."""
        try:
            if self._broker.is_connected:
                await self._broker.flush(_FLUSH_TIMEOUT_S)
                return
        except (OSError, nats.errors.Error) as error:
            logger.info("NATS does not answer: %s", error)
        raise broker_unavailable_error()

    async def release(self, subscriber: Subscriber, keys: Collection[ConversationKey]) -> None:
        """Let go of these feeds; one that nobody holds ends."""
        async with self._lock:
            for key in keys:
                await self._release(subscriber, key)

    async def release_all(self, subscriber: Subscriber) -> None:
        """Let go of all that a subscriber who has left holds."""
        # Read under the lock: what was being acquired when it left is among them.
        async with self._lock:
            for conversation_id in list(subscriber.conversation_ids):
                await self._release(subscriber, (subscriber.user[0], conversation_id))

    async def _release(self, subscriber: Subscriber, key: ConversationKey) -> None:
        subscriber.conversation_ids.discard(key[1])
        feed = self._feeds.get(key)
        if feed is None or feed.starts.pop(subscriber, None) is None or feed.starts:
            return
        del self._feeds[key]
        await _unsubscribe(feed)

    def start(
        self, subscriber: Subscriber, key: ConversationKey, stored: int, visible_from: int
    ) -> Start:
        """Let a subscriber receive what follows the ``stored`` messages of a conversation it holds.

        Returns from where on: from ``stored``, or from a message that this replica has seen since,
        and which was therefore stored before this moment too.
        """
        feed = self._feeds[key]
        start = Start(feed.cursor.anchor(stored), visible_from)
        feed.starts[subscriber] = start
        self._fill_gap(feed)
        return start

    def list_keys(self) -> list[ConversationKey]:
        """Return the conversations that have a feed."""
        return list(self._feeds)

    def list_receivers(self, key: ConversationKey) -> set[Participant]:
        """Return who receives a conversation here."""
        feed = self._feeds.get(key)
        starts = {} if feed is None else feed.starts
        return {each.user[1] for each, start in starts.items() if start != _NOT_STARTED}

    def reaches(self, subscriber: Subscriber, key: ConversationKey) -> bool:
        """Tell whether a subscriber receives a conversation: who only holds it may not be in it."""
        feed = self._feeds.get(key)
        return feed is not None and feed.starts.get(subscriber, _NOT_STARTED) != _NOT_STARTED

    def learn(self, key: ConversationKey, newest: int) -> None:
        """Note that a conversation has messages up to ``newest``; fetch what did not arrive."""
        feed = self._feeds.get(key)
        if feed is not None:
            feed.cursor.learn(newest)
            self._fill_gap(feed)

    def fill_gaps(self) -> None:
        """Fetch what any of the feeds misses; where that failed before, this tries again."""
        for feed in self._feeds.values():
            self._fill_gap(feed)

    async def close(self) -> None:
        """Stop fetching; the broker's end ends the subscriptions."""
        tasks = [feed.filling for feed in self._feeds.values() if feed.filling is not None]
        tasks += self._endings
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _build_receiver(self, feed: _Feed) -> Callable[[Msg], Awaitable[None]]:
        async def receive(message: Msg) -> None:
            update = Update()
            try:
                update.message.ParseFromString(message.data)
            except DecodeError:
                logger.warning("what came on %s is no message", message.subject)
                return
            self._take(feed, update)
            self._fill_gap(feed)

        return receive

    def _take(self, feed: _Feed, update: Update) -> None:
        if not feed.cursor.is_anchored:
            self._let_out(feed, update)
        for sequence, ready in feed.cursor.take(update.message.sequence, update):
            receivers = {
                each: start for each, start in feed.starts.items() if sequence > start.number
            }
            if receivers:
                _push(ready, receivers)
            self._let_out(feed, ready)

    def _let_out(self, feed: _Feed, update: Update) -> None:
        """Deliver nothing more to those who, by this note, are out of the conversation.

        What follows the note has higher numbers, and so goes out after this, whichever replica
        sent it.
        """
        if not update.message.content.HasField("participants_note"):
            return
        for participant in find_departed(update.message.content.participants_note):
            self._let_out_of(feed, participant)

    def let_out(self, key: ConversationKey, participant: Participant) -> None:
        """Deliver nothing more of a conversation to somebody who is out of it, and say so."""
        feed = self._feeds.get(key)
        if feed is not None:
            self._let_out_of(feed, participant)

    def _let_out_of(self, feed: _Feed, participant: Participant) -> None:
        user = (feed.key[0], participant)
        for subscriber in [each for each in feed.starts if each.user == user]:
            del feed.starts[subscriber]
            subscriber.conversation_ids.discard(feed.key[1])
            left = messaging_service_pb2.ConversationLeft(conversation_id=feed.key[1])
            subscriber.push(Update(left=left))
            self._on_left(feed.key, user)
        if not feed.starts:
            task = asyncio.create_task(self._end_unused(feed), name="end-feed")
            self._endings.add(task)
            task.add_done_callback(self._endings.discard)

    async def _end_unused(self, feed: _Feed) -> None:
        async with self._lock:
            if not feed.starts and self._feeds.get(feed.key) is feed:
                del self._feeds[feed.key]
                await _unsubscribe(feed)

    def _fill_gap(self, feed: _Feed) -> None:
        if feed.filling is None and feed.cursor.missing is not None:
            feed.filling = asyncio.create_task(self._fill(feed), name="fill-gap")

    async def _fill(self, feed: _Feed) -> None:
        try:
            await asyncio.sleep(_GAP_PATIENCE_S)
            while feed.starts and (missing := feed.cursor.missing) is not None:
                await self._fetch(feed, *missing)
                if feed.cursor.last == missing[0]:
                    logger.warning("messages that were announced are not in the database")
                    break
        except ServiceError as error:
            # `fill_gaps` tries again.
            logger.info("a gap stays for now: %s", error.text)
        except Exception:
            logger.exception("a gap could not be filled")
        finally:
            feed.filling = None

    async def _fetch(self, feed: _Feed, after: int, up_to: int) -> None:
        async with self._reads, self._pool.acquire() as connection:
            messages = await list_messages(
                connection, feed.key, after=after, up_to=up_to, limit=_FETCH_ROWS
            )
        for message in messages:
            self._take(feed, Update(message=message_to_proto(message)))


def _push(update: Update, receivers: Mapping[Subscriber, Start]) -> None:
    """Queue a message, encoded once for all who may read the same of it."""
    encoded, encoded_hidden = update.SerializeToString(), b""
    is_edit = update.message.content.HasField("edit_note")
    for subscriber, start in receivers.items():
        if is_edit and is_edit_hidden(update.message, start.visible_from):
            encoded_hidden = encoded_hidden or _encode_hidden(update)
            subscriber.push(encoded_hidden)
        else:
            subscriber.push(encoded)


def _encode_hidden(update: Update) -> bytes:
    hidden = Update(message=update.message)
    hide_edit(hidden.message)
    return hidden.SerializeToString()


async def _unsubscribe(feed: _Feed) -> None:
    if feed.filling is not None:
        feed.filling.cancel()
    if feed.subscription is not None:
        try:
            await feed.subscription.unsubscribe()
        except nats.errors.Error as error:
            logger.debug("a subscription ended with its connection: %s", error)
