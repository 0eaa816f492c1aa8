"""Which sends of a batch are new, and which number each new one gets. Pure.

The caller holds the locks of all conversations of the batch, so that the facts stay true until the
numbers are written.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tieline.api.messaging.v1 import messaging_pb2
from tieline.chassis.errors import FailedPreconditionError, ServiceError
from tieline.messaging.conversations.rules import Participant, conversation_not_found_error
from tieline.messaging.messages.rules import Send, StoredMessage

ConversationKey = tuple[str, str]
"""``(corp_id, conversation_id)``"""

UNCOUNTED_KINDS = frozenset(
    {"edit_note", "recall_note", "reaction_note", "pin_note", "answer_note"}
)
"""Kinds that do not count as unread."""


class Counter(NamedTuple):
    """How far a conversation's log goes."""

    last_sequence: int
    uncounted: int
    """How many of its entries do not count as unread."""


class SendFacts(NamedTuple):
    """What the database knows about one send."""

    participating: bool
    """Whether the sender is in the conversation."""

    repeated: StoredMessage | None
    """The sender's message of the same client message id, if there is one."""

    refusal: ServiceError | None = None
    """Why the message may not be stored if it is new."""

    flagged: tuple[str, ...] = ()
    """Sensitive words of the message that officers want to see."""


@dataclass(slots=True)
class NumberedBatch:
    """What a batch comes to."""

    new: list[StoredMessage] = field(default_factory=list)
    """To be stored, in the order of the batch."""

    last_sequences: dict[ConversationKey, int] = field(default_factory=dict)
    """Of the conversations that get new messages."""

    outcomes: list[StoredMessage | ServiceError] = field(default_factory=list)
    """One for each send."""


def number_batch(
    sends: Sequence[Send],
    facts: Sequence[SendFacts],
    counters: Mapping[ConversationKey, Counter],
    now: dt.datetime,
) -> NumberedBatch:
    """Give each new message the next number of its conversation; a bad send fails alone.

    ``counters`` has the conversations that exist. A repeat, of an earlier batch or of an
    earlier send of this one, has the first message as its outcome.
    """
    batch = NumberedBatch()
    given: dict[tuple[str, str, Participant, str], StoredMessage] = {}
    for send, known in zip(sends, facts, strict=True):
        conversation = (send.corp_id, send.conversation_id)
        counter = counters.get(conversation)
        if not known.participating or counter is None:
            batch.outcomes.append(conversation_not_found_error(send.conversation_id))
            continue
        key = (*conversation, send.sender, send.client_message_id)
        first = known.repeated or given.get(key)
        if first is not None:
            batch.outcomes.append(_repeat(send, first))
            continue
        if known.refusal is not None:
            batch.outcomes.append(known.refusal)
            continue
        last = batch.last_sequences.get(conversation, counter.last_sequence)
        message = _store(send, last + 1, now, counter.uncounted, known.flagged)
        given[key] = message
        batch.last_sequences[conversation] = message.sequence
        batch.new.append(message)
        batch.outcomes.append(message)
    return batch


def number_notes(
    notes: Sequence[tuple[ConversationKey, Participant, messaging_pb2.MessageContent]],
    counters: Mapping[ConversationKey, Counter],
    now: dt.datetime,
) -> list[StoredMessage]:
    """Give each note, of whom and of what, the next number of its conversation."""
    reached = dict(counters)
    stored = []
    for key, actor, content in notes:
        counter = reached[key]
        uncounted = counter.uncounted + (content.WhichOneof("kind") in UNCOUNTED_KINDS)
        reached[key] = Counter(counter.last_sequence + 1, uncounted)
        stored.append(
            StoredMessage(
                *key,
                counter.last_sequence + 1,
                actor,
                "",
                content.SerializeToString(deterministic=True),
                now,
                uncounted,
            )
        )
    return stored


def _store(
    send: Send, sequence: int, now: dt.datetime, uncounted: int, flagged: tuple[str, ...]
) -> StoredMessage:
    return StoredMessage(
        send.corp_id,
        send.conversation_id,
        sequence,
        send.sender,
        send.client_message_id,
        send.content,
        now,
        uncounted,
        media=send.media,
        flagged=flagged,
    )


def _repeat(send: Send, first: StoredMessage) -> StoredMessage | ServiceError:
    if first.says(send.content):
        return first
    return FailedPreconditionError(
        "CLIENT_MESSAGE_ID_REUSED",
        "client_message_id was used for other contents",
        {"clientMessageId": send.client_message_id, "sequence": str(first.sequence)},
    )
