"""Ranges of a conversation's numbers, and in which steps they are read. Pure.

Numbers have no gaps, so how many messages a range has is known before it is read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tieline.api.messaging.v1 import messaging_service_pb2
from tieline.chassis.errors import InvalidArgumentError
from tieline.chassis.fields import raise_violations
from tieline.chassis.page_tokens import page_size
from tieline.messaging.conversations.rules import is_conversation_id

DEFAULT_MESSAGES = 100
MAX_MESSAGES = 1000
MAX_RANGES = 200

# 100 texts of the usual length are 20 KB; of the largest contents 3 MiB.
STEP_MESSAGES = 100


@dataclass(frozen=True, slots=True)
class Range:
    """The messages with numbers above ``after``, up to ``up_to``."""

    conversation_id: str
    after: int
    up_to: int
    is_backward: bool = False
    """Whether those at the end are wanted first, where not all of them fit."""

    visible_from: int = 0
    """Its reader reads what has higher numbers."""

    @property
    def size(self) -> int:
        """Return how many messages it has."""
        return max(self.up_to - self.after, 0)

    def cut(self, size: int) -> "tuple[Range, Range]":
        """Return the ``size`` messages that come first, and what remains."""
        if self.is_backward:
            middle = max(self.up_to - size, self.after)
            return replace(self, after=middle), replace(self, up_to=middle)
        middle = min(self.after + size, self.up_to)
        return replace(self, up_to=middle), replace(self, after=middle)


def check_bounds(after: int, before: int, size: int, path: str, violations: dict[str, str]) -> None:
    """Refuse bounds that no message can be within."""
    if after < 0:
        violations[f"{path}after_sequence"] = "must not be negative"
    if before < 0:
        violations[f"{path}before_sequence"] = "must not be negative"
    elif before and before <= after:
        violations[f"{path}before_sequence"] = "must be above after_sequence"
    if size < 0:
        violations[f"{path}page_size"] = "must not be negative"


def check_batch(requests: Sequence[messaging_service_pb2.MessageRangeRequest]) -> None:
    """Refuse a batch that is empty, too large, or has a request that is wrong."""
    if not 1 <= len(requests) <= MAX_RANGES:
        raise InvalidArgumentError({"ranges": f"must be 1 to {MAX_RANGES} ranges"})
    violations: dict[str, str] = {}
    seen = set()
    for index, each in enumerate(requests):
        path = f"ranges[{index}]."
        check_bounds(each.after_sequence, each.before_sequence, each.page_size, path, violations)
        if not is_conversation_id(each.conversation_id):
            violations[f"{path}conversation_id"] = "must be the id of a conversation"
        elif each.conversation_id in seen:
            violations[f"{path}conversation_id"] = "must not be named twice"
        seen.add(each.conversation_id)
    raise_violations(violations)


def build_range(
    conversation_id: str, after: int, before: int, size: int, *, first: int, last: int
) -> Range:
    """Return what a checked request asks for, of the messages above ``first`` up to ``last``."""
    limit = page_size(size, default=DEFAULT_MESSAGES, maximum=MAX_MESSAGES)
    after = max(after, first)
    up_to = min(before - 1, last) if before else last
    whole = Range(
        conversation_id, after, max(up_to, after), is_backward=before > 0, visible_from=first
    )
    wanted, _ = whole.cut(limit)
    return wanted


def list_steps(ranges: Sequence[Range], size: int = STEP_MESSAGES) -> Iterator[list[Range]]:
    """Yield parts of the ranges, in order, ``size`` messages in each step at most."""
    step: list[Range] = []
    room = size
    for each in ranges:
        rest = each
        while rest.size:
            part, rest = rest.cut(room)
            step.append(part)
            room -= part.size
            if not room:
                yield step
                step, room = [], size
    if step:
        yield step
