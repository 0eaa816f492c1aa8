"""The rules of scheduled messages, and scheduled messages as they are stored. Pure."""

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from tieline.api.messaging.v1 import messaging_pb2, scheduled_message_service_pb2
from tieline.chassis.errors import (
    FailedPreconditionError,
    NotFoundError,
    ResourceExhaustedError,
)
from tieline.chassis.fields import to_timestamp
from tieline.messaging.conversations.rules import Participant, participant_to_proto

# Of one person: more than anybody plans, and less than a burst that would be felt.
MAX_ACTIVE = 200


class State(StrEnum):
    """What became of a schedule; the values stand in tables."""

    ACTIVE = "active"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    FAILED = "failed"


STATES_TO_PROTO = MappingProxyType(
    {
        State.ACTIVE: scheduled_message_service_pb2.SCHEDULED_MESSAGE_STATE_ACTIVE,
        State.FINISHED: scheduled_message_service_pb2.SCHEDULED_MESSAGE_STATE_FINISHED,
        State.CANCELLED: scheduled_message_service_pb2.SCHEDULED_MESSAGE_STATE_CANCELLED,
        State.FAILED: scheduled_message_service_pb2.SCHEDULED_MESSAGE_STATE_FAILED,
    }
)


@dataclass(frozen=True, slots=True)
class ScheduledMessage:
    """One row of ``scheduled_messages``."""

    corp_id: str
    scheduled_message_id: str
    conversation_id: str
    sender: Participant
    content: bytes
    """Serialized MessageContent."""

    schedule: bytes
    """Serialized Schedule."""

    state: State
    next_send_time: dt.datetime | None
    """None unless active."""

    sent_count: int
    last_send_time: dt.datetime | None
    failure: bytes | None
    """Serialized SendError of a failed one."""

    version: int
    create_time: dt.datetime


def build_client_message_id(message: ScheduledMessage) -> str:
    """Return the id under which the next occurrence is sent, however often that is tried."""
    return f"scheduled-{message.scheduled_message_id}-{message.sent_count + 1}"


def scheduled_message_not_found_error(scheduled_message_id: str) -> NotFoundError:
    """Return the error for an id that is nobody's, or somebody else's."""
    return NotFoundError(
        "SCHEDULED_MESSAGE_NOT_FOUND",
        "no such scheduled message",
        {"scheduledMessageId": scheduled_message_id},
    )


def check_room(active: int) -> None:
    """Refuse one more active message than a person may have."""
    if active >= MAX_ACTIVE:
        raise ResourceExhaustedError(
            "SCHEDULED_MESSAGES_EXHAUSTED",
            f"{MAX_ACTIVE} scheduled messages are active: cancel one first",
        )


def check_is_active(message: ScheduledMessage) -> None:
    """Refuse to change what has ended."""
    if message.state is not State.ACTIVE:
        raise FailedPreconditionError(
            "SCHEDULED_MESSAGE_ENDED",
            f"the scheduled message is {message.state}: schedule another",
            {"scheduledMessageId": message.scheduled_message_id},
        )


def scheduled_message_to_proto(
    message: ScheduledMessage,
) -> scheduled_message_service_pb2.ScheduledMessage:
    """Return it as the API shows it."""
    proto = scheduled_message_service_pb2.ScheduledMessage(
        corp_id=message.corp_id,
        scheduled_message_id=message.scheduled_message_id,
        conversation_id=message.conversation_id,
        sender=participant_to_proto(message.sender),
        content=messaging_pb2.MessageContent.FromString(message.content),
        schedule=scheduled_message_service_pb2.Schedule.FromString(message.schedule),
        state=STATES_TO_PROTO[message.state],
        sent_count=message.sent_count,
        create_time=to_timestamp(message.create_time),
        etag=str(message.version),
    )
    if message.next_send_time is not None:
        proto.next_send_time.CopyFrom(to_timestamp(message.next_send_time))
    if message.last_send_time is not None:
        proto.last_send_time.CopyFrom(to_timestamp(message.last_send_time))
    if message.failure is not None:
        proto.failure.ParseFromString(message.failure)
    return proto
