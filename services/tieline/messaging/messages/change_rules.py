"""The rules of changing, quoting and passing on messages that are there. Pure."""

import datetime as dt
import re
from collections.abc import Sequence

from tieline.api.messaging.v1 import messaging_pb2
from tieline.chassis.errors import (
    FailedPreconditionError,
    NotFoundError,
    ResourceExhaustedError,
    ServiceError,
)
from tieline.chassis.fields import check_text, raise_violations, to_timestamp
from tieline.chassis.principals import PrincipalKind
from tieline.messaging.contents.rules import (
    MAX_FORWARD_BYTES,
    check_app_markdown,
    check_content,
    check_size,
    find_text,
    is_note,
)
from tieline.messaging.conversations.rules import (
    Conversation,
    ConversationKind,
    Participant,
    Role,
    participant_to_proto,
)
from tieline.messaging.groups.rules import role_error
from tieline.messaging.messages.rules import StoredMessage, check_client_message_id

CHANGE_WINDOW = dt.timedelta(hours=24)
"""How long messages are edited and recalled, as in the open API."""

MAX_EDITS = 20
MAX_OWN_REACTIONS = 5
MAX_REACTIONS = 50
MAX_PINS = 50
MAX_FORWARDED = 100
MAX_FORWARD_TARGETS = 10
MAX_FORWARD_ID_BYTES = 48

_EDITABLE = ("text", "markdown", "notice")
# An emoji is several code points; no white space, no control characters.
_REACTION_PATTERN = re.compile(r"[^\s\x00-\x1f\x7f]+")
_MAX_REACTION_BYTES = 32


def check_edit(
    message: StoredMessage,
    editor: Participant,
    content: messaging_pb2.MessageContent,
    now: dt.datetime,
    edit_count: int,
) -> messaging_pb2.MessageContent:
    """Return what the message says from now on, or refuse the edit."""
    if message.sender != editor:
        raise role_error()
    check_in_time(message, now)
    current = read_content(message)
    kind = current.WhichOneof("kind")
    if kind not in _EDITABLE or content.WhichOneof("kind") != kind:
        raise wrong_kind_error()
    wanted = messaging_pb2.MessageContent()
    wanted.CopyFrom(content)
    wanted.ClearField("reply_to")
    violations: dict[str, str] = {}
    check_content(wanted, violations)
    if editor.kind == PrincipalKind.APP.value:
        check_app_markdown(wanted, violations)
    raise_violations(violations)
    if current.HasField("reply_to"):
        wanted.reply_to.CopyFrom(current.reply_to)
    if edit_count >= MAX_EDITS and wanted != current:
        raise limit_error(MAX_EDITS)
    return wanted


def check_edit_size(content: messaging_pb2.MessageContent) -> None:
    """Refuse what no message could say, before its words are looked at."""
    violations: dict[str, str] = {}
    check_size(content, violations)
    raise_violations(violations)


def check_recall(
    message: StoredMessage, conversation: Conversation, caller: Participant, now: dt.datetime
) -> None:
    """Refuse who may not take the message back, or comes too late."""
    is_in_charge = conversation.kind is not ConversationKind.DIRECT and conversation.role in (
        Role.OWNER,
        Role.ADMIN,
    )
    if message.sender != caller and not is_in_charge:
        raise role_error()
    check_in_time(message, now)


def check_in_time(message: StoredMessage, now: dt.datetime) -> None:
    """Refuse to change what was said too long ago."""
    if now - message.create_time > CHANGE_WINDOW:
        raise FailedPreconditionError(
            "TOO_LATE", "messages are edited and recalled within 24 hours"
        )


def check_reaction(reaction: str) -> None:
    """Refuse what is no reaction."""
    if len(reaction.encode()) > _MAX_REACTION_BYTES or not _REACTION_PATTERN.fullmatch(reaction):
        raise_violations(
            {"reaction": f"must be 1 to {_MAX_REACTION_BYTES} bytes without white space"}
        )


def check_room_for_reaction(reaction: str, own: Sequence[str], known: Sequence[str]) -> None:
    """Refuse one more reaction where the person or the message has enough."""
    if len(own) >= MAX_OWN_REACTIONS:
        raise limit_error(MAX_OWN_REACTIONS)
    if reaction not in known and len(known) >= MAX_REACTIONS:
        raise limit_error(MAX_REACTIONS)


def check_pinning(conversation: Conversation) -> None:
    """Refuse those who may not pin here."""
    is_group = conversation.kind in (ConversationKind.GROUP, ConversationKind.CUSTOMER_GROUP)
    if is_group and conversation.role not in (Role.OWNER, Role.ADMIN):
        raise role_error()


def check_reply(
    reply: messaging_pb2.MessageContent, answered: StoredMessage | None
) -> ServiceError | None:
    """Return what speaks against a reply to that message, which its sender sees."""
    sequence = reply.reply_to.sequence
    if answered is None or answered.recall_time is not None:
        return message_not_found_error(sequence)
    content = read_content(answered)
    if is_note(content) or reply.reply_to.quote not in find_text(content):
        return message_not_found_error(sequence)
    return None


def check_forward(
    sequences: Sequence[int],
    targets: Sequence[str],
    client_message_id: str,
    title: str,
    *,
    is_merged: bool,
) -> None:
    """Refuse a forward of nothing, to nowhere, or of too much."""
    violations: dict[str, str] = {}
    if not 1 <= len(set(sequences)) == len(sequences) <= MAX_FORWARDED:
        violations["sequences"] = f"must be 1 to {MAX_FORWARDED}, each once"
    if not 1 <= len(set(targets)) == len(targets) <= MAX_FORWARD_TARGETS:
        violations["to_conversation_ids"] = f"must be 1 to {MAX_FORWARD_TARGETS}, each once"
    if is_merged:
        check_text(title, "title", violations, minimum=1, maximum=64)
    elif title:
        violations["title"] = "must be empty unless merged"
    check_client_message_id(client_message_id, violations)
    if len(client_message_id.encode()) > MAX_FORWARD_ID_BYTES:
        violations["client_message_id"] = f"must have 1 to {MAX_FORWARD_ID_BYTES} bytes"
    raise_violations(violations)


def build_forwards(
    messages: Sequence[StoredMessage], title: str, *, is_merged: bool
) -> list[messaging_pb2.MessageContent]:
    """Return what is said elsewhere of these messages, one content each or one for all."""
    contents = [_build_forward(message, is_merged=is_merged) for message in messages]
    if not is_merged:
        return contents
    card = messaging_pb2.MessageContent()
    card.merged_forward.title = title
    for content in contents:
        forwarded = card.merged_forward.messages.add()
        forwarded.origin.CopyFrom(content.forwarded_from)
        content.ClearField("forwarded_from")
        forwarded.content.CopyFrom(content)
    if card.ByteSize() > MAX_FORWARD_BYTES:
        raise_violations({"sequences": f"must have at most {MAX_FORWARD_BYTES} bytes together"})
    return [card]


def _build_forward(message: StoredMessage, *, is_merged: bool) -> messaging_pb2.MessageContent:
    content = read_content(message)
    kind = content.WhichOneof("kind")
    if kind == "red_packet" or (is_merged and kind == "merged_forward"):
        raise wrong_kind_error()
    content.ClearField("reply_to")
    content.ClearField("mentions")
    # Passed on again it keeps who said it first.
    if not content.HasField("forwarded_from"):
        content.forwarded_from.sender.CopyFrom(participant_to_proto(message.sender))
        content.forwarded_from.create_time.CopyFrom(to_timestamp(message.create_time))
    return content


def is_message(message: StoredMessage | None) -> bool:
    """Return whether this is something that people said and did not take back."""
    return (
        message is not None and message.recall_time is None and not is_note(read_content(message))
    )


def read_content(message: StoredMessage) -> messaging_pb2.MessageContent:
    """Return what the message says."""
    return messaging_pb2.MessageContent.FromString(message.content)


def message_not_found_error(sequence: int) -> NotFoundError:
    """Return the error for messages that are not there, or not the caller's to see."""
    return NotFoundError(
        "MESSAGE_NOT_FOUND", "no such message in the conversation", {"sequence": str(sequence)}
    )


def mentioned_not_found_error(participant: Participant) -> NotFoundError:
    """Return the error for somebody who is mentioned and not there."""
    return NotFoundError(
        "MENTIONED_NOT_FOUND",
        "somebody who is mentioned is not in the conversation",
        {"participantId": participant.id},
    )


def wrong_kind_error() -> FailedPreconditionError:
    """Return the error for what can't be done with what this message says."""
    return FailedPreconditionError(
        "WRONG_MESSAGE_KIND", "this is not done with messages of this kind"
    )


def limit_error(limit: int) -> ResourceExhaustedError:
    """Return the error for one more than there may be."""
    return ResourceExhaustedError("LIMIT_REACHED", f"at most {limit}", {"limit": str(limit)})
