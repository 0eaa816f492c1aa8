"""The rules of red packets: what one may hold, and who gets which share. Pure."""

import datetime as dt
from collections.abc import Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass, field

from tieline.chassis.errors import FailedPreconditionError, NotFoundError
from tieline.chassis.fields import check_text, raise_violations
from tieline.chassis.principals import PrincipalKind
from tieline.payments.ledger import CURRENCY_CODE
from tieline.payments.split import MAX_SHARE_MINOR, MIN_SHARE_MINOR

MAX_SHARE_COUNT = 100
MAX_GREETING_LENGTH = 128

# Longer than any id that messaging makes (36); keeps nonsense out of the question to it.
MAX_CONVERSATION_ID_LENGTH = 64


@dataclass(frozen=True, slots=True)
class RedPacketIntent:
    """What somebody wants to give."""

    conversation_id: str
    amount_minor: int
    currency_code: str
    share_count: int
    greeting: str


@dataclass(frozen=True, slots=True)
class RedPacket:
    """A packet; nothing of it ever changes. What is left of it, its shares tell."""

    red_packet_id: str
    conversation_id: str
    sender_user_id: str
    amount_minor: int
    currency_code: str
    share_count: int
    greeting: str
    create_time: dt.datetime
    split_seed: bytes = field(repr=False)
    """Secret until the last share is opened."""


@dataclass(frozen=True, slots=True)
class Opener:
    """A member or customer."""

    kind: PrincipalKind
    id: str


@dataclass(frozen=True, slots=True)
class Opening:
    """Somebody's wish for a share."""

    corp_id: str
    red_packet_id: str
    opener: Opener

    cause: Context | None = field(default=None, compare=False, repr=False)
    """The context of the call, whose trace and priority the event carries on."""


@dataclass(frozen=True, slots=True)
class FreeShare:
    """A share that nobody has opened."""

    position: int
    """1 for the first share to be opened."""

    amount_minor: int


@dataclass(frozen=True, slots=True)
class Share:
    """A share that somebody has opened."""

    position: int
    amount_minor: int
    opener: Opener
    open_time: dt.datetime


def check_intent(intent: RedPacketIntent) -> None:
    """Refuse a packet that breaks a limit; an error names all of them."""
    violations: dict[str, str] = {}
    check_text(
        *(intent.conversation_id, "conversation_id", violations),
        minimum=1,
        maximum=MAX_CONVERSATION_ID_LENGTH,
    )
    check_currency(intent.currency_code, violations)
    check_text(intent.greeting, "greeting", violations, minimum=0, maximum=MAX_GREETING_LENGTH)
    if not 1 <= intent.share_count <= MAX_SHARE_COUNT:
        violations["share_count"] = f"must be from 1 to {MAX_SHARE_COUNT}"
    # Only a possible number of shares says which amounts are possible.
    elif not (
        MIN_SHARE_MINOR * intent.share_count
        <= intent.amount_minor
        <= MAX_SHARE_MINOR * intent.share_count
    ):
        violations["amount_minor"] = (
            f"must be from {MIN_SHARE_MINOR * intent.share_count} "
            f"to {MAX_SHARE_MINOR * intent.share_count} for {intent.share_count} shares"
        )
    raise_violations(violations)


def check_currency(currency_code: str, violations: dict[str, str]) -> None:
    """Refuse a currency in which no ledger is kept."""
    if currency_code != CURRENCY_CODE:
        violations["currency_code"] = f"must be {CURRENCY_CODE}"


def plan_openings(
    openings: Sequence[Opening],
    held: Mapping[Opening, Share],
    free: Mapping[str, Sequence[FreeShare]],
) -> dict[Opening, FreeShare]:
    """Return who gets which of their packet's free shares, in the order of ``openings``.

    Those who hold one get no other, whoever comes twice gets one, and those for whom none is left
    are missing from the answer.
    """
    left = {red_packet_id: iter(shares) for red_packet_id, shares in free.items()}
    planned: dict[Opening, FreeShare] = {}
    for opening in openings:
        if opening in held or opening in planned:
            continue
        share = next(left[opening.red_packet_id], None)
        if share is not None:
            planned[opening] = share
    return planned


def conversation_not_found_error(conversation_id: str) -> NotFoundError:
    """Build what those get who may not know of the conversation."""
    return NotFoundError(
        "CONVERSATION_NOT_FOUND", "no such conversation", {"conversationId": conversation_id}
    )


def greeting_blocked_error() -> FailedPreconditionError:
    """Build what a greeting with a blocked word gets; it does not tell which word."""
    return FailedPreconditionError(
        "SENSITIVE_WORD", "the greeting has a word that the corp does not allow"
    )


def red_packet_empty_error(red_packet_id: str) -> FailedPreconditionError:
    """Build what late comers get."""
    return FailedPreconditionError(
        "RED_PACKET_EMPTY", "every share is taken", {"redPacketId": red_packet_id}
    )


def red_packet_not_found_error(red_packet_id: str) -> NotFoundError:
    """Build what those get who may not know of the packet.

    Of what is no id only so much goes into the answer as an id has: 36 characters.
    """
    return NotFoundError(
        "RED_PACKET_NOT_FOUND", "no such red packet", {"redPacketId": red_packet_id[:36]}
    )
