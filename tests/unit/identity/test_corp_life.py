"""How corps are suspended, renamed, deleted and brought back."""

import datetime as dt
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.chassis.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    PermissionDeniedError,
)
from tieline.chassis.principals import Principal, PrincipalKind
from tieline.identity.corps.life import (
    call_off_deletion,
    check_may_delete,
    check_may_sign_in,
    check_reason,
    lets_session_go_on,
    rename,
    request_deletion,
    resume,
    suspend,
)
from tieline.identity.corps.rules import Corp, CorpKind, CorpState

NOW = dt.datetime(2026, 2, 24, 9, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
GRACE = dt.timedelta(days=30)
CORP = Corp("ww1", "Jinyu", CorpKind.COMPANY, "boss", NOW - GRACE, verify_time=NOW - HOUR)
SUSPENDED = suspend(CORP, "spam", NOW)
DELETING = request_deletion(CORP, NOW, GRACE)
BOTH = request_deletion(SUSPENDED, NOW, GRACE)


@pytest.mark.parametrize(
    ("corp", "state"),
    [
        pytest.param(CORP, CorpState.ACTIVE, id="new"),
        pytest.param(SUSPENDED, CorpState.SUSPENDED, id="suspended"),
        pytest.param(resume(SUSPENDED), CorpState.ACTIVE, id="resumed"),
        pytest.param(DELETING, CorpState.DELETING, id="on its way out"),
        pytest.param(BOTH, CorpState.DELETING, id="suspended and on its way out"),
        pytest.param(resume(BOTH), CorpState.DELETING, id="resumed on its way out"),
        pytest.param(call_off_deletion(DELETING, NOW), CorpState.ACTIVE, id="called off"),
        pytest.param(
            call_off_deletion(BOTH, NOW), CorpState.SUSPENDED, id="called off, suspended before"
        ),
        pytest.param(replace(DELETING, delete_time=NOW), CorpState.DELETED, id="purged"),
    ],
)
def test_state_is_what_was_done_to_the_corp(corp: Corp, state: CorpState) -> None:
    assert corp.state is state


ACTS: dict[str, Callable[[Corp, dt.datetime], Corp]] = {
    "suspend": lambda corp, now: suspend(corp, "spam", now),
    "resume": lambda corp, now: resume(corp),
    "delete": lambda corp, now: request_deletion(corp, now, GRACE),
    "undelete": call_off_deletion,
    "rename": lambda corp, now: rename(corp, "Another"),
}


@given(st.lists(st.sampled_from(sorted(ACTS)), max_size=12))
def test_each_act_twice_is_that_act_once_and_nothing_lowers_the_floor(names: list[str]) -> None:
    corp, now = CORP, NOW
    for name in names:
        now += HOUR
        once = ACTS[name](corp, now)
        twice = ACTS[name](once, now + HOUR)

        assert twice is once
        assert (once.session_floor_time or NOW) >= (corp.session_floor_time or NOW)
        if once.state is not CorpState.ACTIVE and corp.state is CorpState.ACTIVE:
            assert not lets_session_go_on(resume(call_off_deletion(once, now)), now - HOUR)
        corp = once


def test_the_first_reason_of_a_suspension_stands() -> None:
    again = suspend(SUSPENDED, "other", NOW + HOUR)

    assert again.suspend_reason == "spam"


def test_a_deletion_is_called_off_until_the_purge_may_run_and_not_after() -> None:
    assert call_off_deletion(DELETING, NOW + GRACE - dt.timedelta(microseconds=1)).state is (
        CorpState.ACTIVE
    )

    with pytest.raises(FailedPreconditionError) as caught:
        call_off_deletion(DELETING, NOW + GRACE)
    assert caught.value.reason == "CORP_PURGE_BEGUN"


def test_another_name_drops_the_verification_and_the_same_name_does_not() -> None:
    renamed = rename(CORP, "Gold Bank")

    assert (renamed.verified_label, renamed.display_name) == ("", "Gold Bank")
    assert rename(CORP, "Jinyu") is CORP


@pytest.mark.parametrize("corp", [SUSPENDED, DELETING])
def test_nobody_of_a_corp_that_is_not_active_signs_in(corp: Corp) -> None:
    check_may_sign_in(CORP)

    with pytest.raises(PermissionDeniedError) as caught:
        check_may_sign_in(corp)

    assert caught.value.reason == "CORP_NOT_ACTIVE"
    assert caught.value.metadata == {"corpId": "ww1", "state": corp.state}


@pytest.mark.parametrize(
    ("corp", "opened", "goes_on"),
    [
        pytest.param(CORP, NOW - GRACE, True, id="never stopped"),
        pytest.param(SUSPENDED, NOW + HOUR, False, id="suspended now"),
        pytest.param(resume(SUSPENDED), NOW - HOUR, False, id="opened before the suspension"),
        pytest.param(resume(SUSPENDED), NOW, True, id="opened after it"),
    ],
)
def test_a_session_goes_on_only_in_an_active_corp_that_was_not_stopped_since(
    corp: Corp, opened: dt.datetime, goes_on: bool
) -> None:
    assert lets_session_go_on(corp, opened) is goes_on


@pytest.mark.parametrize(
    ("kind", "roles", "is_allowed"),
    [
        pytest.param(PrincipalKind.PLATFORM_ADMINISTRATOR, (), True, id="platform"),
        pytest.param(PrincipalKind.MEMBER, ("owner",), True, id="owner"),
        pytest.param(PrincipalKind.MEMBER, ("administrator", "auditor"), False, id="others"),
    ],
)
def test_only_the_owner_and_the_platform_delete_a_corp(
    kind: PrincipalKind, roles: tuple[str, ...], is_allowed: bool
) -> None:
    corp_id = "ww1" if kind is PrincipalKind.MEMBER else ""
    principal = Principal(kind, "x", corp_id, "s", roles=frozenset(roles))

    if is_allowed:
        check_may_delete(principal, "ww1", "/m")
    else:
        with pytest.raises(PermissionDeniedError):
            check_may_delete(principal, "ww1", "/m")


@pytest.mark.parametrize("reason", ["", " ", "x" * 201, "a\nb"])
def test_a_reason_says_something_in_one_line(reason: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        check_reason(reason)

    assert list(caught.value.violations) == ["reason"]
