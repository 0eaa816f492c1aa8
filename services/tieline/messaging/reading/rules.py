"""The rules of how a person stands to a conversation. Pure."""

import datetime as dt
from dataclasses import dataclass, replace

from google.protobuf.timestamp_pb2 import Timestamp

from tieline.api.messaging.v1 import reading_pb2
from tieline.chassis.errors import InvalidArgumentError
from tieline.chassis.fields import to_timestamp
from tieline.messaging.conversations.rules import Participant

MAX_DRAFT_BYTES = 8192

# More participants see neither who reads, nor who is there, nor who types.
MAX_LOOKED_AT = 100


@dataclass(frozen=True, slots=True)
class ReadingState:
    """A row of ``reading_states``; the defaults are those of somebody who never did anything."""

    conversation_id: str
    read_sequence: int = 0
    read_uncounted: int = 0
    delivered_sequence: int = 0
    muted: bool = False
    mute_until_time: dt.datetime | None = None
    pin_time: dt.datetime | None = None
    draft: str = ""
    draft_reply_sequence: int = 0
    draft_time: dt.datetime | None = None
    revision: int = 0

    def with_revision(self, revision: int) -> "ReadingState":
        """Return the same under the number of the change that made it."""
        return replace(self, revision=revision)


@dataclass(frozen=True, slots=True)
class Mark:
    """Wants the numbers up to which is read, and up to which a device has everything."""

    read_sequence: int
    delivered_sequence: int


@dataclass(frozen=True, slots=True)
class Mute:
    """Wants to be told of messages, or not."""

    muted: bool
    until_time: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Pin:
    """Wants the conversation at the top, or not."""

    pinned: bool


@dataclass(frozen=True, slots=True)
class Draft:
    """Wants this kept; an empty text for nothing."""

    text: str
    reply_sequence: int = 0


Wish = Mark | Mute | Pin | Draft


@dataclass(frozen=True, slots=True)
class StateChange:
    """One person's wish for one conversation."""

    corp_id: str
    participant: Participant
    conversation_id: str
    wish: Wish


def check_mark(request_read: int, request_delivered: int) -> Mark:
    """Return the mark that is asked for, or refuse numbers that are none."""
    violations = {
        field: "must not be negative"
        for field, number in (
            ("read_sequence", request_read),
            ("delivered_sequence", request_delivered),
        )
        if number < 0
    }
    if not violations and not request_read and not request_delivered:
        violations["read_sequence"] = "must be given, or delivered_sequence"
    if violations:
        raise InvalidArgumentError(violations)
    return Mark(request_read, request_delivered)


def check_draft(draft: reading_pb2.Draft) -> Draft:
    """Return the draft that is to be kept, or refuse it."""
    violations: dict[str, str] = {}
    if len(draft.text.encode()) > MAX_DRAFT_BYTES:
        violations["draft.text"] = f"must have at most {MAX_DRAFT_BYTES} bytes of UTF-8"
    elif "\0" in draft.text:
        violations["draft.text"] = "must not contain U+0000"
    if draft.reply_to_sequence < 0:
        violations["draft.reply_to_sequence"] = "must not be negative"
    if violations:
        raise InvalidArgumentError(violations)
    return Draft(draft.text, draft.reply_to_sequence if draft.text else 0)


def check_mute(muted: bool, until: Timestamp | None) -> Mute:
    """Return what is asked for, or refuse an end that can't be."""
    if until is None or not muted:
        return Mute(muted)
    try:
        return Mute(muted, until.ToDatetime(dt.UTC))
    except (ValueError, OverflowError):
        raise InvalidArgumentError(
            {"mute_until_time": "must be a time of the years 1 to 9999"}
        ) from None


def apply_wish(
    state: ReadingState,
    wish: Wish,
    *,
    last_sequence: int,
    read_uncounted: int,
    now: dt.datetime,
) -> ReadingState:
    """Return the state that comes of it, the same one if nothing changes.

    ``read_uncounted`` belongs to the number that a Mark wants read.
    """
    match wish:
        case Mark():
            return _mark(state, wish, last_sequence, read_uncounted)
        case Mute():
            return replace(state, muted=wish.muted, mute_until_time=wish.until_time)
        case Pin(pinned=True):
            return replace(state, pin_time=state.pin_time or now)
        case Pin():
            return replace(state, pin_time=None)
        case Draft():
            if (wish.text, wish.reply_sequence) == (state.draft, state.draft_reply_sequence):
                return state
            return replace(
                state,
                draft=wish.text,
                draft_reply_sequence=wish.reply_sequence,
                draft_time=now if wish.text else None,
            )


def _mark(state: ReadingState, mark: Mark, last_sequence: int, uncounted: int) -> ReadingState:
    for field, number in (
        ("read_sequence", mark.read_sequence),
        ("delivered_sequence", mark.delivered_sequence),
    ):
        if number > last_sequence:
            raise InvalidArgumentError(
                {field: f"must be at most {last_sequence}, the conversation's last number"}
            )
    delivered = max(state.delivered_sequence, mark.delivered_sequence, mark.read_sequence)
    if mark.read_sequence <= state.read_sequence:
        return replace(state, delivered_sequence=delivered)
    return replace(
        state,
        read_sequence=mark.read_sequence,
        read_uncounted=uncounted,
        delivered_sequence=delivered,
    )


def state_to_proto(state: ReadingState, now: dt.datetime) -> reading_pb2.ReadingState:
    """Return the state as the API shows it: a muting that has ended is none."""
    is_over = state.mute_until_time is not None and state.mute_until_time <= now
    proto = reading_pb2.ReadingState(
        conversation_id=state.conversation_id,
        read_sequence=state.read_sequence,
        delivered_sequence=state.delivered_sequence,
        muted=state.muted and not is_over,
        mute_until_time=_to_time(None if is_over else state.mute_until_time),
        pin_time=_to_time(state.pin_time),
        revision=state.revision,
    )
    if state.draft:
        proto.draft.CopyFrom(
            reading_pb2.Draft(
                text=state.draft,
                reply_to_sequence=state.draft_reply_sequence,
                save_time=_to_time(state.draft_time),
            )
        )
    return proto


def count_unread(
    *, last_sequence: int, uncounted: int, read_sequence: int, read_uncounted: int
) -> int:
    """Return how many entries that count are behind what is read."""
    return max((last_sequence - uncounted) - (read_sequence - read_uncounted), 0)


def _to_time(time: dt.datetime | None) -> Timestamp | None:
    return None if time is None else to_timestamp(time)
