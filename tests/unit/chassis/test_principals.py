import pytest

from tieline.chassis.errors import InvalidArgumentError, NotFoundError
from tieline.chassis.principals import Principal, PrincipalKind


def principal(
    kind: PrincipalKind = PrincipalKind.MEMBER,
    corp_id: str = "ww1",
    roles: frozenset[str] = frozenset(),
) -> Principal:
    return Principal(kind=kind, id="li.wei", corp_id=corp_id, session_id="s", roles=roles)


CUSTOMER = principal(PrincipalKind.CUSTOMER, corp_id="")


@pytest.mark.parametrize("named", ["", "ww1"])
def test_a_member_means_the_own_corp(named: str) -> None:
    assert principal().require_corp(named) == "ww1"


def test_another_corp_is_not_found_for_a_member() -> None:
    with pytest.raises(NotFoundError) as raised:
        principal().require_corp("ww2")

    assert raised.value.reason == "CORP_NOT_FOUND"


def test_a_customer_names_the_corp() -> None:
    assert CUSTOMER.require_corp("ww2") == "ww2"


@pytest.mark.parametrize("named", ["\x00", "w" * 65, "ww 1", "周"])
@pytest.mark.parametrize("who", [principal(), CUSTOMER], ids=["member", "customer"])
def test_what_cannot_be_a_corps_id_is_not_found(who: Principal, named: str) -> None:
    with pytest.raises(NotFoundError) as raised:
        who.require_corp(named)

    assert raised.value.reason == "CORP_NOT_FOUND"
    assert raised.value.metadata == {}


def test_a_customer_who_names_no_corp_is_told_so() -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        CUSTOMER.require_corp("")

    assert list(raised.value.violations) == ["corp_id"]


@pytest.mark.parametrize(
    ("who", "is_administrator"),
    [
        pytest.param(principal(), False, id="member"),
        pytest.param(principal(roles=frozenset({"owner"})), True, id="owner"),
        pytest.param(principal(roles=frozenset({"administrator"})), True, id="administrator"),
        pytest.param(principal(roles=frozenset({"auditor"})), False, id="another role"),
        pytest.param(
            principal(PrincipalKind.CUSTOMER, "", frozenset({"owner"})), False, id="no member"
        ),
    ],
)
def test_owners_and_administrators_administer_the_corp(
    who: Principal, is_administrator: bool
) -> None:
    assert who.is_corp_administrator is is_administrator
