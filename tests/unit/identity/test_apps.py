"""The rules of apps and their secrets."""

import datetime as dt
import uuid
from typing import Any

import pytest

from tieline.chassis.authorization import GRANTABLE_RIGHTS, Right
from tieline.chassis.errors import InvalidArgumentError, ServiceError
from tieline.chassis.principals import Principal, PrincipalKind
from tieline.identity.apps.rules import (
    AppFields,
    AppRange,
    check_app,
    check_count,
    check_may_grant,
    check_overlap,
    update_fields,
    voids_tokens,
)
from tieline.identity.apps.secrets import AppSecret, AppSecrets, hash_secret, plan_rotation

NOW = dt.datetime(2026, 2, 24, tzinfo=dt.UTC)
REQUEST_ID = "018f3d2e-7c1a-7b6e-9f00-3a5b8c2d1e4f"


def fields(**changes: Any) -> AppFields:
    return AppFields(**{"name": "Attendance", **changes})


def seeing(**changes: Any) -> AppFields:
    seen = {"user_ids": ["li.wei"], "department_ids": [1, 2], **changes}
    return fields(visible_range=AppRange(**seen))


def violations(given: AppFields) -> set[str]:
    with pytest.raises(InvalidArgumentError) as caught:
        check_app(given)
    return set(caught.value.violations)


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        pytest.param({"name": ""}, {"app.name"}, id="no name"),
        pytest.param({"name": "n" * 33}, {"app.name"}, id="name too long"),
        pytest.param({"name": "a\nb"}, {"app.name"}, id="line break"),
        pytest.param({"description": "d" * 121}, {"app.description"}, id="description too long"),
        pytest.param({"rights": {None}}, {"app.rights"}, id="unknown right"),
        pytest.param({"rights": {Right.MANAGE_ROLES}}, {"app.rights"}, id="the owner's right"),
        pytest.param({"rights": {Right.REVIEW_CORPS}}, {"app.rights"}, id="the platform's right"),
        pytest.param(
            {"visible_range": AppRange(user_ids=["ok", "no id"])},
            {"app.visible_range.user_ids[1]"},
            id="user id",
        ),
        pytest.param(
            {"visible_range": AppRange(user_ids=["u"] * 1001)},
            {"app.visible_range.user_ids"},
            id="too many users",
        ),
        pytest.param(
            {"visible_range": AppRange(department_ids=[0])},
            {"app.visible_range.department_ids"},
            id="no department",
        ),
        pytest.param(
            {"visible_range": AppRange(tag_ids=list(range(1, 102)))},
            {"app.visible_range.tag_ids"},
            id="too many tags",
        ),
        pytest.param(
            {"name": "", "visible_range": AppRange(tag_ids=[-1])},
            {"app.name", "app.visible_range.tag_ids"},
            id="several at once",
        ),
    ],
)
def test_wrong_fields_are_named(changes: dict[str, Any], wrong: set[str]) -> None:
    assert violations(fields(**changes)) == wrong


def test_the_largest_app_is_accepted_and_its_range_stored_once_each() -> None:
    given = fields(
        name="n" * 32,
        description="d" * 120,
        rights=GRANTABLE_RIGHTS,
        visible_range=AppRange(["Li.Wei", "li.wei", "a"], [3, 1, 3], [2**63 - 1]),
    )

    checked = check_app(given)

    assert checked.visible_range == AppRange(["a", "li.wei"], [1, 3], [2**63 - 1])


def test_only_fields_in_the_mask_change() -> None:
    current = fields(description="old", rights=frozenset({Right.READ_DIRECTORY}))

    changed = update_fields(current, fields(name="New", description="new"), {"name"})

    assert changed == fields(
        name="New", description="old", rights=frozenset({Right.READ_DIRECTORY})
    )


@pytest.mark.parametrize("paths", [set(), {"secrets"}, {"name", "agent_id"}, {"*"}])
def test_mask_names_what_can_be_changed(paths: set[str]) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        update_fields(fields(), fields(), paths)

    assert set(caught.value.violations) == {"update_mask"}


@pytest.mark.parametrize(
    ("before", "after", "voids"),
    [
        pytest.param(fields(), fields(name="New"), False, id="another name"),
        pytest.param(fields(), fields(disabled=True), True, id="disabled"),
        pytest.param(fields(disabled=True), fields(), False, id="enabled again"),
        pytest.param(fields(), fields(rights=GRANTABLE_RIGHTS), True, id="more rights"),
        pytest.param(fields(rights=GRANTABLE_RIGHTS), fields(), True, id="fewer rights"),
        pytest.param(seeing(), seeing(tag_ids=[9]), False, id="a wider range"),
        pytest.param(seeing(), seeing(user_ids=["wang.fang"]), True, id="a member less"),
        pytest.param(seeing(), seeing(department_ids=[2, 3]), True, id="a department less"),
        pytest.param(seeing(tag_ids=[9]), seeing(), True, id="a tag less"),
    ],
)
def test_tokens_end_with_a_change_that_they_must_not_outlive(
    before: AppFields, after: AppFields, voids: bool
) -> None:
    assert voids_tokens(before, after) is voids


def test_nobody_grants_what_they_do_not_have() -> None:
    administrator = Principal(
        PrincipalKind.MEMBER,
        "admin",
        "ww1",
        "s",
        frozenset({"administrator"}),
        rights=frozenset({"manage_apps", "manage_visibility"}),
    )

    check_may_grant(administrator, "ww1", [Right.MANAGE_VISIBILITY])
    with pytest.raises(ServiceError) as caught:
        check_may_grant(administrator, "ww1", [Right.MANAGE_VISIBILITY, Right.MANAGE_DIRECTORY])

    assert caught.value.metadata == {"right": "MANAGE_DIRECTORY"}


def test_a_corp_has_three_hundred_apps_at_most() -> None:
    check_count(299)
    with pytest.raises(ServiceError) as caught:
        check_count(300)

    assert caught.value.reason == "APPS_EXHAUSTED"


@pytest.mark.parametrize(
    ("seconds", "overlap"),
    [
        (None, dt.timedelta(days=1)),
        (0, dt.timedelta()),
        (30 * 86400, dt.timedelta(days=30)),
        (30 * 86400 + 1, None),
        (-1, None),
        (float(2**63), None),
    ],
)
def test_a_replaced_secret_stays_good_for_thirty_days_at_most(
    seconds: float | None, overlap: dt.timedelta | None
) -> None:
    if overlap is not None:
        assert check_overlap(seconds) == overlap
        return
    with pytest.raises(InvalidArgumentError):
        check_overlap(seconds)


def secret(number: int) -> AppSecret:
    return AppSecret(uuid.UUID(int=number), NOW, None)


@pytest.mark.parametrize(
    ("good", "overlap_s", "expiring", "ending"),
    [
        pytest.param([], 60, None, [], id="the first"),
        pytest.param([1], 60, 1, [], id="the second"),
        pytest.param([1, 2], 60, 2, [1], id="the third"),
        pytest.param([1, 2], 0, None, [1, 2], id="without overlap"),
    ],
)
def test_two_secrets_are_good_at_most(
    good: list[int], overlap_s: int, expiring: int | None, ending: list[int]
) -> None:
    changes = plan_rotation([secret(each) for each in good], dt.timedelta(seconds=overlap_s))

    assert changes.expiring == (None if expiring is None else secret(expiring))
    assert changes.ending == [secret(each) for each in ending]


def test_a_secret_is_the_same_for_the_same_request_and_for_no_other() -> None:
    secrets = AppSecrets(b"k" * 32)
    base = (REQUEST_ID, "boss", "ww1", 1000002)
    others = [
        (str(uuid.uuid4()), *base[1:]),
        (REQUEST_ID, "admin", *base[2:]),
        (REQUEST_ID, "boss", "ww2", 1000002),
        (*base[:3], 1000003),
    ]

    derived = {secrets.derive(*each) for each in [base, *others]}

    assert secrets.derive(REQUEST_ID.upper(), *base[1:]) == secrets.derive(*base)
    assert len(derived) == 5
    assert AppSecrets(b"o" * 32).derive(*base) not in derived
    assert all(hash_secret(each) is not None for each in derived)


@pytest.mark.parametrize("given", ["", "x" * 42, "x" * 44, "x" * 42 + "\n", "x" * 42 + "字"])
def test_what_is_no_secret_is_never_looked_up(given: str) -> None:
    assert hash_secret(given) is None
