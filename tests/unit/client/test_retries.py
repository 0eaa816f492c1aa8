"""The rules of sending again."""

import grpc
import pytest

from tieline.api.contacts.v1 import contacts_service_pb2
from tieline.api.identity.v1 import identity_service_pb2
from tieline.api.messaging.v1 import messaging_service_pb2
from tieline.client.errors import NEVER_RETRY_S, TielineError
from tieline.client.retries import (
    RetryBudget,
    RetryPolicy,
    is_repeatable,
    plan_retry,
    with_request_id,
)

POLICY = RetryPolicy(first_delay_s=0.1, max_delay_s=2.0)


def error(
    code: str = "UNAVAILABLE",
    *,
    retry_after_s: float | None = None,
    pushback_s: float | None = None,
) -> TielineError:
    return TielineError(
        grpc.StatusCode[code], "text", retry_after_s=retry_after_s, pushback_s=pushback_s
    )


def plan(
    failure: TielineError, *, attempt: int = 0, remaining_s: float = 10.0, draw: float = 0.5
) -> float | None:
    return plan_retry(failure, attempt=attempt, remaining_s=remaining_s, policy=POLICY, draw=draw)


@pytest.mark.parametrize("code", [code.name for code in grpc.StatusCode])
def test_only_codes_after_which_a_repeat_may_help_are_retried(code: str) -> None:
    is_retried = plan(error(code)) is not None

    assert is_retried == (code in {"UNAVAILABLE", "ABORTED", "CANCELLED"})


def test_exhausted_is_retried_only_when_the_service_says_when() -> None:
    assert plan(error("RESOURCE_EXHAUSTED")) is None
    assert plan(error("RESOURCE_EXHAUSTED", retry_after_s=1.0)) is not None


@pytest.mark.parametrize(
    ("attempt", "upper_bound_s"), [(0, 0.1), (1, 0.2), (4, 1.6), (5, 2.0), (5_000, 2.0)]
)
def test_delay_is_drawn_from_nothing_up_to_a_bound_that_doubles(
    attempt: int, upper_bound_s: float
) -> None:
    assert plan(error(), attempt=attempt, draw=0.0) == 0.0
    assert plan(error(), attempt=attempt, draw=1.0) == pytest.approx(upper_bound_s)


def test_retry_info_is_a_lower_bound_that_callers_spread_out_from() -> None:
    assert plan(error(retry_after_s=1.0), draw=0.0) == 1.0
    assert plan(error(retry_after_s=1.0), draw=1.0) == pytest.approx(1.1)


def test_pushback_wins_over_everything_else_that_the_error_says() -> None:
    assert plan(error(retry_after_s=5.0, pushback_s=0.3)) == 0.3
    assert plan(error("INTERNAL", pushback_s=0.3)) == 0.3
    assert plan(error("UNAVAILABLE", pushback_s=NEVER_RETRY_S)) is None


@pytest.mark.parametrize(("remaining_s", "is_retried"), [(1.0, False), (1.2, True)])
def test_no_attempt_is_planned_for_after_the_deadline(remaining_s: float, is_retried: bool) -> None:
    delay_s = plan(error(retry_after_s=1.0), remaining_s=remaining_s, draw=0.5)

    assert (delay_s is not None) == is_retried


def test_budget_allows_its_capacity_and_then_a_share_of_the_calls() -> None:
    policy = RetryPolicy(budget_capacity=5, budget_ratio=0.1, budget_per_second=0)
    budget = RetryBudget(policy, clock=lambda: 0.0)
    first = sum(budget.try_spend() for _ in range(10))

    later = 0
    for _ in range(100):
        budget.note_call()
        later += budget.try_spend()

    assert first == 5
    assert later == pytest.approx(10, abs=1)


def test_budget_fills_with_time_for_clients_that_call_rarely() -> None:
    now_s = 0.0
    policy = RetryPolicy(budget_capacity=2, budget_ratio=0, budget_per_second=1)
    budget = RetryBudget(policy, clock=lambda: now_s)
    assert [budget.try_spend() for _ in range(3)] == [True, True, False]

    now_s = 100.0

    assert [budget.try_spend() for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize(
    ("method", "request_type", "is_safe"),
    [
        ("SendMessage", messaging_service_pb2.SendMessageRequest, True),
        ("CreateContactWay", contacts_service_pb2.CreateContactWayRequest, True),
        ("ListMessages", messaging_service_pb2.ListMessagesRequest, True),
        ("AddContact", contacts_service_pb2.AddContactRequest, True),
        ("RefreshSession", identity_service_pb2.RefreshSessionRequest, True),
        ("AcceptInvitation", identity_service_pb2.AcceptInvitationRequest, False),
        ("SignInCustomer", identity_service_pb2.SignInCustomerRequest, False),
    ],
)
def test_requests_are_repeated_only_where_a_repeat_changes_nothing_more(
    method: str, request_type: type, is_safe: bool
) -> None:
    assert is_repeatable(method, request_type()) == is_safe


@pytest.mark.parametrize(
    ("request_type", "id_field"),
    [
        (messaging_service_pb2.SendMessageRequest, "client_message_id"),
        (contacts_service_pb2.CreateContactWayRequest, "request_id"),
    ],
)
def test_empty_id_is_filled_in_a_copy_and_a_given_one_is_kept(
    request_type: type, id_field: str
) -> None:
    empty = request_type()
    given = request_type(**{id_field: "mine"})

    assert getattr(with_request_id(empty, lambda: "made"), id_field) == "made"
    assert getattr(empty, id_field) == ""
    assert with_request_id(given, lambda: "made") is given
