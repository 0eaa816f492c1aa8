"""What one-time codes are made of, when they are good, and when they are sent again."""

import datetime as dt
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.identity.one_time_codes.rules import (
    LIFETIME,
    MAX_DELIVERY_ATTEMPTS,
    OneTimeCode,
    OneTimeCodes,
    Purpose,
    Receiver,
    ReceiverKind,
    find_next_delivery,
    read_customer_receiver,
    read_member_receiver,
)

NOW = dt.datetime(2026, 2, 24, 8, 0, tzinfo=dt.UTC)
CODES = OneTimeCodes(b"k" * 32)
OPEN = OneTimeCode(
    purpose=Purpose.SIGN_IN,
    receiver=Receiver(ReceiverKind.MOBILE, "+8613800000001"),
    user_id="li.wei",
    wrong_attempts=0,
    expire_time=NOW + LIFETIME,
    use_time=None,
    is_sent=True,
    now=NOW,
)


@given(st.uuids())
def test_a_code_is_six_digits_and_the_same_each_time(code_id: object) -> None:
    code = CODES.derive("ww1", str(code_id))

    assert len(code) == 6
    assert code.isdigit()
    assert code == CODES.derive("ww1", str(code_id))
    assert CODES.matches("ww1", str(code_id), f"{code[:3]} {code[3:]}")


def test_codes_are_spread_evenly_and_differ_by_key_and_corp() -> None:
    codes = [CODES.derive("ww1", str(number)) for number in range(5000)]

    digits = Counter("".join(codes))
    assert max(digits.values()) < 1.1 * min(digits.values())
    assert OneTimeCodes(b"o" * 32).derive("ww1", "0") != codes[0]
    assert CODES.derive("ww2", "0") != codes[0]


@pytest.mark.parametrize("typed", ["", "12345", "1234567", "abcdef", "１２３４５６", "\x00"])
def test_anything_else_does_not_match(typed: str) -> None:
    assert not CODES.matches("ww1", "id", typed)


@pytest.mark.parametrize(
    ("code", "is_open"),
    [
        pytest.param(OPEN, True, id="new"),
        pytest.param(replace(OPEN, wrong_attempts=4), True, id="the last attempt"),
        pytest.param(replace(OPEN, wrong_attempts=5), False, id="no attempt left"),
        pytest.param(replace(OPEN, use_time=NOW), False, id="used"),
        pytest.param(replace(OPEN, expire_time=NOW), False, id="over"),
        pytest.param(replace(OPEN, is_sent=False), False, id="sent to nobody"),
        pytest.param(
            replace(OPEN, purpose=Purpose.PASSWORD_RESET), False, id="for another purpose"
        ),
    ],
)
def test_a_code_is_open_once_in_time_for_its_purpose(code: OneTimeCode, is_open: bool) -> None:
    assert code.is_open(Purpose.SIGN_IN) is is_open


@pytest.mark.parametrize(
    ("kind", "address", "expected"),
    [
        ("mobile", "13800000001", "13800000001"),
        ("mobile", "+8613800000001", "+8613800000001"),
        ("mobile", "1234", None),
        ("mobile", "+" + "1" * 20, None),
        ("email", "Li.Wei@Example.org", "li.wei@example.org"),
        ("email", "a@b.c", None),
        ("email", "x" * 60 + "@b.cn", None),
        ("email", "two@at@example.org", None),
        ("email", "李@example.org", None),
        ("email", "a b@example.org", None),
        (None, "", None),
    ],
)
def test_a_receiver_is_a_number_or_an_address(
    kind: str | None, address: str, expected: str | None
) -> None:
    violations: dict[str, str] = {}

    receiver = read_member_receiver(kind, address, violations)

    assert (receiver.address if receiver else None) == expected
    assert bool(violations) is (expected is None)


@pytest.mark.parametrize(
    ("address", "is_good"),
    [("+8613800000001", True), ("13800000001", False), ("+0123456789", False), ("+123456", False)],
)
def test_a_customers_number_has_its_countrys_code(address: str, is_good: bool) -> None:
    violations: dict[str, str] = {}

    assert (read_customer_receiver("mobile", address, violations) is not None) is is_good
    assert bool(violations) is not is_good


def test_sending_is_tried_eight_times_within_two_minutes() -> None:
    now, attempts = NOW, 1
    while (next_time := find_next_delivery(attempts, now, NOW + LIFETIME)) is not None:
        assert next_time - now == dt.timedelta(seconds=2 ** (attempts - 1))
        now, attempts = next_time, attempts + 1

    assert attempts == MAX_DELIVERY_ATTEMPTS
    assert now - NOW < dt.timedelta(minutes=3)


def test_what_would_come_too_late_is_not_sent_again() -> None:
    assert find_next_delivery(1, NOW, NOW + dt.timedelta(seconds=1)) is None
    assert find_next_delivery(1, NOW, NOW + dt.timedelta(seconds=1.1)) is not None
