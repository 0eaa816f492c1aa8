"""Whose sessions somebody may see and end."""

import pytest

from tieline.chassis.errors import ServiceError
from tieline.chassis.principals import Principal, PrincipalKind
from tieline.identity.sessions.owners import SessionOwner, find_session_owner, may_end_session

MEMBER = PrincipalKind.MEMBER
OWNER = Principal(MEMBER, "boss", "ww1", "s", frozenset({"owner"}))
ADMINISTRATOR = Principal(
    MEMBER, "admin", "ww1", "s", frozenset({"administrator"}), rights=frozenset({"manage_sign_in"})
)
LIMITED = Principal(
    MEMBER,
    "limited",
    "ww1",
    "s",
    frozenset({"administrator"}),
    rights=frozenset({"manage_sign_in"}),
    department_ids=frozenset({7}),
)
PLAIN = Principal(MEMBER, "li.wei", "ww1", "s")
CUSTOMER = Principal(PrincipalKind.CUSTOMER, "wm1", "", "s")
PLATFORM = Principal(PrincipalKind.PLATFORM_ADMINISTRATOR, "platform", "", "s")


def find(caller: Principal, corp_id: str, user_id: str) -> tuple[str, PrincipalKind, str] | str:
    """Return the owner, or the reason why not."""
    try:
        owner = find_session_owner(caller, corp_id, user_id)
    except ServiceError as error:
        return error.reason
    return owner.corp_id, owner.kind, owner.principal_id


@pytest.mark.parametrize(
    ("caller", "corp_id", "user_id", "found"),
    [
        pytest.param(PLAIN, "", "", ("ww1", MEMBER, "li.wei"), id="own"),
        pytest.param(PLAIN, "ww1", "Li.Wei", ("ww1", MEMBER, "li.wei"), id="own by name"),
        pytest.param(PLAIN, "ww2", "", "CORP_NOT_FOUND", id="another corp"),
        pytest.param(PLAIN, "", "boss", "CALLER_NOT_ALLOWED", id="without the right"),
        pytest.param(OWNER, "", "LI.Wei", ("ww1", MEMBER, "li.wei"), id="the owner"),
        pytest.param(ADMINISTRATOR, "", "li.wei", ("ww1", MEMBER, "li.wei"), id="with the right"),
        pytest.param(LIMITED, "", "li.wei", "OUT_OF_RANGE", id="for some departments only"),
        pytest.param(OWNER, "", "no id", "INVALID_FIELD", id="no user id"),
        pytest.param(CUSTOMER, "", "", ("", PrincipalKind.CUSTOMER, "wm1"), id="customer"),
        pytest.param(CUSTOMER, "ww1", "", "CORP_NOT_FOUND", id="customer names a corp"),
        pytest.param(CUSTOMER, "", "wm2", "INVALID_FIELD", id="another customer"),
        pytest.param(PLATFORM, "", "li.wei", "INVALID_FIELD", id="platform names a member"),
        pytest.param(PLATFORM, "ww1", "li.wei", "CORP_NOT_FOUND", id="platform names a corp"),
    ],
)
def test_sessions_are_found_by_who_may_see_them(
    caller: Principal, corp_id: str, user_id: str, found: tuple[str, PrincipalKind, str] | str
) -> None:
    assert find(caller, corp_id, user_id) == found


def test_only_an_own_session_can_be_kept() -> None:
    with pytest.raises(ServiceError) as caught:
        find_session_owner(OWNER, "", "li.wei", keep_current=True)

    assert list(caught.value.violations) == ["keep_current"]


@pytest.mark.parametrize(
    ("caller", "owner", "is_allowed"),
    [
        pytest.param(PLAIN, SessionOwner("ww1", MEMBER, "li.wei"), True, id="own"),
        pytest.param(PLAIN, SessionOwner("ww1", MEMBER, "boss"), False, id="without the right"),
        pytest.param(ADMINISTRATOR, SessionOwner("ww1", MEMBER, "li.wei"), True, id="the right"),
        pytest.param(LIMITED, SessionOwner("ww1", MEMBER, "li.wei"), False, id="limited"),
        pytest.param(OWNER, SessionOwner("ww2", MEMBER, "li.wei"), False, id="another corp"),
        pytest.param(
            CUSTOMER, SessionOwner("", PrincipalKind.CUSTOMER, "wm2"), False, id="other customer"
        ),
        pytest.param(
            PLATFORM, SessionOwner("", PrincipalKind.CUSTOMER, "wm1"), False, id="of no corp"
        ),
        pytest.param(
            CUSTOMER,
            SessionOwner("", PrincipalKind.PLATFORM_ADMINISTRATOR, "wm1"),
            False,
            id="namesake of another kind",
        ),
    ],
)
def test_a_session_is_ended_by_who_may(
    caller: Principal, owner: SessionOwner, is_allowed: bool
) -> None:
    assert may_end_session(caller, owner) is is_allowed
