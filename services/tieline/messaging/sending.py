"""Commits a batch of sends: locks, numbers, writes, and tells of it."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from tieline.api.messaging.v1 import messaging_pb2
from tieline.chassis.errors import ServiceError
from tieline.chassis.fields import to_timestamp
from tieline.chassis.outbox import Event, build_event
from tieline.chassis.postgres import Connection
from tieline.messaging.announcer import Announcer
from tieline.messaging.messages import Send, StoredMessage, build_proto, message_to_proto
from tieline.messaging.numbering import number_batch
from tieline.messaging.repositories.messages import MessageRepository
from tieline.messaging.subjects import build_conversation_subject

MESSAGES_SENT = "tieline.messaging.v1.messages_sent"

# At 2.4 KiB a message at most, within the 512 KiB of an event.
MAX_EVENT_MESSAGES = 200


class Sender:
    """The commit function of the batcher."""

    def __init__(self, announcer: Announcer) -> None:
        self._announcer = announcer

    async def commit(
        self, connection: Connection, sends: Sequence[Send]
    ) -> Sequence[messaging_pb2.Message | ServiceError]:
        """Store what is new of the batch in two statements; return one outcome for each send."""
        repository = MessageRepository(connection)
        known = await repository.lock_and_look_up(sends)
        batch = number_batch(sends, known.facts, known.last_sequences, known.now)
        create_time = to_timestamp(known.now)
        protos = {id(message): build_proto(message, create_time) for message in batch.new}
        if batch.new:
            stored = list(protos.values())
            events = list(build_events(stored))
            await repository.insert_messages(batch.new, known.now, events)
            self._announcer.announce_after_commit(
                [
                    (
                        build_conversation_subject(message.corp_id, message.conversation_id),
                        message.SerializeToString(),
                    )
                    for message in stored
                ]
            )
        return [_to_outcome(outcome, protos) for outcome in batch.outcomes]


def build_events(messages: Sequence[messaging_pb2.Message]) -> Iterator[Event]:
    """Yield one event per corp, more only where a batch is too large for one.

    Of each conversation the events are in order, since the caller holds the locks of all of them.
    """
    # Sorting is stable: within a conversation the order of the numbers stays.
    for corp_id, group in groupby(sorted(messages, key=_corp_of), _corp_of):
        of_one = list(group)
        for begin in range(0, len(of_one), MAX_EVENT_MESSAGES):
            sent = messaging_pb2.MessagesSent(messages=of_one[begin : begin + MAX_EVENT_MESSAGES])
            yield build_event(MESSAGES_SENT, corp_id, corp_id, sent)


def _to_outcome(
    outcome: StoredMessage | ServiceError, protos: dict[int, messaging_pb2.Message]
) -> messaging_pb2.Message | ServiceError:
    if isinstance(outcome, ServiceError):
        return outcome
    return protos.get(id(outcome)) or message_to_proto(outcome)


def _corp_of(message: messaging_pb2.Message) -> str:
    return message.corp_id
