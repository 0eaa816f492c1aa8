"""Who may do what to which resource: the whole table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.api.common.v1 import access_pb2
from tieline.chassis.authorization import (
    CORP_RIGHTS,
    Resource,
    Right,
    authorize,
    require,
)
from tieline.chassis.errors import NotFoundError, PermissionDeniedError
from tieline.chassis.principals import Principal, PrincipalKind

CORP = "wwacme"
EAST = frozenset({1, 2})
SHANGHAI = frozenset({1, 2, 5})
WEST = frozenset({1, 3})

WHOLE_CORP = Resource(CORP)
IN_EAST = Resource(CORP, EAST)
IN_SHANGHAI = Resource(CORP, SHANGHAI)
IN_WEST = Resource(CORP, WEST)
ELSEWHERE = Resource("wwother")


def member(*roles: str, rights: set[Right] | None = None, of: set[int] | None = None) -> Principal:
    return Principal(
        PrincipalKind.MEMBER,
        "li.wei",
        CORP,
        "session",
        frozenset(roles),
        rights=frozenset(rights or ()),
        department_ids=frozenset(of or ()),
    )


OWNER = member("owner")
PLAIN = member()
AUDITOR = member("auditor")
DIRECTOR = member("administrator", rights={Right.MANAGE_DIRECTORY})
EAST_DIRECTOR = member("administrator", rights={Right.MANAGE_DIRECTORY}, of={2})
EAST_AUDITOR = member("administrator", "auditor", rights={Right.MANAGE_DIRECTORY}, of={2})
UNEMPLOYED = member(rights={Right.MANAGE_DIRECTORY})
USURPER = member("administrator", rights=set(Right))
PLATFORM = Principal(PrincipalKind.PLATFORM_ADMINISTRATOR, "platform", "", "session")
CUSTOMER = Principal(PrincipalKind.CUSTOMER, "wm1", "", "session", frozenset({"owner"}))
APP = Principal(
    PrincipalKind.APP, "1000002", CORP, "session", rights=frozenset({Right.MANAGE_DIRECTORY})
)
LINKED_APP = Principal(
    PrincipalKind.LINKED_APP,
    "1000002",
    CORP,
    "session",
    rights=frozenset(Right),
    home_corp_id="wwother",
    link_id="link",
)

MANAGE = Right.MANAGE_DIRECTORY
READ = Right.READ_DIRECTORY


@pytest.mark.parametrize(
    ("principal", "right", "resource", "reason"),
    [
        pytest.param(OWNER, MANAGE, WHOLE_CORP, "", id="owner"),
        pytest.param(OWNER, Right.MANAGE_ROLES, WHOLE_CORP, "", id="owner gives rights"),
        pytest.param(OWNER, MANAGE, IN_WEST, "", id="owner in a department"),
        pytest.param(OWNER, MANAGE, ELSEWHERE, "CORP_NOT_FOUND", id="owner elsewhere"),
        pytest.param(OWNER, Right.REVIEW_CORPS, WHOLE_CORP, "CALLER_NOT_ALLOWED", id="own review"),
        pytest.param(PLAIN, READ, IN_EAST, "", id="member reads"),
        pytest.param(PLAIN, READ, ELSEWHERE, "CORP_NOT_FOUND", id="member reads elsewhere"),
        pytest.param(PLAIN, MANAGE, IN_EAST, "CALLER_NOT_ALLOWED", id="member"),
        pytest.param(UNEMPLOYED, MANAGE, IN_EAST, "CALLER_NOT_ALLOWED", id="rights without role"),
        pytest.param(AUDITOR, Right.READ_AUDIT_LOG, WHOLE_CORP, "", id="auditor reads"),
        pytest.param(AUDITOR, MANAGE, WHOLE_CORP, "CALLER_NOT_ALLOWED", id="auditor changes"),
        pytest.param(DIRECTOR, MANAGE, WHOLE_CORP, "", id="administrator of the corp"),
        pytest.param(
            DIRECTOR, Right.MANAGE_APPS, WHOLE_CORP, "CALLER_NOT_ALLOWED", id="another right"
        ),
        pytest.param(EAST_DIRECTOR, MANAGE, IN_EAST, "", id="in the range"),
        pytest.param(EAST_DIRECTOR, MANAGE, IN_SHANGHAI, "", id="below the range"),
        pytest.param(EAST_DIRECTOR, MANAGE, IN_WEST, "OUT_OF_RANGE", id="beside the range"),
        pytest.param(EAST_DIRECTOR, MANAGE, WHOLE_CORP, "OUT_OF_RANGE", id="above the range"),
        pytest.param(EAST_DIRECTOR, READ, IN_WEST, "", id="reading is not narrowed"),
        pytest.param(
            EAST_AUDITOR, Right.READ_AUDIT_LOG, WHOLE_CORP, "", id="an auditor reads everywhere"
        ),
        pytest.param(EAST_AUDITOR, MANAGE, IN_WEST, "OUT_OF_RANGE", id="and changes in the range"),
        pytest.param(
            USURPER,
            Right.MANAGE_ROLES,
            WHOLE_CORP,
            "CALLER_NOT_ALLOWED",
            id="roles are the owner's",
        ),
        pytest.param(APP, MANAGE, IN_WEST, "", id="app"),
        pytest.param(APP, READ, IN_WEST, "CALLER_NOT_ALLOWED", id="an app has no rights by itself"),
        pytest.param(APP, MANAGE, ELSEWHERE, "CORP_NOT_FOUND", id="app elsewhere"),
        pytest.param(LINKED_APP, READ, IN_WEST, "", id="linked app reads"),
        pytest.param(LINKED_APP, MANAGE, IN_WEST, "CALLER_NOT_ALLOWED", id="and changes nothing"),
        pytest.param(
            LINKED_APP, Right.READ_AUDIT_LOG, WHOLE_CORP, "CALLER_NOT_ALLOWED", id="nor audits"
        ),
        pytest.param(
            LINKED_APP, Right.READ_CONTACT_DETAILS, WHOLE_CORP, "", id="reads contact details"
        ),
        pytest.param(LINKED_APP, READ, ELSEWHERE, "CORP_NOT_FOUND", id="not even at home"),
        pytest.param(PLATFORM, Right.REVIEW_CORPS, WHOLE_CORP, "", id="platform reviews"),
        pytest.param(PLATFORM, READ, WHOLE_CORP, "CALLER_NOT_ALLOWED", id="platform does not read"),
        pytest.param(CUSTOMER, READ, WHOLE_CORP, "CALLER_NOT_ALLOWED", id="customer"),
    ],
)
def test_table(principal: Principal, right: Right, resource: Resource, reason: str) -> None:
    decision = authorize(principal, right, resource)

    assert (decision.is_allowed, decision.reason) == (not reason, reason)


@given(
    roles=st.frozensets(st.sampled_from(["owner", "administrator", "auditor", "other"])),
    rights=st.frozensets(st.sampled_from(list(Right))),
    of=st.frozensets(st.integers(1, 4)),
    right=st.sampled_from(list(Right)),
    lies_in=st.none() | st.frozensets(st.integers(1, 4)),
)
def test_nobody_acts_in_another_corp(
    roles: frozenset[str],
    rights: frozenset[Right],
    of: frozenset[int],
    right: Right,
    lies_in: frozenset[int] | None,
) -> None:
    who = Principal(
        PrincipalKind.MEMBER, "li.wei", CORP, "s", roles, rights=rights, department_ids=of
    )

    assert not authorize(who, right, Resource("wwother", lies_in)).is_allowed


@given(
    rights=st.frozensets(st.sampled_from(list(Right))),
    right=st.sampled_from(sorted(CORP_RIGHTS)),
    of=st.frozensets(st.integers(1, 4), min_size=1),
    lies_in=st.none() | st.frozensets(st.integers(1, 4)),
)
def test_a_range_never_adds_anything(
    rights: frozenset[Right],
    right: Right,
    of: frozenset[int],
    lies_in: frozenset[int] | None,
) -> None:
    limited = member("administrator", rights=set(rights), of=set(of))
    everywhere = member("administrator", rights=set(rights))
    resource = Resource(CORP, lies_in)

    assert authorize(everywhere, right, resource).is_allowed >= (
        authorize(limited, right, resource).is_allowed
    )


def test_another_corps_resource_is_not_found() -> None:
    with pytest.raises(NotFoundError) as raised:
        require(OWNER, MANAGE, ELSEWHERE)

    assert raised.value.reason == "CORP_NOT_FOUND"


def test_a_lack_of_rights_names_the_right() -> None:
    with pytest.raises(PermissionDeniedError) as raised:
        require(EAST_DIRECTOR, MANAGE, IN_WEST)

    assert raised.value.reason == "OUT_OF_RANGE"
    assert raised.value.metadata == {"right": "MANAGE_DIRECTORY"}


def test_the_contract_has_the_same_rights() -> None:
    published = {name.removeprefix("RIGHT_") for name in access_pb2.Right.DESCRIPTOR.values_by_name}

    assert {right.name for right in Right} | {"UNSPECIFIED"} == published
