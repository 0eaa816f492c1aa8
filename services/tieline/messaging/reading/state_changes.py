"""Commits changes of reading states, as many as wait at a time, and tells of them live."""

from collections.abc import Iterator, Mapping, Sequence

from tieline.api.messaging.v1 import live_signal_pb2, reading_pb2
from tieline.chassis.errors import ServiceError
from tieline.chassis.postgres import Connection
from tieline.messaging.conversations.rules import conversation_not_found_error, participant_to_proto
from tieline.messaging.live.announcer import Announcement, Announcer
from tieline.messaging.live.subjects import build_look_subject, build_person_subject
from tieline.messaging.live.subscriber import Update
from tieline.messaging.reading.rules import (
    Mark,
    ReadingState,
    StateChange,
    apply_wish,
    state_to_proto,
)
from tieline.messaging.repositories.participants import UserKey
from tieline.messaging.repositories.reading import ReadingRepository, Standing, Wanted

_StateKey = tuple[UserKey, str]
"""Person and conversation id."""


class StateChanger:
    """The commit function of the batcher of state changes."""

    def __init__(self, announcer: Announcer) -> None:
        self._announcer = announcer

    async def commit(
        self, connection: Connection, changes: Sequence[StateChange]
    ) -> Sequence[reading_pb2.ReadingState | ServiceError]:
        """Apply the changes in their order; return what each state is behind the batch."""
        repository = ReadingRepository(connection)
        revisions = await repository.lock_revisions({_user_of(change) for change in changes})
        standings = await repository.list_standings({_wanted_of(change) for change in changes})
        before = {(user, of): standing.state for (user, of, _), standing in standings.items()}
        batch = _Batch(before)
        for change in changes:
            batch.apply(change, standings)
        changed = [key for key, state in batch.states.items() if state != before[key]]
        for key in changed:
            revisions[key[0]] += 1
            batch.revise(key, revisions[key[0]])
        if changed:
            await repository.store_states(
                [(key[0], batch.states[key]) for key in changed],
                {user: revisions[user] for user in {key[0] for key in changed}},
            )
        now_of = {(user, of): standing.now for (user, of, _), standing in standings.items()}
        protos = {key: state_to_proto(state, now_of[key]) for key, state in batch.states.items()}
        announcements = [
            each for key in changed for each in _build_announcements(key, before[key], protos[key])
        ]
        if announcements:
            self._announcer.announce_after_commit(connection, announcements)
        return [
            error or protos[_key_of(change)]
            for change, error in zip(changes, batch.errors, strict=True)
        ]


class _Batch:
    """The states as the batch's changes leave them."""

    def __init__(self, states: dict[_StateKey, ReadingState]) -> None:
        self.states = dict(states)
        self.errors: list[ServiceError | None] = []

    def apply(self, change: StateChange, standings: Mapping[Wanted, Standing]) -> None:
        """Apply a change; one that is wrong fails alone."""
        key = _key_of(change)
        standing = standings.get(_wanted_of(change))
        if standing is None:
            self.errors.append(conversation_not_found_error(change.conversation_id))
            return
        try:
            self.states[key] = apply_wish(
                self.states[key],
                change.wish,
                last_sequence=standing.last_sequence,
                read_uncounted=standing.wanted_uncounted,
                now=standing.now,
            )
        except ServiceError as error:
            self.errors.append(error)
        else:
            self.errors.append(None)

    def revise(self, key: _StateKey, revision: int) -> None:
        """Give a changed state its number."""
        self.states[key] = self.states[key].with_revision(revision)


def _build_announcements(
    key: _StateKey, before: ReadingState, state: reading_pb2.ReadingState
) -> Iterator[Announcement]:
    user, conversation_id = key
    signal = live_signal_pb2.PersonSignal(state=state)
    yield build_person_subject(user), signal.SerializeToString()
    if (before.read_sequence, before.delivered_sequence) != (
        state.read_sequence,
        state.delivered_sequence,
    ):
        receipt = reading_pb2.ReadReceipt(
            conversation_id=conversation_id,
            reader=participant_to_proto(user[1]),
            read_sequence=state.read_sequence,
            delivered_sequence=state.delivered_sequence,
        )
        look = live_signal_pb2.LookSignal(update=Update(receipt=receipt))
        yield build_look_subject(user[0], conversation_id), look.SerializeToString()


def _user_of(change: StateChange) -> UserKey:
    return change.corp_id, change.participant


def _key_of(change: StateChange) -> _StateKey:
    return _user_of(change), change.conversation_id


def _wanted_of(change: StateChange) -> Wanted:
    read_sequence = change.wish.read_sequence if isinstance(change.wish, Mark) else 0
    return *_key_of(change), read_sequence
