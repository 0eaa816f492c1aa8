"""Devices of people: the client library's feed, and what a device keeps from one to the next."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from integration.messaging.chat import Inbox, Person
from integration.messaging.conversation_model import Told, tell
from tieline.api.messaging.v1 import messaging_pb2, reading_pb2
from tieline.client import MessageFeed, SessionTokens, Tieline


class Device:
    """One device of one person, which holds what its feeds have given; a HeldNumbers of them.

    A note about a message changes what is shown of that message, as in any client.
    """

    def __init__(self, connections: Sequence[Tieline], access_token: str) -> None:
        tokens = SessionTokens("session", access_token, _in_an_hour(), "", _in_an_hour())
        self._people = [connection.resume(tokens) for connection in connections]
        self.shown: dict[str, dict[int, Told]] = {}
        """Conversation id to its entries by their numbers."""

        self._next_replica = 0
        self._feed: MessageFeed | None = None
        self._reading: asyncio.Task[None] | None = None

    def load(self) -> Mapping[str, int]:
        """Return up to which number there is everything."""
        return {key: max(entries) for key, entries in self.shown.items()}

    def put(self, conversation_id: str, sequence: int) -> None:
        """Nothing to do: the number is kept with its message."""
        assert sequence in self.shown[conversation_id], "it was taken before"

    def forget(self, conversation_id: str) -> None:
        """Throw away a conversation that the person is not in any more."""
        self.shown.pop(conversation_id, None)

    def last_number(self, conversation_id: str) -> int | None:
        """Return the number of the newest entry; None for a conversation that is not there."""
        return self.load().get(conversation_id)

    @asynccontextmanager
    async def switched_on(self) -> AsyncIterator[None]:
        """Be there for the block, unless reconnected elsewhere or switched off within it."""
        self._switch_on()
        try:
            yield
        finally:
            await self.switch_off()

    async def toggle(self) -> None:
        """Lose the connection, or connect again: at the other replica."""
        if self._feed is None:
            self._switch_on()
        else:
            await self.switch_off()

    async def catch_up(self) -> None:
        """Be connected, and return once all that was stored before has been told."""
        if self._feed is None:
            self._switch_on()
        assert self._feed is not None, "switched on"
        await self._feed.wait_live()

    async def switch_off(self) -> None:
        """Lose the connection, with all that was on its way."""
        if self._reading is None:
            return
        self._reading.cancel()
        [outcome] = await asyncio.gather(self._reading, return_exceptions=True)
        self._reading = self._feed = None
        assert isinstance(outcome, asyncio.CancelledError), outcome

    def _switch_on(self) -> None:
        person = self._people[self._next_replica % len(self._people)]
        self._next_replica += 1
        self._feed = person.watch_messages(store=self)
        self._reading = asyncio.create_task(self._read(self._feed))

    async def _read(self, feed: MessageFeed) -> None:
        async with feed:
            async for message in feed:
                self._take(message)

    def _take(self, message: messaging_pb2.Message) -> None:
        entries = self.shown.setdefault(message.conversation_id, {})
        told = tell(message)
        assert told.number > max(entries, default=0), f"{told} comes twice, or late"
        entries[told.number] = told
        original = entries.get(told.about)
        if told.kind == "edit_note" and original is not None and original.kind == "text":
            entries[told.about] = original._replace(said=told.said)
        elif told.kind == "recall_note":
            _recall(entries, told.about)


def _recall(entries: dict[int, Told], number: int) -> None:
    if number in entries:
        entries[number] = entries[number]._replace(kind="recalled", said="")
    for note in list(entries.values()):
        if note.kind == "edit_note" and note.about == number:
            entries[note.number] = note._replace(said="")


def _in_an_hour() -> dt.datetime:
    return dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)


class StateHolder:
    """A device that holds how its owner stands to conversations: as it is told, and catching up."""

    def __init__(self, person: Person) -> None:
        self._person = person
        self._held: dict[str, reading_pb2.ReadingState] = {}
        self._connection = AsyncExitStack()
        self._inbox = Inbox()

    def find(self, conversation_id: str) -> tuple[int, str]:
        """Return up to where is read, and the draft."""
        for update in self._inbox.updates:
            if update.HasField("state"):
                self._held[update.state.conversation_id] = update.state
        state = self._held.get(conversation_id, reading_pb2.ReadingState())
        return state.read_sequence, state.draft.text

    @asynccontextmanager
    async def switched_on(self) -> AsyncIterator[None]:
        """Be there for the block."""
        await self.reconnect()
        try:
            yield
        finally:
            await self._connection.aclose()

    async def reconnect(self) -> None:
        """Lose the connection, with all that was on its way, and connect again."""
        await self._connection.aclose()
        self.find("")
        revision = max([0, *(state.revision for state in self._held.values())])
        subscribed = self._person.subscribed({}, state_revision=revision)
        self._inbox = await self._connection.enter_async_context(subscribed)


@asynccontextmanager
async def all_switched_on(devices: Sequence[Device | StateHolder]) -> AsyncIterator[None]:
    """Have all of them there for the block."""
    async with AsyncExitStack() as stack:
        for device in devices:
            await stack.enter_async_context(device.switched_on())
        yield
