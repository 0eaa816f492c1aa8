"""Which sends of a batch are new, and which number each new one gets. Pure.

The caller holds the locks of all conversations of the batch, so that the facts stay true until the
numbers are written.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tieline.chassis.errors import FailedPreconditionError, ServiceError
from tieline.messaging.conversations import Participant, conversation_not_found_error
from tieline.messaging.messages import Send, StoredMessage

ConversationKey = tuple[str, str]
"""``(corp_id, conversation_id)``"""


@dataclass(frozen=True, slots=True)
class SendFacts:
    """What the database knows about one send."""

    participating: bool
    """Whether the sender is in the conversation."""

    repeated: StoredMessage | None
    """The sender's message of the same client message id, if there is one."""


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
    last_sequences: Mapping[ConversationKey, int],
    now: dt.datetime,
) -> NumberedBatch:
    """Give each new message the next number of its conversation; a bad send fails alone.

    ``last_sequences`` has the conversations that exist. A repeat, of an earlier batch or of an
    earlier send of this one, has the first message as its outcome.
    """
    batch = NumberedBatch()
    given: dict[tuple[str, str, Participant, str], StoredMessage] = {}
    for send, known in zip(sends, facts, strict=True):
        conversation = (send.corp_id, send.conversation_id)
        if not known.participating or conversation not in last_sequences:
            batch.outcomes.append(conversation_not_found_error(send.conversation_id))
            continue
        key = (*conversation, send.sender, send.client_message_id)
        first = known.repeated or given.get(key)
        if first is not None:
            batch.outcomes.append(_repeat(send, first))
            continue
        last = batch.last_sequences.get(conversation, last_sequences[conversation])
        message = _store(send, last + 1, now)
        given[key] = message
        batch.last_sequences[conversation] = message.sequence
        batch.new.append(message)
        batch.outcomes.append(message)
    return batch


def _store(send: Send, sequence: int, now: dt.datetime) -> StoredMessage:
    return StoredMessage(
        send.corp_id,
        send.conversation_id,
        sequence,
        send.sender,
        send.client_message_id,
        send.content,
        now,
    )


def _repeat(send: Send, first: StoredMessage) -> StoredMessage | ServiceError:
    if send.content == first.content:
        return first
    return FailedPreconditionError(
        "CLIENT_MESSAGE_ID_REUSED",
        "client_message_id was used for other contents",
        {"clientMessageId": send.client_message_id, "sequence": str(first.sequence)},
    )
