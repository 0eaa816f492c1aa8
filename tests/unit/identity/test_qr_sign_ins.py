"""Who may do what to a sign-in by QR code."""

import datetime as dt

import pytest

from tieline.chassis.errors import NotFoundError
from tieline.identity.qr_codes.rules import (
    QrSignIn,
    QrState,
    hash_poll_secret,
    is_poll_secret,
    new_poll_secret,
    plan_decision,
    plan_scan,
)
from tieline.identity.sessions.devices import Device

NOW = dt.datetime(2026, 2, 24, 8, 0, tzinfo=dt.UTC)
ME, SOMEBODY = ("ww1", "li.wei"), ("ww1", "wang.fang")


def at(state: QrState, member: tuple[str, str] = ME) -> QrSignIn:
    is_scanned = state is not QrState.WAITING
    corp_id, user_id = member if is_scanned else (None, None)
    return QrSignIn(state, Device("Chrome"), "192.0.2.1", corp_id, user_id, NOW, NOW)


@pytest.mark.parametrize(
    ("found", "may"),
    [
        pytest.param(None, False, id="over"),
        pytest.param(at(QrState.WAITING), True, id="waiting"),
        pytest.param(at(QrState.SCANNED), True, id="scanned by me"),
        pytest.param(at(QrState.SCANNED, SOMEBODY), False, id="scanned by somebody"),
        pytest.param(at(QrState.APPROVED), False, id="approved"),
        pytest.param(at(QrState.REJECTED), False, id="rejected"),
        pytest.param(at(QrState.GIVEN), False, id="given"),
    ],
)
def test_a_code_is_scanned_by_one_member(found: QrSignIn | None, may: bool) -> None:
    try:
        assert plan_scan(found, *ME) is found
    except NotFoundError:
        assert not may
    else:
        assert may


@pytest.mark.parametrize("is_approved", [True, False])
@pytest.mark.parametrize("state", [None, *QrState])
@pytest.mark.parametrize("member", [ME, SOMEBODY])
def test_only_whoever_scanned_decides_and_only_once(
    state: QrState | None, member: tuple[str, str], is_approved: bool
) -> None:
    found = None if state is None else at(state, member)
    wanted = QrState.APPROVED if is_approved else QrState.REJECTED
    leads_to = (
        {
            QrState.SCANNED: wanted,
            QrState.APPROVED: QrState.APPROVED if is_approved else None,
            QrState.GIVEN: QrState.GIVEN if is_approved else None,
            QrState.REJECTED: None if is_approved else QrState.REJECTED,
        }.get(state)
        if state is not None and member == ME
        else None
    )

    try:
        decided = plan_decision(found, *ME, is_approved=is_approved)
    except NotFoundError:
        decided = None

    assert decided is leads_to


def test_only_the_poll_secret_is_the_poll_secret() -> None:
    secret = new_poll_secret()

    assert is_poll_secret(hash_poll_secret(secret), secret)
    assert not is_poll_secret(hash_poll_secret(secret), secret + "x")
    assert not is_poll_secret(None, "")
    assert secret != new_poll_secret()
