"""When to send a request again. Pure: clock and random numbers are passed in.

Three things must agree before a request is repeated: the request is safe to repeat, the error says
that a repeat may help, and the budget has not run out. The budget is what keeps many clients of a
service that is down from becoming its second problem.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import grpc
from google.protobuf.message import Message

from tieline.client.errors import TielineError

RequestT = TypeVar("RequestT", bound=Message)

# Fields by which a service recognises a repeat, and gives the first answer again.
_ID_FIELDS = ("request_id", "client_message_id")

_READING_VERBS = ("Get", "List", "Search", "BatchGet", "Check")

# Their comments in the protos say that a repeat changes nothing more, or that it does no harm.
_REPEATABLE_METHODS = frozenset(
    {
        "AcceptCorpLink",
        "AcknowledgeArchive",
        "AddContact",
        "AddParticipants",
        "BatchSendMessages",
        "CancelImportJob",
        "CancelScheduledMessage",
        "ChangePassword",
        "DecideQrSignIn",
        "CreateAppToken",
        "CreateLinkedCorpToken",
        "DeclineCorpLink",
        "DeleteAttribute",
        "DeleteJoinCode",
        "DismissConversation",
        "EditMessage",
        "JoinConversation",
        "JoinCustomerGroup",
        "LeaveCorpLink",
        "LookAt",
        "MarkRead",
        "MuteConversation",
        "OpenAppConversation",
        "OpenRedPacket",
        "PinConversation",
        "RefreshSession",
        "RecallAppMessage",
        "RegisterPushTarget",
        "RecallMessage",
        "ReleaseLegalHold",
        "RemoveParticipants",
        "ResetSecondFactor",
        "ScanQrSignIn",
        "RevokeAllSessions",
        "RevokeAppSecret",
        "RevokeSession",
        "SaveDraft",
        "ShowTyping",
        "SetCorpPushPreviews",
        "SetPushPreviews",
        "SetQuietHours",
        "SetRetentionPolicy",
        "SignInMember",
        "SignInPlatformAdministrator",
        "SignOut",
        "SetPin",
        "SetReaction",
        "UnregisterPushTarget",
        "UpdateCorpLinkShare",
        "UpdateParticipantRole",
        "UpdateSettings",
        "UpdateSensitiveWords",
        "UpdateSignInPolicy",
        "UpdateSignInProvider",
        "VerifyCorp",
    }
)

# CANCELLED, where nobody here cancelled, is a server whose queue is full: gRPC's core resets what
# it has no room for.
_RETRYABLE_CODES = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.CANCELLED,
)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to wait between attempts, and how many retries a service may be asked to bear."""

    first_delay_s: float = 0.1
    """Upper bound of the first delay; it doubles with each attempt."""

    max_delay_s: float = 2.0
    """Upper bound of every later delay. A restart of a service takes 1 to 3 seconds."""

    budget_ratio: float = 0.1
    """Retries that each call earns."""

    budget_per_second: float = 1.0
    """Retries that each second earns, so that a client that calls rarely may retry as well."""

    budget_capacity: float = 20.0
    """Retries that can be saved up; also what there is at first."""


class RetryBudget:
    """Counts the retries that one service may still be asked to bear."""

    def __init__(self, policy: RetryPolicy, clock: Callable[[], float] = time.monotonic) -> None:
        self._policy = policy
        self._clock = clock
        self._tokens = policy.budget_capacity
        self._filled_at = clock()

    def note_call(self) -> None:
        """Earn a share of a retry by a first attempt."""
        self._earn(self._policy.budget_ratio)

    def try_spend(self) -> bool:
        """Take one retry out, if there is one."""
        now = self._clock()
        self._earn((now - self._filled_at) * self._policy.budget_per_second)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _earn(self, tokens: float) -> None:
        self._tokens = min(self._tokens + tokens, self._policy.budget_capacity)


def plan_retry(
    error: TielineError, *, attempt: int, remaining_s: float, policy: RetryPolicy, draw: float
) -> float | None:
    """Return the seconds to wait before the next attempt, or None where another can't help.

    ``attempt`` counts from 0; ``draw`` is a random number from 0 to 1, which spreads the clients
    that failed together over the whole delay.
    """
    if not _may_help(error):
        return None
    delay_s = draw * min(policy.max_delay_s, policy.first_delay_s * 2 ** min(attempt, 30))
    if error.pushback_s is not None:
        delay_s = error.pushback_s
    elif error.retry_after_s is not None:
        delay_s += error.retry_after_s
    return delay_s if delay_s < remaining_s else None


def _may_help(error: TielineError) -> bool:
    if error.pushback_s is not None:
        return error.pushback_s >= 0
    if error.code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return error.retry_after_s is not None
    return error.code in _RETRYABLE_CODES


def find_id_field(request: Message) -> str | None:
    """Return the name of the field by which a repeat of the request is recognised."""
    names = request.DESCRIPTOR.fields_by_name
    return next((name for name in _ID_FIELDS if name in names), None)


def is_repeatable(method: str, request: Message) -> bool:
    """Tell whether the same request may be sent twice. ``method`` is its name without a path."""
    return (
        find_id_field(request) is not None
        or method.startswith(_READING_VERBS)
        or method in _REPEATABLE_METHODS
    )


def with_request_id(request: RequestT, new_id: Callable[[], str]) -> RequestT:
    """Return the request with an id by which its repeats are recognised.

    A copy where one had to be made up: the caller may send the same object again and mean it.
    """
    field = find_id_field(request)
    if field is None or getattr(request, field):
        return request
    filled = type(request)()
    filled.CopyFrom(request)
    setattr(filled, field, new_id())
    return filled
