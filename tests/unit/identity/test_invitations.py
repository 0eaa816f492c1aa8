"""Codes and who may be invited."""

import datetime as dt
import uuid

import pytest

from tieline.chassis.authorization import Right
from tieline.chassis.errors import InvalidArgumentError, NotFoundError, PermissionDeniedError
from tieline.chassis.principals import Principal, PrincipalKind
from tieline.identity.roles.invitations import (
    Invitation,
    InvitationCodes,
    check_may_invite,
    check_nobody_missing,
    check_user_ids,
    describe_invited,
    hash_code,
    may_still_invite,
    opens,
)

NOW = dt.datetime(2026, 2, 24, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
REQUEST_ID = "018f3d2e-7c1a-7b6e-9f00-3a5b8c2d1e4f"
CODES = InvitationCodes(b"k" * 32)


def derive(**changes: str) -> str:
    parts = {"request_id": REQUEST_ID, "principal_id": "boss", "corp_id": "ww1", "user_id": "li"}
    return CODES.derive(**{**parts, **changes})


def invitation(
    *, code: str = "SECRET", expire_time: dt.datetime = NOW + SECOND, use_time: None = None
) -> Invitation:
    return Invitation(hash_code(code), expire_time, use_time)


def test_a_repeat_derives_the_same_code_however_the_request_id_is_written() -> None:
    assert derive() == derive(request_id=REQUEST_ID.upper())


@pytest.mark.parametrize(
    "changes",
    [
        {"request_id": str(uuid.UUID(int=1))},
        {"principal_id": "other"},
        {"corp_id": "ww2"},
        {"user_id": "lo"},
        {"principal_id": "boss\0ww1", "corp_id": ""},
    ],
)
def test_another_request_derives_another_code(changes: dict[str, str]) -> None:
    assert derive(**changes) != derive()


def test_another_key_derives_another_code() -> None:
    other = InvitationCodes(b"o" * 32)

    assert other.derive(REQUEST_ID, "boss", "ww1", "li") != derive()


def test_a_code_has_26_characters_of_base32() -> None:
    code = derive()

    assert len(code) == 26
    assert set(code) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")


def test_a_code_may_be_typed_in_groups_and_small_letters() -> None:
    assert hash_code("abcd-efgh 2345") == hash_code("ABCDEFGH2345")


def test_a_code_opens_its_invitation_until_the_moment_it_ends() -> None:
    assert opens(invitation(expire_time=NOW + SECOND), "SECRET", NOW)
    assert not opens(invitation(expire_time=NOW), "SECRET", NOW)


@pytest.mark.parametrize("code", ["", "SECRE", "SECRET2", "S" * 10_000])
def test_another_code_opens_nothing(code: str) -> None:
    assert not opens(invitation(), code, NOW)


@pytest.mark.parametrize(
    ("user_ids", "field"),
    [
        pytest.param([], "user_ids", id="nobody"),
        pytest.param([f"u{i}" for i in range(1001)], "user_ids", id="one too many"),
        pytest.param(["li", "wei lin"], "user_ids[1]", id="malformed"),
        pytest.param(["li", "LI"], "user_ids[1]", id="twice in another case"),
    ],
)
def test_a_wrong_list_of_members_is_refused(user_ids: list[str], field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        check_user_ids(user_ids)

    assert list(caught.value.violations) == [field]


def test_a_thousand_members_may_be_invited_at_once() -> None:
    check_user_ids([f"u{i}" for i in range(1000)])


@pytest.mark.parametrize(
    ("roles", "user_ids", "is_allowed"),
    [
        pytest.param({"owner"}, ["boss"], True, id="the owner themselves"),
        pytest.param({"administrator"}, ["li"], True, id="administrator invites a member"),
        pytest.param({"administrator"}, ["li", "boss"], False, id="administrator invites owner"),
        pytest.param({"administrator"}, ["auditor"], False, id="administrator invites auditor"),
        pytest.param({"owner"}, ["auditor"], True, id="owner invites auditor"),
    ],
)
def test_only_the_owner_invites_those_in_charge(
    roles: set[str], user_ids: list[str], is_allowed: bool
) -> None:
    inviter = Principal(PrincipalKind.MEMBER, "x", "ww1", "s", roles=frozenset(roles))

    if is_allowed:
        check_may_invite(inviter, user_ids, {"boss", "auditor"}, "/m")
    else:
        with pytest.raises(PermissionDeniedError):
            check_may_invite(inviter, user_ids, {"boss", "auditor"}, "/m")


def test_the_first_missing_member_is_named() -> None:
    check_nobody_missing([])

    with pytest.raises(NotFoundError) as caught:
        check_nobody_missing(["li", "lo"])
    assert (caught.value.reason, caught.value.metadata) == ("USER_NOT_FOUND", {"userId": "li"})


def test_one_invited_member_is_the_entrys_resource() -> None:
    assert describe_invited(["li.wei"]) == [("members/li.wei", {})]


def test_everybody_invited_is_named_in_entries_that_the_log_can_hold() -> None:
    user_ids = [f"member-{number:04}" for number in range(1000)]

    entries = describe_invited(user_ids)

    named = [
        user_id for _, details in entries for text in details.values() for user_id in text.split()
    ]
    assert named == user_ids
    assert all(len(details) <= 18 for _, details in entries)
    assert all(len(text) <= 256 for _, details in entries for text in details.values())
    assert len(entries) <= 4


@pytest.mark.parametrize(
    ("roles", "rights", "department_ids", "of_member", "of_who_is_in_charge"),
    [
        pytest.param({"owner"}, set(), set(), True, True, id="owner"),
        pytest.param({"administrator"}, {Right.MANAGE_SIGN_IN}, set(), True, False, id="right"),
        pytest.param({"administrator"}, {Right.MANAGE_APPS}, set(), False, False, id="other right"),
        pytest.param({"administrator"}, {Right.MANAGE_SIGN_IN}, {2}, False, False, id="range"),
        pytest.param({"auditor"}, set(), set(), False, False, id="auditor"),
        pytest.param(set(), {Right.MANAGE_SIGN_IN}, set(), False, False, id="role revoked"),
    ],
)
def test_an_invitation_is_good_while_its_maker_could_make_it(
    roles: set[str],
    rights: set[str],
    department_ids: set[int],
    of_member: bool,
    of_who_is_in_charge: bool,
) -> None:
    """By the maker's rights and by what the invited member is, both of the moment of the use."""
    inviter = Principal(
        PrincipalKind.MEMBER,
        "inviter",
        "ww1",
        "session",
        frozenset(roles),
        rights=frozenset(rights),
        department_ids=frozenset(department_ids),
    )

    assert may_still_invite(inviter, "ww1", is_in_charge=False) is of_member
    assert may_still_invite(inviter, "ww1", is_in_charge=True) is of_who_is_in_charge


def test_the_platforms_invitation_is_for_whoever_owns_the_corp() -> None:
    """Platform administrators invite owners alone, who are in charge."""
    inviter = Principal(PrincipalKind.PLATFORM_ADMINISTRATOR, "platform", "", "session")

    assert may_still_invite(inviter, "ww1", is_in_charge=True)
