"""What a subscriber is told before live delivery: the rest, or what to fetch. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tieline.api.messaging.v1 import messaging_service_pb2
from tieline.chassis.errors import FailedPreconditionError, InvalidArgumentError
from tieline.chassis.fields import raise_violations
from tieline.messaging.conversations.rules import is_conversation_id
from tieline.messaging.messages.ranges import Range
from tieline.messaging.messages.rules import StoredMessage

# 2,000 ids and numbers are some 100 KB, and more conversations than anybody keeps on a device.
MAX_HELD_CONVERSATIONS = 2000

# Of one conversation, and of all: who is further behind is better served by ranges, newest first.
MAX_BEHIND = 1000
MAX_BEHIND_IN_ALL = 20_000


@dataclass(frozen=True, slots=True)
class Start:
    """Where live delivery of a conversation begins."""

    number: int
    """Messages behind this one come live."""

    visible_from: int
    """The user reads what has higher numbers."""


@dataclass(slots=True)
class CatchUp:
    """What is told between ``started`` and ``caught_up``."""

    left: list[str] = field(default_factory=list)
    to_fetch: list[messaging_service_pb2.ConversationToFetch] = field(default_factory=list)
    ranges: list[Range] = field(default_factory=list)


def read_held(
    request: messaging_service_pb2.SubscribeRequest,
) -> Mapping[str, int] | None:
    """Return what the client holds, in its order; None for one that catches up by itself."""
    held = request.held
    if request.state_revision < 0:
        raise InvalidArgumentError({"state_revision": "must not be negative"})
    if held and not request.catch_up:
        raise InvalidArgumentError({"held": "must be empty without catch_up"})
    if len(held) > MAX_HELD_CONVERSATIONS:
        # A longer list is not worth reading.
        raise InvalidArgumentError(
            {"held": f"must name at most {MAX_HELD_CONVERSATIONS} conversations"}
        )
    violations: dict[str, str] = {}
    numbers: dict[str, int] = {}
    for index, each in enumerate(held):
        if not is_conversation_id(each.conversation_id):
            violations[f"held[{index}].conversation_id"] = "must be the id of a conversation"
        elif each.conversation_id in numbers:
            violations[f"held[{index}].conversation_id"] = "must not be named twice"
        if each.sequence < 0:
            violations[f"held[{index}].sequence"] = "must not be negative"
        numbers[each.conversation_id] = each.sequence
    raise_violations(violations)
    return numbers if request.catch_up else None


def plan_catch_up(
    held: Mapping[str, int], starts: Mapping[str, Start], joining: Collection[str]
) -> CatchUp:
    """Return what to tell; FailedPreconditionError for who holds what does not exist.

    ``starts`` has the user's conversations without those in ``joining``, which are told as joined.
    """
    plan = CatchUp()
    room = MAX_BEHIND_IN_ALL
    for conversation_id, number in held.items():
        start = starts.get(conversation_id)
        if start is None:
            if conversation_id not in joining:
                plan.left.append(conversation_id)
            continue
        rest = start.number - number
        if rest < 0:
            raise _held_ahead_error(conversation_id, start.number)
        if rest > min(MAX_BEHIND, room) or number < start.visible_from:
            plan.to_fetch.append(_build_fetch(conversation_id, number, start))
        elif rest:
            plan.ranges.append(
                Range(conversation_id, number, start.number, visible_from=start.visible_from)
            )
            room -= rest
    plan.to_fetch += [
        _build_fetch(conversation_id, 0, start)
        for conversation_id, start in starts.items()
        if conversation_id not in held
    ]
    return plan


def list_updates(plan: CatchUp) -> Sequence[messaging_service_pb2.SubscribeResponse]:
    """Return what is told without being read first."""
    response = messaging_service_pb2.SubscribeResponse
    left = messaging_service_pb2.ConversationLeft
    return [
        *(response(left=left(conversation_id=each)) for each in plan.left),
        *(response(fetch=each) for each in plan.to_fetch),
    ]


def cut_batches(
    messages: Sequence[StoredMessage], max_bytes: int
) -> Iterator[Sequence[StoredMessage]]:
    """Yield the messages in parts of at most so many bytes of contents, one message at least."""
    begin = size_bytes = 0
    for index, message in enumerate(messages):
        if index > begin and size_bytes + len(message.content) > max_bytes:
            yield messages[begin:index]
            begin, size_bytes = index, 0
        size_bytes += len(message.content)
    if messages:
        yield messages[begin:]


def _build_fetch(
    conversation_id: str, held: int, start: Start
) -> messaging_service_pb2.ConversationToFetch:
    return messaging_service_pb2.ConversationToFetch(
        conversation_id=conversation_id,
        after_sequence=max(held, start.visible_from),
        last_sequence=start.number,
    )


def _held_ahead_error(conversation_id: str, last_sequence: int) -> FailedPreconditionError:
    return FailedPreconditionError(
        "HELD_AHEAD",
        "the client holds a message that does not exist: forget what is held of the conversation",
        {"conversationId": conversation_id, "lastSequence": str(last_sequence)},
    )
