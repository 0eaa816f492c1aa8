"""Tells those connected to this replica how their own reading states change.

Every change of a person has the next number. One that arrives behind a gap, and what a comparison
finds, is read from the database; so nothing is missed, whatever NATS loses.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from google.protobuf.message import DecodeError
from nats.aio.msg import Msg

from tieline.api.messaging.v1 import live_signal_pb2, reading_pb2
from tieline.chassis.errors import ServiceError
from tieline.chassis.postgres import Pool
from tieline.messaging.live.looks import Looks
from tieline.messaging.live.subjects import build_person_subject
from tieline.messaging.live.subscriber import Subscriber, Update
from tieline.messaging.reading.rules import state_to_proto
from tieline.messaging.repositories.participants import UserKey
from tieline.messaging.repositories.reading import ReadingRepository

_FETCH_ROWS = 200

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Person:
    """One person who is connected."""

    user: UserKey
    revision: int | None = None
    """Up to which everything was told; None while nobody is told anything."""

    is_reading: bool = False

    def advance_to(self, revision: int) -> None:
        """Take everything up to a revision as told."""
        self.revision = max(self.revision or 0, revision)


class People:
    """Who is connected here, and the revision up to which each was told."""

    def __init__(
        self,
        pool: Pool,
        reads: asyncio.Semaphore,
        subscribers: Mapping[UserKey, Collection[Subscriber]],
        looks: Looks,
    ) -> None:
        self._pool = pool
        self._reads = reads
        self._subscribers = subscribers
        self._looks = looks
        self._people: dict[str, _Person] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def begin(self, user: UserKey) -> int:
        """Tell the person's subscribers what changes from now on; return its revision before."""
        person = self._people.setdefault(build_person_subject(user), _Person(user))
        if person.revision is None:
            revisions = await self._read_revisions([user])
            person.advance_to(revisions.get(user, 0))
        return person.revision or 0

    def forget(self, user: UserKey) -> None:
        """Nobody of the person is connected any more."""
        self._people.pop(build_person_subject(user), None)

    async def list_states(
        self, user: UserKey, after_revision: int
    ) -> tuple[list[reading_pb2.ReadingState], int]:
        """Return the next of the person's states of a higher revision, and the newest revision."""
        async with self._reads, self._pool.acquire() as connection:
            states, last, now = await ReadingRepository(connection).list_states(
                user, after_revision=after_revision, limit=_FETCH_ROWS
            )
        return [state_to_proto(state, now) for state in states], last

    async def receive(self, message: Msg) -> None:
        """Take what is told of any person; most are not here."""
        person = self._people.get(message.subject)
        if person is None:
            return
        try:
            signal = live_signal_pb2.PersonSignal.FromString(message.data)
        except DecodeError:
            logger.warning("what came on %s is no signal", message.subject)
            return
        if signal.HasField("look"):
            for subscriber in list(self._subscribers.get(person.user, ())):
                if subscriber.id == signal.look.subscription_id:
                    await self._looks.look(subscriber, signal.look.conversation_id)
        elif signal.HasField("state"):
            self._take(person, signal.state)

    async def compare(self, users: Collection[UserKey]) -> None:
        """Read what changed of these people and was not told."""
        known = [
            person
            for user in users
            if (person := self._people.get(build_person_subject(user))) is not None
            and person.revision is not None
        ]
        if not known:
            return
        revisions = await self._read_revisions([person.user for person in known])
        for person in known:
            if revisions.get(person.user, 0) > (person.revision or 0):
                self._read_on(person)

    async def close(self) -> None:
        """Stop reading."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _take(self, person: _Person, state: reading_pb2.ReadingState) -> None:
        if person.revision is None or state.revision <= person.revision:
            return
        if state.revision == person.revision + 1 and not person.is_reading:
            self._tell(person, state)
        else:
            self._read_on(person)

    def _tell(self, person: _Person, state: reading_pb2.ReadingState) -> None:
        person.advance_to(state.revision)
        update = Update(state=state)
        for subscriber in list(self._subscribers.get(person.user, ())):
            if subscriber.is_started:
                subscriber.push(update)

    def _read_on(self, person: _Person) -> None:
        if person.is_reading:
            return
        person.is_reading = True
        task = asyncio.create_task(self._read(person), name="read-states")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self, person: _Person) -> None:
        """Tell all that is above the revision; the next comparison tries again what fails."""
        try:
            is_all = False
            while not is_all:
                after = person.revision or 0
                states, last = await self.list_states(person.user, after)
                for state in states:
                    self._tell(person, state)
                is_all = len(states) < _FETCH_ROWS
                if is_all:
                    # States of conversations that the person has left are not told.
                    person.advance_to(last)
        except ServiceError as error:
            logger.info("reading states wait: %s", error.text)
        except Exception:
            logger.exception("reading states could not be read")
        finally:
            person.is_reading = False

    async def _read_revisions(self, users: Collection[UserKey]) -> dict[UserKey, int]:
        async with self._reads, self._pool.acquire() as connection:
            return await ReadingRepository(connection).list_revisions(users)
