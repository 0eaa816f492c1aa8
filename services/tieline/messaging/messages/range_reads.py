"""Reads ranges in steps, until all of them are read or a bound is reached."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tieline.api.messaging.v1 import messaging_pb2, messaging_service_pb2
from tieline.chassis.postgres import Connection
from tieline.messaging.compliance.retention import find_kept_from
from tieline.messaging.conversations.rules import Participant
from tieline.messaging.messages.ranges import Range, build_range, list_steps
from tieline.messaging.messages.rules import message_to_proto
from tieline.messaging.repositories.participants import Span
from tieline.messaging.repositories.ranges import (
    find_first_sequence,
    list_ranges,
    list_readable,
)

# Of one answer: below the 4 MiB that clients take, with a step of the largest contents on top.
MAX_ANSWER_BYTES = 512 * 1024
MAX_BATCH_MESSAGES = 2000


@dataclass(slots=True)
class ReadRange:
    """What was read of a range."""

    messages: list[messaging_pb2.Message] = field(default_factory=list)
    """In order of their numbers."""

    is_complete: bool = True


async def read_ranges(
    connection: Connection, corp_id: str, ranges: Sequence[Range], *, maximum: int
) -> list[ReadRange]:
    """Return what there is of each range, at most ``maximum`` messages and some 2 MiB in all."""
    results = [ReadRange(is_complete=not each.size) for each in ranges]
    indexes = {each.conversation_id: index for index, each in enumerate(ranges)}
    missing = {each.conversation_id: each.size for each in ranges}
    visible_from = {each.conversation_id: each.visible_from for each in ranges}
    size_bytes = count = 0
    for step in list_steps(ranges):
        if size_bytes > MAX_ANSWER_BYTES or count >= maximum:
            break
        found: dict[str, list[messaging_pb2.Message]] = {}
        for message in await list_ranges(connection, corp_id, step):
            size_bytes += len(message.content)
            proto = message_to_proto(message, visible_from[message.conversation_id])
            found.setdefault(message.conversation_id, []).append(proto)
        for part in step:
            result = results[indexes[part.conversation_id]]
            of_part = found.pop(part.conversation_id, [])
            result.messages = (
                of_part + result.messages if part.is_backward else result.messages + of_part
            )
            missing[part.conversation_id] -= part.size
            result.is_complete = not missing[part.conversation_id]
            count += part.size
    return results


async def read_batch(
    connection: Connection,
    corp_id: str,
    participant: Participant,
    requests: Sequence[messaging_service_pb2.MessageRangeRequest],
) -> list[messaging_service_pb2.MessageRange]:
    """Return the ranges of the checked requests whose conversations the participant is in."""
    readable = await list_readable(
        connection, corp_id, participant, [each.conversation_id for each in requests]
    )
    ranges = [_build(each, readable) for each in requests if each.conversation_id in readable]
    read = await read_ranges(connection, corp_id, ranges, maximum=MAX_BATCH_MESSAGES)
    kept_from = [
        await _find_kept_from(connection, corp_id, each, found, readable[each.conversation_id])
        for each, found in zip(ranges, read, strict=True)
    ]
    return [
        messaging_service_pb2.MessageRange(
            conversation_id=each.conversation_id,
            messages=found.messages,
            last_sequence=readable[each.conversation_id].last_sequence,
            complete=found.is_complete,
            kept_from_sequence=kept,
        )
        for each, found, kept in zip(ranges, read, kept_from, strict=True)
    ]


async def _find_kept_from(
    connection: Connection, corp_id: str, wanted: Range, read: ReadRange, span: Span
) -> int:
    """Return from which number on messages are kept if those at the range's beginning are not."""
    is_cut_at_the_beginning = wanted.is_backward and not read.is_complete
    if not wanted.size or is_cut_at_the_beginning:
        return 0
    first: int | None
    if read.messages:
        first = read.messages[0].sequence
    elif read.is_complete:
        # All of it is gone, which retention alone does: the one look that costs something.
        first = await find_first_sequence(connection, corp_id, wanted)
    else:
        return 0
    return find_kept_from(first, after=wanted.after, last=span.last_sequence)


def _build(
    request: messaging_service_pb2.MessageRangeRequest, readable: Mapping[str, Span]
) -> Range:
    span = readable[request.conversation_id]
    return build_range(
        request.conversation_id,
        request.after_sequence,
        request.before_sequence,
        request.page_size,
        first=span.visible_from_sequence,
        last=span.last_sequence,
    )
