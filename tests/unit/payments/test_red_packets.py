"""The rules of red packets and deposits."""

import datetime as dt
from typing import Any

import pytest

from tieline.chassis.errors import InvalidArgumentError
from tieline.chassis.principals import PrincipalKind
from tieline.payments.deposits import MAX_DEPOSIT_MINOR, Deposit, check_deposit
from tieline.payments.messages import to_red_packet
from tieline.payments.red_packets import (
    FreeShare,
    Opener,
    Opening,
    RedPacket,
    RedPacketIntent,
    Share,
    check_intent,
    plan_openings,
)

NOW = dt.datetime(2026, 2, 16, 20, 0, tzinfo=dt.UTC)
PACKET_ID = "018f3d2e-7c1a-7b6e-9f00-3a5b8c2d1e4f"


def intent(**changes: Any) -> RedPacketIntent:
    fields = {
        "conversation_id": "wr1",
        "amount_minor": 20_000,
        "currency_code": "CNY",
        "share_count": 50,
        "greeting": "恭喜发财",
    }
    return RedPacketIntent(**{**fields, **changes})


def deposit(**changes: Any) -> Deposit:
    fields = {
        "amount_minor": 1,
        "currency_code": "CNY",
        "bank_reference": "REF 1",
    }
    return Deposit(**{**fields, **changes})


def opening(name: str, red_packet_id: str = PACKET_ID) -> Opening:
    return Opening("ww1", red_packet_id, Opener(PrincipalKind.CUSTOMER, name))


def share(position: int, name: str = "wm1") -> Share:
    return Share(position, 10 * position, Opener(PrincipalKind.CUSTOMER, name), NOW)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        pytest.param({"share_count": 0}, "share_count", id="no share"),
        pytest.param({"share_count": 101}, "share_count", id="101 shares"),
        pytest.param({"amount_minor": 49}, "amount_minor", id="less than a fen a share"),
        pytest.param({"amount_minor": 1_000_001}, "amount_minor", id="a fen above the largest"),
        pytest.param({"amount_minor": -1}, "amount_minor", id="below zero"),
        pytest.param({"currency_code": "EUR"}, "currency_code", id="another currency"),
        pytest.param({"currency_code": ""}, "currency_code", id="no currency"),
        pytest.param({"greeting": "x" * 129}, "greeting", id="long greeting"),
        pytest.param({"greeting": "a\x00b"}, "greeting", id="NUL in the greeting"),
        pytest.param({"conversation_id": ""}, "conversation_id", id="no conversation"),
        pytest.param({"conversation_id": "\x00"}, "conversation_id", id="NUL as conversation"),
    ],
)
def test_packet_beyond_a_limit_is_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        check_intent(intent(**changes))

    assert list(caught.value.violations) == [field]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"share_count": 1, "amount_minor": 1}, id="one fen"),
        pytest.param({"share_count": 100, "amount_minor": 100}, id="one fen for each of 100"),
        pytest.param({"share_count": 100, "amount_minor": 2_000_000}, id="the largest"),
        pytest.param({"greeting": ""}, id="no greeting"),
        pytest.param({"greeting": "x" * 128}, id="the longest greeting"),
    ],
)
def test_packet_at_its_limits_is_accepted(changes: dict[str, Any]) -> None:
    check_intent(intent(**changes))


def test_refusal_names_every_wrong_field() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        check_intent(intent(amount_minor=0, currency_code="EUR", greeting="x" * 200))

    assert set(caught.value.violations) == {"amount_minor", "currency_code", "greeting"}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        pytest.param({"amount_minor": 0}, "amount_minor", id="nothing"),
        pytest.param({"amount_minor": MAX_DEPOSIT_MINOR + 1}, "amount_minor", id="too much"),
        pytest.param({"currency_code": "cny"}, "currency_code", id="lower-case currency"),
        pytest.param({"bank_reference": ""}, "bank_reference", id="no reference"),
        pytest.param({"bank_reference": "x" * 65}, "bank_reference", id="long reference"),
    ],
)
def test_deposit_beyond_a_limit_is_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        check_deposit(deposit(**changes))

    assert list(caught.value.violations) == [field]


def test_deposit_at_its_limits_is_accepted() -> None:
    check_deposit(deposit(amount_minor=MAX_DEPOSIT_MINOR, bank_reference="x" * 64))


def test_newcomers_get_the_next_shares_in_the_order_of_their_coming() -> None:
    planned = plan_openings(
        [opening("b"), opening("a")], {}, {PACKET_ID: [FreeShare(3, 30), FreeShare(4, 40)]}
    )

    assert planned == {opening("b"): FreeShare(3, 30), opening("a"): FreeShare(4, 40)}


def test_who_holds_a_share_gets_no_other() -> None:
    planned = plan_openings(
        [opening("a")], {opening("a"): share(1)}, {PACKET_ID: [FreeShare(2, 20)]}
    )

    assert planned == {}


def test_who_comes_twice_at_once_gets_one_share() -> None:
    planned = plan_openings(
        [opening("a"), opening("a"), opening("b")],
        {},
        {PACKET_ID: [FreeShare(1, 10), FreeShare(2, 20), FreeShare(3, 30)]},
    )

    assert planned == {opening("a"): FreeShare(1, 10), opening("b"): FreeShare(2, 20)}


def test_who_comes_after_the_last_share_gets_none() -> None:
    planned = plan_openings([opening("a"), opening("b")], {}, {PACKET_ID: [FreeShare(9, 90)]})

    assert planned == {opening("a"): FreeShare(9, 90)}


def test_packets_of_one_batch_do_not_share_their_shares() -> None:
    planned = plan_openings(
        [opening("a", "p"), opening("a", "q"), opening("b", "p")],
        {},
        {"p": [FreeShare(1, 10)], "q": [FreeShare(1, 77)]},
    )

    assert planned == {opening("a", "p"): FreeShare(1, 10), opening("a", "q"): FreeShare(1, 77)}


@pytest.mark.parametrize(
    ("opened", "is_shown"),
    [
        pytest.param(0, False, id="none opened"),
        pytest.param(1, False, id="one left"),
        pytest.param(2, True, id="all opened"),
    ],
)
def test_seed_is_shown_when_the_last_share_is_opened(opened: int, is_shown: bool) -> None:
    packet = RedPacket(PACKET_ID, "wr1", "li.wei", 30, "CNY", 2, "", NOW, b"s" * 32)

    message = to_red_packet(packet, [share(1), share(2)][:opened])

    assert (message.split_seed == b"s" * 32) is is_shown
    assert len(message.split_commitment) == 32
    assert message.opened_count == opened
    assert message.opened_amount_minor == [0, 10, 30][opened]


def test_seed_is_no_part_of_the_text_of_a_packet() -> None:
    packet = RedPacket(PACKET_ID, "wr1", "li.wei", 30, "CNY", 2, "", NOW, b"secret seed")

    assert "secret seed" not in repr(packet)
