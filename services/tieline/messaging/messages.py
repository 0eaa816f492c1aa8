"""The rules of a message, and messages as they are stored. Pure."""

import datetime as dt
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp

from tieline.api.messaging.v1 import messaging_pb2
from tieline.chassis.errors import FailedPreconditionError
from tieline.chassis.fields import (
    CONTROL_CHARACTER_PATTERN,
    is_uuid,
    raise_violations,
    to_timestamp,
)
from tieline.messaging.conversations import (
    Participant,
    check_conversation_id,
    participant_to_proto,
)

# The open API's limit of a text message.
MAX_TEXT_BYTES = 2048
# A text at its longest and its framing. Fields that this version does not know count as well.
MAX_CONTENT_BYTES = MAX_TEXT_BYTES + 64
MAX_GREETING_CHARACTERS = 128
MAX_CLIENT_MESSAGE_ID_BYTES = 64


@dataclass(frozen=True, slots=True)
class Send:
    """One checked request to send."""

    corp_id: str
    conversation_id: str
    sender: Participant
    client_message_id: str
    content: bytes
    """Serialized MessageContent; equal contents have equal bytes."""


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One row of ``messages``."""

    corp_id: str
    conversation_id: str
    sequence: int
    sender: Participant
    client_message_id: str
    content: bytes
    create_time: dt.datetime


def client_message_id_used_error() -> FailedPreconditionError:
    """Return the error for an id that was used before the time in which repeats are recognised."""
    return FailedPreconditionError(
        "CLIENT_MESSAGE_ID_REUSED", "client_message_id was used long ago; choose another"
    )


def build_send(
    user: tuple[str, Participant],
    conversation_id: str,
    client_message_id: str,
    content: messaging_pb2.MessageContent,
) -> Send:
    """Return what the user of that corp sends, or refuse it with all that is wrong."""
    check_conversation_id(conversation_id)
    violations: dict[str, str] = {}
    check_client_message_id(client_message_id, violations)
    check_content(content, violations)
    raise_violations(violations)
    corp_id, sender = user
    return Send(
        corp_id,
        conversation_id,
        sender,
        client_message_id,
        content.SerializeToString(deterministic=True),
    )


def check_client_message_id(value: str, violations: dict[str, str]) -> None:
    """Refuse what is empty, long or unfit for a log line."""
    size_bytes = len(value.encode())
    if not 1 <= size_bytes <= MAX_CLIENT_MESSAGE_ID_BYTES:
        violations["client_message_id"] = f"must have 1 to {MAX_CLIENT_MESSAGE_ID_BYTES} bytes"
    elif CONTROL_CHARACTER_PATTERN.search(value):
        violations["client_message_id"] = "must not contain control characters"


def check_content(content: messaging_pb2.MessageContent, violations: dict[str, str]) -> None:
    """Refuse a content that is none, is too large, or breaks the rules of its kind."""
    kind = content.WhichOneof("kind")
    if kind == "text":
        _check_text(content.text, violations)
    elif kind == "red_packet":
        _check_red_packet(content.red_packet, violations)
    else:
        violations["content"] = "must have one of text, red_packet"
    if content.ByteSize() > MAX_CONTENT_BYTES:
        violations["content"] = f"must have at most {MAX_CONTENT_BYTES} bytes"


def _check_text(content: messaging_pb2.TextContent, violations: dict[str, str]) -> None:
    if not 1 <= len(content.text.encode()) <= MAX_TEXT_BYTES:
        violations["content.text.text"] = f"must have 1 to {MAX_TEXT_BYTES} bytes of UTF-8"
    elif "\0" in content.text:
        violations["content.text.text"] = "must not contain U+0000"


def _check_red_packet(content: messaging_pb2.RedPacketContent, violations: dict[str, str]) -> None:
    if not is_uuid(content.red_packet_id):
        violations["content.red_packet.red_packet_id"] = "must be the UUID of a red packet"
    if len(content.greeting) > MAX_GREETING_CHARACTERS:
        violations["content.red_packet.greeting"] = (
            f"must have at most {MAX_GREETING_CHARACTERS} characters"
        )
    elif CONTROL_CHARACTER_PATTERN.search(content.greeting):
        violations["content.red_packet.greeting"] = "must not contain control characters"


def message_to_proto(message: StoredMessage) -> messaging_pb2.Message:
    """Return the message as the API shows it."""
    return build_proto(message, to_timestamp(message.create_time))


def build_proto(message: StoredMessage, create_time: Timestamp) -> messaging_pb2.Message:
    """Return the message as the API shows it; one conversion of the time serves a whole batch."""
    proto = messaging_pb2.Message(
        corp_id=message.corp_id,
        conversation_id=message.conversation_id,
        sequence=message.sequence,
        sender=participant_to_proto(message.sender),
        client_message_id=message.client_message_id,
        create_time=create_time,
    )
    proto.content.ParseFromString(message.content)
    return proto
