"""The rules of a message, and messages as they are stored. Pure."""

import datetime as dt
import hashlib
from contextvars import Context
from typing import NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from tieline.api.messaging.v1 import messaging_pb2
from tieline.chassis.errors import FailedPreconditionError
from tieline.chassis.fields import (
    CONTROL_CHARACTER_PATTERN,
    raise_violations,
    to_timestamp,
)
from tieline.chassis.principals import PrincipalKind
from tieline.messaging.compliance.sensitive_words import read_text
from tieline.messaging.contents.rules import check_app_markdown, check_content
from tieline.messaging.conversations.rules import (
    Participant,
    check_conversation_id,
    write_participant,
)
from tieline.messaging.media.uses import MediaUse, list_media

MAX_CLIENT_MESSAGE_ID_BYTES = 64


class Send(NamedTuple):
    """One checked request to send. A tuple, as is StoredMessage: one is made of each message, and a
    frozen dataclass takes six times as long.
    """

    corp_id: str
    conversation_id: str
    sender: Participant
    client_message_id: str
    content: bytes
    """Serialized MessageContent; equal contents have equal bytes."""

    media: tuple[MediaUse, ...] = ()
    """What the content refers to."""

    has_references: bool = False
    """Whether it answers a message or mentions somebody."""

    text: str = ""
    """What people read of it."""

    is_notice: bool = False
    mentions_everyone: bool = False

    was_counted: bool = False
    """Whether an app's job counted it for its reader before, as what it was to send."""

    task_id: str = ""
    """Names a template card among those of its sender; empty for anything else."""

    cause: Context | None = None
    """The context of the call that sends it, whose trace and priority its event carries on."""


class StoredMessage(NamedTuple):
    """One row of ``messages``."""

    corp_id: str
    conversation_id: str
    sequence: int
    sender: Participant
    client_message_id: str
    content: bytes
    create_time: dt.datetime
    uncounted: int = 0
    """How many entries up to this one do not count as unread."""

    edit_time: dt.datetime | None = None
    recall_time: dt.datetime | None = None
    original_content: bytes | None = None
    """What it said before its first edit; None for never edited."""

    media: tuple[MediaUse, ...] = ()
    """What a new one refers to; of one that is stored that stands in ``media_references``."""

    flagged: tuple[str, ...] = ()
    """Sensitive words of a new one that officers want to see."""

    recalled_digest: bytes | None = None
    """Of what a recalled one said first; None where that was not noted."""

    @property
    def first_content(self) -> bytes:
        """What was sent; of a recalled one nothing."""
        return self.content if self.original_content is None else self.original_content

    def says(self, content: bytes) -> bool:
        """Return whether this is what was sent first; where nobody knows any more it may be."""
        if self.recall_time is None:
            return content == self.first_content
        return self.recalled_digest in (None, digest_content(content))


def digest_content(content: bytes) -> bytes:
    """Return by what a content is known once it is gone."""
    return hashlib.blake2b(content, digest_size=16).digest()


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
    cause: Context | None = None,
) -> Send:
    """Return what the user of that corp sends, or refuse it with all that is wrong."""
    check_conversation_id(conversation_id)
    violations: dict[str, str] = {}
    check_client_message_id(client_message_id, violations)
    check_content(content, violations)
    corp_id, sender = user
    if sender.kind == PrincipalKind.APP.value:
        check_app_markdown(content, violations)
    raise_violations(violations)
    has_mentions = content.HasField("mentions")
    return Send(
        corp_id,
        conversation_id,
        sender,
        client_message_id,
        content.SerializeToString(deterministic=True),
        list_media(content),
        has_mentions or content.HasField("reply_to"),
        read_text(content),
        content.HasField("notice"),
        has_mentions and content.mentions.everyone,
        task_id=content.template_card.task_id,
        cause=cause,
    )


def check_client_message_id(value: str, violations: dict[str, str]) -> None:
    """Refuse what is empty, long or unfit for a log line."""
    size_bytes = len(value.encode())
    if not 1 <= size_bytes <= MAX_CLIENT_MESSAGE_ID_BYTES:
        violations["client_message_id"] = f"must have 1 to {MAX_CLIENT_MESSAGE_ID_BYTES} bytes"
    elif CONTROL_CHARACTER_PATTERN.search(value):
        violations["client_message_id"] = "must not contain control characters"


def message_to_proto(message: StoredMessage, visible_from: int = 0) -> messaging_pb2.Message:
    """Return the message as the API shows it to who sees what has higher numbers than that."""
    proto = build_proto(message, to_timestamp(message.create_time))
    if is_edit_hidden(proto, visible_from):
        hide_edit(proto)
    return proto


def is_edit_hidden(message: messaging_pb2.Message, visible_from: int) -> bool:
    """Return whether this note tells what a message says now that is not to be read."""
    return 0 < message.content.edit_note.sequence <= visible_from


def hide_edit(message: messaging_pb2.Message) -> None:
    """Leave of a note that a message was edited, and nothing of what it says."""
    message.content.edit_note.ClearField("content")


def build_proto(message: StoredMessage, create_time: Timestamp) -> messaging_pb2.Message:
    """Return the message as the API shows it; one conversion of the time serves a whole batch."""
    # Field by field: by keyword it takes three times as long, and each message passes here.
    proto = messaging_pb2.Message()
    proto.corp_id = message.corp_id
    proto.conversation_id = message.conversation_id
    proto.sequence = message.sequence
    write_participant(message.sender, proto.sender)
    proto.client_message_id = message.client_message_id
    proto.create_time.CopyFrom(create_time)
    proto.uncounted = message.uncounted
    proto.content.ParseFromString(message.content)
    if message.edit_time is not None:
        proto.edit_time.CopyFrom(to_timestamp(message.edit_time))
    if message.recall_time is not None:
        proto.recall_time.CopyFrom(to_timestamp(message.recall_time))
    return proto
