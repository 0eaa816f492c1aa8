"""What is pushed to a device that is not connected, and when. Pure.

A row of ``pushes`` says no more than that a device may have to be told of a conversation. What is
told is decided when it is due, by what is true then: so whatever came meanwhile is one push, and
what was read meanwhile is none.
"""

import datetime as dt
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from tieline.api.messaging.v1 import messaging_pb2
from tieline.messaging.contents.texts import build_preview, find_kind, is_note
from tieline.messaging.conversations.rules import Participant, find_participant
from tieline.messaging.push.quiet_hours import QuietHours, find_quiet_end
from tieline.messaging.sending.numbering import ConversationKey

MAX_AGE = dt.timedelta(days=1)
"""What is older is news no more: nothing tells of it."""

CONNECTED_INTERVAL_S = 10.0
"""How often a replica notes that its subscriptions are open."""

PROVEN_AFTER = dt.timedelta(seconds=100)
"""How long a subscription is open behind a message before that proves that its client was there.

A client that is gone without a word is let go within 90 s, by pings or for what it does not take
(``chassis.grpc_server``, ``live``), and that is noted within seconds."""

# Two notes that were late or lost. A replica that ended notes nothing more.
_CONNECTED_FOR = dt.timedelta(seconds=2.5 * CONNECTED_INTERVAL_S)

# Until the next note that a subscription is open.
_NEXT_LOOK = dt.timedelta(seconds=CONNECTED_INTERVAL_S / 2)

_FIRST_DELAY = dt.timedelta(seconds=5)
_MAX_DELAY = dt.timedelta(minutes=10)

# Names what was told to which device: a repeat has the same id.
_NAMESPACE = uuid.UUID("7f6f0d52-6f5b-4a63-9a1e-0c8f4f1f2c55")

_GENERIC_TEXTS = {"zh": "你有一条新消息"}
_DEFAULT_TEXT = "You have a new message"


class Newest(NamedTuple):
    """The newest messages of a conversation in a batch that somebody is told of."""

    key: ConversationKey
    sequence: int
    sender: Participant
    other_sequence: int
    """The newest that another than that sender sent; 0 for none. It is what the sender is told."""


class PushKey(NamedTuple):
    """A device and a conversation. Rows are locked in this order."""

    corp_id: str
    session_id: str
    conversation_id: str


@dataclass(frozen=True, slots=True)
class Claim:
    """A push that this replica is about to send."""

    key: PushKey
    claim_number: int
    wanted_sequence: int
    failures: int
    delay: dt.timedelta
    """For how long it had been due when it was taken."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The message that a push shows."""

    sequence: int
    sender: Participant
    content: bytes
    """Serialized MessageContent."""

    create_time: dt.datetime
    is_mention: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """What the database knows of a device, its person, and what the person has not read."""

    person: Participant
    platform: str
    token: str
    locale: str
    connected_time: dt.datetime | None
    """When a subscription of the device was last seen open."""

    quiet_hours: QuietHours | None
    previews_hidden: bool
    conversation_kind: str
    conversation_name: str
    unread_count: int
    """Of the conversation."""

    shown: Shown | None
    """The newest unread message of somebody else, in a muted conversation the newest that mentions
    the person; None for none."""


@dataclass(frozen=True, slots=True)
class Wait:
    """It is looked at again."""

    until: dt.datetime


@dataclass(frozen=True, slots=True)
class Drop:
    """Nothing is to be told."""

    why: str


@dataclass(frozen=True, slots=True)
class Push:
    """It is told now."""

    shown: Shown


def find_newest(messages: Iterable[messaging_pb2.Message]) -> list[Newest]:
    """Return what people are told of a batch of messages, one for each conversation.

    Notes and what was sent by nobody known are nothing to push.
    """
    found: dict[ConversationKey, Newest] = {}
    for message in messages:
        sender = find_participant(message.sender)
        if sender is None or is_note(message.content):
            continue
        key = (message.corp_id, message.conversation_id)
        found[key] = _add(found.get(key), Newest(key, message.sequence, sender, 0))
    return list(found.values())


def _add(before: Newest | None, new: Newest) -> Newest:
    """Return what a conversation comes to with one more message, in whichever order they come."""
    if before is None:
        return new
    older, newer = sorted((before, new), key=lambda each: each.sequence)
    is_same = older.sender == newer.sender
    other = older.other_sequence if is_same else older.sequence
    return newer._replace(other_sequence=max(newer.other_sequence, other))


def decide(facts: Facts | None, now: dt.datetime) -> Wait | Drop | Push:
    """Return what is to be done about a push that is due."""
    if facts is None:
        return Drop("gone")
    shown = facts.shown
    if shown is None:
        return Drop("read")
    if shown.create_time <= now - MAX_AGE:
        return Drop("old")
    if facts.connected_time is not None:
        if facts.connected_time > shown.create_time + PROVEN_AFTER:
            return Drop("connected")
        if facts.connected_time > now - _CONNECTED_FOR:
            return Wait(_find_next_look(facts.connected_time, shown, now))
    if facts.quiet_hours is not None:
        end = find_quiet_end(facts.quiet_hours, now)
        if end is not None:
            return Wait(end)
    return Push(shown)


def _find_next_look(connected_time: dt.datetime, shown: Shown, now: dt.datetime) -> dt.datetime:
    """Return when there is something new to know of a device that seems to be connected."""
    soon = now + _NEXT_LOOK
    if connected_time <= shown.create_time:
        # Its replica may have ended, or not yet noted that it is open.
        return soon
    # It was sent the message. Whether it was there to take it shows by then.
    noted = dt.timedelta(seconds=CONNECTED_INTERVAL_S)
    return max(soon, shown.create_time + PROVEN_AFTER + noted)


def find_next_try(failures: int, now: dt.datetime) -> dt.datetime:
    """Return when a push that failed so many times is tried again."""
    # A webhook that was away for a day has failed some 150 times.
    doublings = min(failures - 1, 10)
    return now + min(_FIRST_DELAY * (1 << doublings), _MAX_DELAY)


def build_delivery_id(key: PushKey, sequence: int) -> str:
    """Return the id of telling a device of a conversation up to that message."""
    return str(uuid.uuid5(_NAMESPACE, "|".join((*key, str(sequence)))))


def build_document(key: PushKey, facts: Facts, shown: Shown, badge: int) -> dict[str, object]:
    """Return what is posted. Where previews are hidden it tells nothing of the conversation."""
    document: dict[str, object] = {
        "delivery_id": build_delivery_id(key, shown.sequence),
        "corp_id": key.corp_id,
        "user_kind": facts.person.kind,
        "user_id": facts.person.id,
        "session_id": key.session_id,
        "platform": facts.platform,
        "token": facts.token,
        "locale": facts.locale,
        "collapse_key": key.conversation_id,
        "conversation_id": key.conversation_id,
        "unread_count": facts.unread_count,
        "badge": badge,
        "text": build_generic_text(facts.locale),
        "previews_hidden": facts.previews_hidden,
    }
    if facts.previews_hidden:
        return document
    content = messaging_pb2.MessageContent.FromString(shown.content)
    return {
        **document,
        "text": build_preview(content) or document["text"],
        "content_kind": find_kind(content),
        "sequence": shown.sequence,
        "sender_kind": shown.sender.kind,
        "sender_id": shown.sender.id,
        "is_mention": shown.is_mention,
        "conversation_kind": facts.conversation_kind,
        "conversation_name": facts.conversation_name,
        "send_time": shown.create_time.isoformat(),
    }


def build_generic_text(locale: str) -> str:
    """Return what is said where nothing of the message can or may be."""
    language = locale.partition("-")[0].lower()
    return _GENERIC_TEXTS.get(language, _DEFAULT_TEXT)
