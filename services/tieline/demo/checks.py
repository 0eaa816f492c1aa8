"""What must hold at the end of the day. Pure: they compare what was acknowledged with what is read.

Each function returns what is wrong in a few words, or an empty string.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Line:
    """A message as its sender or a reader has it."""

    conversation_id: str
    sequence: int
    client_message_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Opening:
    """What one customer found in the red packet; None if it was empty."""

    customer_id: str
    amount_minor: int | None


Transcript = Mapping[str, Sequence[Line]]
"""By conversation, in the order in which they were read."""


def find_lost(acknowledged: Sequence[Line], stored: Transcript) -> str:
    """Compare what senders were promised with what the server gives by range."""
    kept = {line for lines in stored.values() for line in lines}
    return _count(
        "acknowledged but not stored as it was", [x for x in acknowledged if x not in kept]
    )


def find_twice(transcript: Transcript) -> str:
    """Look for a message that is there more than once."""
    ids = Counter(
        (conversation_id, line.client_message_id)
        for conversation_id, lines in transcript.items()
        for line in lines
    )
    return _count("there more than once", [key for key, count in ids.items() if count > 1])


def find_gaps(transcript: Transcript) -> str:
    """Look for conversations whose numbers are not 1, 2, 3 … in the order read."""
    wrong = [
        conversation_id
        for conversation_id, lines in transcript.items()
        if [line.sequence for line in lines] != list(range(1, len(lines) + 1))
    ]
    return _count("conversations with gaps or a wrong order", wrong)


def find_reordered(sent: Sequence[Sequence[Line]]) -> str:
    """Look for dialogues whose lines, each sent after the other's reply, have falling numbers."""
    wrong = [
        lines
        for lines in sent
        if any(after.sequence <= before.sequence for before, after in pairwise(lines))
    ]
    return _count("dialogues whose lines changed places", wrong)


def find_differences(received: Transcript, stored: Transcript) -> str:
    """Compare what a client received, conversation by conversation, with what is stored."""
    wrong = [
        conversation_id
        for conversation_id, lines in stored.items()
        if list(received.get(conversation_id, ())) != list(lines)
    ]
    return _count("conversations received differently", wrong)


def find_packet_errors(openings: Sequence[Opening], *, amount_minor: int, share_count: int) -> str:
    """Check that a red packet was divided as it was meant to be."""
    shares = [opening.amount_minor for opening in openings if opening.amount_minor is not None]
    empty = len(openings) - len(shares)
    if len(shares) != share_count:
        return f"{len(shares)} shares instead of {share_count}, {empty} found it empty"
    if min(shares) < 1:
        return f"a share of {min(shares)} fen"
    if sum(shares) != amount_minor:
        return f"shares add up to {sum(shares)} fen instead of {amount_minor}"
    return ""


def find_changed(first: Sequence[Opening], again: Sequence[Opening]) -> str:
    """Compare what customers got with what they get when they open once more."""
    wrong = [one for one, other in zip(first, again, strict=True) if one != other]
    return _count("customers who got something else the second time", wrong)


def find_balance_errors(openings: Sequence[Opening], balances_minor: Mapping[str, int]) -> str:
    """Check that each customer's account holds exactly the share."""
    wrong = [
        opening.customer_id
        for opening in openings
        if balances_minor.get(opening.customer_id) != (opening.amount_minor or 0)
    ]
    return _count("customers whose balance is not their share", wrong)


def by_conversation(lines: Sequence[Line]) -> Transcript:
    """Sort what came in one order into conversations, keeping that order within each."""
    transcript: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        transcript[line.conversation_id].append(line)
    return transcript


def _count(what: str, wrong: Sequence[object]) -> str:
    return f"{len(wrong)} {what}" if wrong else ""
