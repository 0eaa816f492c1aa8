"""The rules of roles."""

import datetime as dt
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.chassis.authorization import (
    GRANTABLE_RIGHTS,
    READING_RIGHTS,
    Resource,
    Right,
    authorize,
)
from tieline.chassis.errors import FailedPreconditionError, InvalidArgumentError
from tieline.chassis.principals import Principal, PrincipalKind
from tieline.identity.roles.rules import (
    MAX_GRANTS_PER_CORP,
    RANGED_RIGHTS,
    Grant,
    Role,
    check_grant,
    check_grant_count,
    check_not_owner,
    parse_rights,
    with_grants,
)

MEMBER = Principal(PrincipalKind.MEMBER, "li.wei", "ww1", "s")
DIRECTORY = frozenset({Right.MANAGE_DIRECTORY})


def administrator(*rights: Right, department_ids: tuple[int, ...] = ()) -> Grant:
    return Grant("li.wei", Role.ADMINISTRATOR, frozenset(rights), department_ids)


AUDITOR = Grant("li.wei", Role.AUDITOR, frozenset(), ())


@pytest.mark.parametrize(
    ("role", "rights", "department_ids", "field"),
    [
        pytest.param(None, [], [], "role", id="no role"),
        pytest.param(Role.AUDITOR, [Right.READ_AUDIT_LOG], [], "rights", id="auditor with rights"),
        pytest.param(Role.AUDITOR, [], [1], "department_ids", id="auditor with a range"),
        pytest.param(Role.ADMINISTRATOR, [], [], "rights", id="no rights"),
        pytest.param(Role.ADMINISTRATOR, [None], [], "rights[0]", id="an unknown right"),
        pytest.param(
            Role.ADMINISTRATOR, [Right.MANAGE_ROLES], [], "rights[0]", id="the owner's right"
        ),
        pytest.param(
            Role.ADMINISTRATOR, [Right.REVIEW_CORPS], [], "rights[0]", id="the platform's right"
        ),
        pytest.param(
            Role.ADMINISTRATOR,
            [Right.MANAGE_APPS, Right.MANAGE_APPS],
            [],
            "rights[1]",
            id="one right twice",
        ),
        pytest.param(
            Role.ADMINISTRATOR,
            [Right.MANAGE_DIRECTORY, Right.MANAGE_APPS],
            [1],
            "rights[1]",
            id="a range for what lies in no department",
        ),
        pytest.param(
            Role.ADMINISTRATOR, [Right.MANAGE_SCHOOL], [1], "rights[0]", id="a range of schools"
        ),
        pytest.param(
            Role.ADMINISTRATOR, [Right.MANAGE_VISIBILITY], [1], "rights[0]", id="a range of rules"
        ),
        pytest.param(
            Role.ADMINISTRATOR, [*DIRECTORY], [1, 1], "department_ids[1]", id="a department twice"
        ),
        pytest.param(
            Role.ADMINISTRATOR, [*DIRECTORY], [-1], "department_ids[0]", id="no department"
        ),
        pytest.param(
            Role.ADMINISTRATOR,
            [*DIRECTORY],
            list(range(1, 102)),
            "department_ids",
            id="101 departments",
        ),
    ],
)
def test_what_can_not_be_granted_is_named(
    role: Role | None, rights: list[Right | None], department_ids: list[int], field: str
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        check_grant("li.wei", role, rights, department_ids)

    assert list(caught.value.violations) == [f"grant.{field}"]


@pytest.mark.parametrize(
    ("rights", "department_ids"),
    [
        pytest.param(sorted(GRANTABLE_RIGHTS), [], id="every right for the whole corp"),
        pytest.param(sorted(RANGED_RIGHTS), list(range(1, 101)), id="a hundred departments"),
    ],
)
def test_administrators_can_be_given_this(rights: list[Right], department_ids: list[int]) -> None:
    check_grant("li.wei", Role.ADMINISTRATOR, rights, department_ids)


@given(
    rights=st.frozensets(st.sampled_from(sorted(GRANTABLE_RIGHTS)), min_size=1),
    department_ids=st.frozensets(st.integers(1, 9), max_size=3),
    is_auditor=st.booleans(),
    asked=st.sampled_from(sorted(Right)),
    lies_in=st.frozensets(st.integers(1, 9), max_size=3),
)
def test_a_grant_that_passes_gives_what_it_says_and_no_more(
    rights: frozenset[Right],
    department_ids: frozenset[int],
    is_auditor: bool,
    asked: Right,
    lies_in: frozenset[int],
) -> None:
    grants = [administrator(*rights, department_ids=tuple(sorted(department_ids)))]
    try:
        check_grant("li.wei", Role.ADMINISTRATOR, sorted(rights), sorted(department_ids))
    except InvalidArgumentError:
        return
    principal = with_grants(MEMBER, [*grants, AUDITOR] if is_auditor else grants)

    decision = authorize(principal, asked, Resource("ww1", lies_in))

    reads_all = asked is Right.READ_DIRECTORY or (is_auditor and asked in READING_RIGHTS)
    granted = asked in rights and (not department_ids or bool(department_ids & lies_in))
    assert decision.is_allowed is (reads_all or granted)


def test_a_member_without_grants_stays_one() -> None:
    assert with_grants(MEMBER, []) == MEMBER


def test_an_owner_keeps_the_role_beside_grants() -> None:
    owner = replace(MEMBER, roles=frozenset({"owner"}))

    assert with_grants(owner, [AUDITOR]).roles == {"owner", "auditor"}


def test_nothing_is_granted_to_the_owner() -> None:
    check_not_owner("li.wei", "boss")

    with pytest.raises(InvalidArgumentError):
        check_not_owner("boss", "boss")


def test_the_last_grant_that_fits_is_allowed_and_the_next_is_not() -> None:
    check_grant_count(MAX_GRANTS_PER_CORP - 1)

    with pytest.raises(FailedPreconditionError):
        check_grant_count(MAX_GRANTS_PER_CORP)


def test_a_right_of_a_newer_version_means_nothing_here() -> None:
    assert parse_rights(["manage_apps", "manage_the_moon"]) == {Right.MANAGE_APPS}


def test_a_grant_made_anew_has_another_etag() -> None:
    first = replace(AUDITOR, grant_time=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    second = replace(
        AUDITOR, grant_time=first.grant_time and first.grant_time.replace(microsecond=1)
    )

    assert first.etag == "1767225600000000"
    assert second.etag == "1767225600000001"
