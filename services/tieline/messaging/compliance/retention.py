"""The rules of compliance officers: how long messages are kept, and what must not go. Pure."""

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from tieline.api.messaging.v1 import compliance_service_pb2, messaging_pb2
from tieline.chassis.errors import NotFoundError
from tieline.chassis.fields import check_text, check_user_id, raise_violations, to_timestamp
from tieline.messaging.conversations.rules import (
    ConversationKind,
    check_conversation_id,
    member,
)

KEEP_DAYS = (90, 180, 365, 1095, 2555)
"""Few, because a month of messages is copied once for each that somebody has."""

FOREVER = 0
MAX_ACTIVE_HOLDS = 1000
MAX_REASON_CHARACTERS = 256

_KINDS = MappingProxyType(
    {
        messaging_pb2.CONVERSATION_KIND_DIRECT: ConversationKind.DIRECT,
        messaging_pb2.CONVERSATION_KIND_GROUP: ConversationKind.GROUP,
        messaging_pb2.CONVERSATION_KIND_CUSTOMER_GROUP: ConversationKind.CUSTOMER_GROUP,
        messaging_pb2.CONVERSATION_KIND_APP: ConversationKind.APP,
    }
)


class HoldScope(StrEnum):
    """What a hold is on; the values stand in tables."""

    CORP = "corp"
    CONVERSATION = "conversation"
    MEMBER = "member"


_SCOPES = MappingProxyType(
    {
        compliance_service_pb2.LEGAL_HOLD_SCOPE_CORP: HoldScope.CORP,
        compliance_service_pb2.LEGAL_HOLD_SCOPE_CONVERSATION: HoldScope.CONVERSATION,
        compliance_service_pb2.LEGAL_HOLD_SCOPE_MEMBER: HoldScope.MEMBER,
    }
)
_SCOPES_TO_PROTO = MappingProxyType({scope: proto for proto, scope in _SCOPES.items()})


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """One row of ``retention_policies``."""

    kind: ConversationKind
    keep_days: int
    update_time: dt.datetime
    applied_until: dt.datetime | None
    """None where nothing was removed yet."""


@dataclass(frozen=True, slots=True)
class NewHold:
    """A hold that somebody wants, checked."""

    scope: HoldScope
    target_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class LegalHold:
    """One row of ``legal_holds``."""

    hold_id: str
    hold: NewHold
    create_time: dt.datetime
    release_time: dt.datetime | None


def check_policy(
    request: compliance_service_pb2.SetRetentionPolicyRequest,
) -> tuple[ConversationKind, int]:
    """Return for which kind and for how many days, or refuse it with all that is wrong."""
    violations: dict[str, str] = {}
    kind = _KINDS.get(request.conversation_kind)
    if kind is None:
        violations["conversation_kind"] = "must be one of the kinds"
    if request.keep_days not in (FOREVER, *KEEP_DAYS):
        allowed = ", ".join(map(str, KEEP_DAYS))
        violations["keep_days"] = f"must be one of {allowed}, or 0 for ever"
    raise_violations(violations)
    assert kind is not None, "it would be a violation"
    return kind, request.keep_days


def check_hold(request: compliance_service_pb2.CreateLegalHoldRequest) -> NewHold:
    """Return what shall be held, or refuse it with all that is wrong."""
    violations: dict[str, str] = {}
    scope = _SCOPES.get(request.scope)
    target_id = request.target_id
    if scope is None:
        violations["scope"] = "must be one of the scopes"
    elif scope is HoldScope.CORP and target_id:
        violations["target_id"] = "must be empty for the whole corp"
    elif scope is HoldScope.MEMBER:
        check_user_id(target_id, "target_id", violations)
        target_id = member(target_id).id
    check_text(request.reason, "reason", violations, minimum=1, maximum=MAX_REASON_CHARACTERS)
    raise_violations(violations)
    assert scope is not None, "it would be a violation"
    if scope is HoldScope.CONVERSATION:
        check_conversation_id(target_id)
    return NewHold(scope, target_id, request.reason)


def hold_not_found_error(hold_id: str) -> NotFoundError:
    """Return the error for a hold that is not there."""
    return NotFoundError("LEGAL_HOLD_NOT_FOUND", "no such legal hold", {"holdId": hold_id[:64]})


def policy_to_proto(
    kind: ConversationKind, policy: RetentionPolicy | None
) -> compliance_service_pb2.RetentionPolicy:
    """Return the policy as the API shows it; without one everything is kept."""
    proto = next(each for each, value in _KINDS.items() if value is kind)
    if policy is None:
        return compliance_service_pb2.RetentionPolicy(conversation_kind=proto)
    applied = policy.applied_until
    return compliance_service_pb2.RetentionPolicy(
        conversation_kind=proto,
        keep_days=policy.keep_days,
        update_time=to_timestamp(policy.update_time),
        applied_until_time=None if applied is None else to_timestamp(applied),
    )


def hold_to_proto(hold: LegalHold) -> compliance_service_pb2.LegalHold:
    """Return the hold as the API shows it."""
    released = hold.release_time
    return compliance_service_pb2.LegalHold(
        hold_id=hold.hold_id,
        scope=_SCOPES_TO_PROTO[hold.hold.scope],
        target_id=hold.hold.target_id,
        reason=hold.hold.reason,
        create_time=to_timestamp(hold.create_time),
        release_time=None if released is None else to_timestamp(released),
    )


def find_kept_from(first: int | None, *, after: int, last: int) -> int:
    """Return from which number on messages are kept where some that were asked for are gone.

    ``first`` is the first that was found above ``after``, up to ``last``; 0 for none missing.
    """
    expected = after + 1
    found = last + 1 if first is None else first
    return found if found > expected else 0
