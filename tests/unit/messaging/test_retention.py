import pytest

from tieline.api.messaging.v1 import compliance_service_pb2 as compliance
from tieline.api.messaging.v1 import messaging_pb2
from tieline.chassis.errors import InvalidArgumentError, NotFoundError
from tieline.messaging.compliance.retention import (
    KEEP_DAYS,
    check_hold,
    check_policy,
    find_kept_from,
)
from tieline.messaging.conversations.rules import ConversationKind

CORP = compliance.LEGAL_HOLD_SCOPE_CORP
MEMBER = compliance.LEGAL_HOLD_SCOPE_MEMBER
CONVERSATION = compliance.LEGAL_HOLD_SCOPE_CONVERSATION


@pytest.mark.parametrize("keep_days", [0, *KEEP_DAYS])
def test_known_lengths_are_taken(keep_days: int) -> None:
    request = compliance.SetRetentionPolicyRequest(
        conversation_kind=messaging_pb2.CONVERSATION_KIND_GROUP, keep_days=keep_days
    )

    assert check_policy(request) == (ConversationKind.GROUP, keep_days)


@pytest.mark.parametrize("keep_days", [-1, 1, 89, 91, 36500])
def test_other_lengths_are_refused(keep_days: int) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        check_policy(compliance.SetRetentionPolicyRequest(keep_days=keep_days))

    assert set(raised.value.violations) == {"conversation_kind", "keep_days"}


@pytest.mark.parametrize(
    ("scope", "target_id", "reason", "fields"),
    [
        pytest.param(0, "", "case", {"scope"}, id="no scope"),
        pytest.param(CORP, "li.wei", "case", {"target_id"}, id="corp with a target"),
        pytest.param(MEMBER, "", "case", {"target_id"}, id="nobody"),
        pytest.param(MEMBER, "a b", "case", {"target_id"}, id="no user id"),
        pytest.param(MEMBER, "li.wei", "", {"reason"}, id="no reason"),
        pytest.param(CORP, "", "x" * 257, {"reason"}, id="long reason"),
        pytest.param(CORP, "", "a\nb", {"reason"}, id="reason of two lines"),
    ],
)
def test_hold_that_is_none_is_refused(
    scope: compliance.LegalHoldScope.ValueType, target_id: str, reason: str, fields: set[str]
) -> None:
    request = compliance.CreateLegalHoldRequest(scope=scope, target_id=target_id, reason=reason)

    with pytest.raises(InvalidArgumentError) as raised:
        check_hold(request)

    assert set(raised.value.violations) == fields


def test_member_is_held_in_whatever_case_the_name_is_written() -> None:
    request = compliance.CreateLegalHoldRequest(scope=MEMBER, target_id="Li.Wei", reason="case")

    assert check_hold(request).target_id == "li.wei"


def test_hold_on_what_cannot_be_a_conversation_is_refused() -> None:
    request = compliance.CreateLegalHoldRequest(scope=CONVERSATION, target_id="../x", reason="case")

    with pytest.raises(NotFoundError):
        check_hold(request)


@pytest.mark.parametrize(
    ("first", "after", "last", "kept_from"),
    [
        pytest.param(1, 0, 3, 0, id="all there"),
        pytest.param(2, 0, 3, 2, id="the first is gone"),
        pytest.param(3, 2, 3, 0, id="what is gone was not asked for"),
        pytest.param(None, 0, 3, 4, id="all gone"),
        pytest.param(None, 3, 3, 0, id="nothing new"),
        pytest.param(None, 0, 0, 0, id="nothing ever said"),
        pytest.param(None, 5, 3, 0, id="asked for beyond the last"),
    ],
)
def test_from_where_on_messages_are_kept(
    first: int | None, after: int, last: int, kept_from: int
) -> None:
    assert find_kept_from(first, after=after, last=last) == kept_from
