"""The rules of codes, contact ways and customer groups."""

import datetime as dt

import pytest

from tieline.chassis.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from tieline.chassis.ids import new_customer_group_id
from tieline.contacts.codes import check_code, new_code
from tieline.contacts.contacts import check_state
from tieline.contacts.customer_groups import (
    CustomerGroup,
    check_customer_group_id,
    check_name,
    check_room,
)


def group(member_count: int) -> CustomerGroup:
    now = dt.datetime(2026, 2, 16, tzinfo=dt.UTC)
    return CustomerGroup("wr" + "0" * 24, "VIP", "li.wei", member_count, now)


def test_new_codes_have_32_characters_and_differ() -> None:
    codes = {new_code() for _ in range(1000)}

    assert len(codes) == 1000
    assert {len(code) for code in codes} == {32}
    for code in codes:
        check_code(code)


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("", id="empty"),
        pytest.param("a" * 31, id="too short"),
        pytest.param("a" * 33, id="too long"),
        pytest.param("a" * 31 + "\x00", id="NUL"),
        pytest.param("a" * 31 + "é", id="another alphabet"),
    ],
)
def test_what_can_not_be_a_code_is_not_found(code: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        check_code(code)

    assert caught.value.reason == "CODE_NOT_FOUND"


@pytest.mark.parametrize("state", ["", "a", "x" * 30, "门店 12"])
def test_state_of_up_to_30_characters_is_accepted(state: str) -> None:
    check_state(state)


@pytest.mark.parametrize("state", ["x" * 31, "a\nb", "\x00"])
def test_state_beyond_its_limits_is_refused(state: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        check_state(state)

    assert list(caught.value.violations) == ["state"]


@pytest.mark.parametrize("name", ["V", "x" * 64, "老客户群"])
def test_name_of_1_to_64_characters_is_accepted(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("name", ["", "  ", "x" * 65, "a\x00"])
def test_name_beyond_its_limits_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        check_name(name)

    assert list(caught.value.violations) == ["name"]


def test_group_has_room_for_500() -> None:
    check_room(group(499))


@pytest.mark.parametrize("member_count", [500, 501])
def test_group_of_500_is_full(member_count: int) -> None:
    with pytest.raises(FailedPreconditionError) as caught:
        check_room(group(member_count))

    assert caught.value.reason == "CUSTOMER_GROUP_FULL"
    assert caught.value.metadata == {"customerGroupId": "wr" + "0" * 24}


def test_own_group_ids_are_ids() -> None:
    check_customer_group_id(new_customer_group_id())


@pytest.mark.parametrize(
    "group_id",
    ["", "wr1", "wm" + "0" * 24, "wr" + "\x00" * 24, "w" * 9999],
    ids=["empty", "short", "customer", "NUL", "very long"],
)
def test_what_can_not_be_a_group_id_is_not_found(group_id: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        check_customer_group_id(group_id)

    assert caught.value.reason == "CUSTOMER_GROUP_NOT_FOUND"
    assert len(caught.value.metadata["customerGroupId"]) <= 26
