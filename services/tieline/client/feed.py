"""All messages of one party as they come: caught up, in order, none twice, none missing.

One subscription after the other; each says what is held, and begins with the rest of it or with
what must be fetched by range. A bounded queue lies between the network and the reader of the feed:
a reader that is slow makes the service end the subscription, and what was not read comes with the
next one.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import NamedTuple, Self

import grpc

from tieline.api.messaging.v1 import (
    messaging_pb2,
    messaging_service_pb2,
    messaging_service_pb2_grpc,
)
from tieline.client.errors import TielineError
from tieline.client.held_numbers import HeldNumbers
from tieline.client.interruptions import is_passing
from tieline.client.merging import MessageMerge
from tieline.client.pages import message_range

# Three times the time after which the service sends a heartbeat.
SILENCE_S = 45.0

# What a subscription takes; the conversations beyond are told by the service, to be fetched.
MAX_HELD = 2000

# Messages that wait for the feed's reader, and updates that wait to be merged: at most 2 KiB each.
QUEUE_SIZE = 1000

HELD_AHEAD = "HELD_AHEAD"
CONVERSATION_NOT_FOUND = "CONVERSATION_NOT_FOUND"

FIRST_DELAY_S = 0.1
MAX_DELAY_S = 5.0

logger = logging.getLogger(__name__)


_Update = messaging_service_pb2.SubscribeResponse | messaging_pb2.Message


class _Forgotten(NamedTuple):
    """Stands among the messages where the party left a conversation."""

    conversation_id: str


class MessageFeed:
    """An async context manager and iterator over one party's messages in one corp.

    ``held`` says, by conversation id, up to which number the party has everything; the others begin
    with their first message. ``store`` keeps these numbers from one feed to the next: what is in it
    is held, and a message is put into it when the next one is asked for, so that one whose reader
    dies over it comes again.

    The iterator raises TielineError where subscribing again can't help, such as SESSION_ENDED or
    TOO_MANY_SUBSCRIPTIONS, and CANCELLED where the connection was closed.
    """

    def __init__(
        self,
        messaging: messaging_service_pb2_grpc.MessagingServiceStub,
        *,
        corp_id: str = "",
        held: Mapping[str, int] | None = None,
        store: HeldNumbers | None = None,
    ) -> None:
        self._messaging = messaging
        self._corp_id = corp_id
        self._store = store
        self._held = {**(held or {}), **(store.load() if store else {})}
        self._merge = MessageMerge(self._held)
        self._given: messaging_pb2.Message | None = None
        self._messages: asyncio.Queue[messaging_pb2.Message | _Forgotten | None]
        self._messages = asyncio.Queue(QUEUE_SIZE)
        self._live = asyncio.Event()
        self._error: Exception | None = None
        self._task: asyncio.Task[None] | None = None
        self.interruptions = 0
        """How often a subscription ended and another one was made."""

    @property
    def held(self) -> Mapping[str, int]:
        """Conversation id to the number of the last message that was read from the feed."""
        return dict(self._held)

    async def wait_live(self) -> None:
        """Return once a subscription is in force and everything before it was fetched.

        Read the feed meanwhile: of a long absence more may wait than the feed keeps. Raises the
        error with which the feed ended.
        """
        await self._live.wait()
        if self._error is not None:
            raise self._error

    def __aiter__(self) -> AsyncIterator[messaging_pb2.Message]:
        return self

    async def __anext__(self) -> messaging_pb2.Message:
        """Return the next message; waits for one as long as it takes."""
        assert self._task is not None, "a feed is entered with `async with` before it is read"
        if self._given is not None and self._store is not None:
            self._store.put(self._given.conversation_id, self._given.sequence)
        self._given = None
        while isinstance(message := await self._messages.get(), _Forgotten):
            self._held.pop(message.conversation_id, None)
            if self._store is not None:
                self._store.forget(message.conversation_id)
        if message is None:
            # The end stays the end, for whoever asks again.
            self._messages.put_nowait(None)
            assert self._error is not None, "the end is put for an error alone"
            raise self._error
        self._held[message.conversation_id] = message.sequence
        self._given = message
        return message

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        assert self._task is not None, "entered"
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            await self._subscribe_for_ever()
        except asyncio.CancelledError:
            if self._is_being_left():
                raise
            # gRPC's own, such as of a connection that was closed under the feed.
            await self._end(TielineError(grpc.StatusCode.CANCELLED, "the subscription was ended"))
        except Exception as error:
            await self._end(error)

    def _is_being_left(self) -> bool:
        return self._task is not None and self._task.cancelling() > 0

    async def _end(self, error: Exception) -> None:
        """Let the reader read what waits, then raise ``error``."""
        self._error = error
        # Nobody who waits for a subscription must wait for the reader of a full queue.
        self._live.set()
        await self._messages.put(None)

    async def _subscribe_for_ever(self) -> None:
        delay_s = FIRST_DELAY_S
        while True:
            try:
                await self._follow_one_subscription()
            except TielineError as error:
                if error.reason == HELD_AHEAD:
                    # The platform is older than what is held, as after a restored backup.
                    await self._forget(error.metadata["conversationId"])
                elif not is_passing(error):
                    raise
                logger.info("subscription ended: %s", error)
            if self._live.is_set():
                delay_s = FIRST_DELAY_S
            self._live.clear()
            self.interruptions += 1
            await asyncio.sleep(delay_s * random.random())
            delay_s = min(delay_s * 2, MAX_DELAY_S)

    async def _follow_one_subscription(self) -> None:
        """Merge what one subscription brings, until it ends or breaks."""
        call = self._messaging.Subscribe(self._build_request())
        updates: asyncio.Queue[_Update | None] = asyncio.Queue(QUEUE_SIZE)
        # Reading goes on while ranges are fetched, or the service would find this client too slow.
        reading = asyncio.create_task(_read(call, updates))
        try:
            while (update := await updates.get()) is not None:
                if isinstance(update, messaging_pb2.Message):
                    await self._take_message(update)
                else:
                    await self._take(update)
            await reading
        finally:
            reading.cancel()
            # Cancelling a read ends the call; the reading may be waiting for room instead.
            call.cancel()

    def _build_request(self) -> messaging_service_pb2.SubscribeRequest:
        request = messaging_service_pb2.SubscribeRequest(
            corp_id=self._corp_id, catch_up=True, batches=True
        )
        # The latest that moved stand at the end; the others are told, to be fetched.
        for conversation_id, number in list(self._merge.held.items())[-MAX_HELD:]:
            request.held.add(conversation_id=conversation_id, sequence=number)
        return request

    async def _take_message(self, message: messaging_pb2.Message) -> None:
        if self._merge.is_after_gap(message):
            await self._fetch(message.conversation_id)
        if self._merge.is_after_gap(message):
            # The range came from somewhere that is behind; another subscription will know.
            raise TielineError(grpc.StatusCode.UNAVAILABLE, "messages are missing")
        await self._put(message)

    async def _take(self, update: messaging_service_pb2.SubscribeResponse) -> None:
        if update.HasField("fetch"):
            # What the party can't read, since it came later, is not missing.
            self._merge.begin_at(update.fetch.conversation_id, update.fetch.after_sequence)
            await self._fetch_missing(update.fetch.conversation_id, update.fetch.last_sequence)
        elif update.HasField("caught_up"):
            self._live.set()
        elif update.HasField("joined"):
            joined = update.joined
            self._merge.begin_at(joined.conversation_id, joined.visible_from_sequence)
            await self._fetch_missing(joined.conversation_id, joined.last_sequence)
        elif update.HasField("left"):
            await self._forget(update.left.conversation_id)

    async def _forget(self, conversation_id: str) -> None:
        """Begin anew with a conversation should the party come back to it."""
        self._merge.forget(conversation_id)
        # Behind the messages that wait, which would be held again when they are read.
        await self._messages.put(_Forgotten(conversation_id))

    async def _fetch_missing(self, conversation_id: str, last_sequence: int) -> None:
        if self._merge.is_missing(conversation_id, last_sequence):
            await self._fetch(conversation_id)

    async def _fetch(self, conversation_id: str) -> None:
        messages = message_range(
            self._messaging,
            conversation_id,
            corp_id=self._corp_id,
            after_sequence=self._merge.held_sequence(conversation_id),
        )
        try:
            async for message in messages:
                await self._put(message)
        except TielineError as error:
            if error.reason != CONVERSATION_NOT_FOUND:
                raise
            # The party left it meanwhile, which an update behind this one tells as well.
            await self._forget(conversation_id)

    async def _put(self, message: messaging_pb2.Message) -> None:
        if self._merge.accept(message):
            await self._messages.put(message)


def _unpack(update: messaging_service_pb2.SubscribeResponse) -> Iterable[_Update]:
    """Return what is to be taken one by one, so that a bounded queue of it is small."""
    if update.HasField("messages"):
        return update.messages.messages
    return [update.message] if update.HasField("message") else [update]


async def _read(
    call: grpc.aio.UnaryStreamCall[
        messaging_service_pb2.SubscribeRequest, messaging_service_pb2.SubscribeResponse
    ],
    updates: "asyncio.Queue[_Update | None]",
) -> None:
    """Pass on what the service sends, message by message, then None; raise how it ended."""
    try:
        responses = aiter(call)
        while True:
            async with asyncio.timeout(SILENCE_S):
                update = await anext(responses, None)
            if update is None:
                return
            for each in _unpack(update):
                await updates.put(each)
    except TimeoutError:
        raise TielineError(
            grpc.StatusCode.UNAVAILABLE, f"nothing arrived for {SILENCE_S:g} s"
        ) from None
    finally:
        await updates.put(None)
