"""Apps change what lies in their visible range, administrators what lies in their departments."""

import pytest

from tieline.chassis.authorization import Right
from tieline.chassis.principals import ADMINISTRATOR_ROLE, OWNER_ROLE, Principal, PrincipalKind
from tieline.directory.visibility.decision import NOBODY, Scope
from tieline.directory.writers import build_writer

WRITES = frozenset({Right.MANAGE_DIRECTORY.value})


def app() -> Principal:
    return Principal(PrincipalKind.APP, "1000002", "ww1", "", rights=WRITES)


def administrator(*department_ids: int) -> Principal:
    return Principal(
        PrincipalKind.MEMBER,
        "li",
        "ww1",
        "s",
        frozenset({ADMINISTRATOR_ROLE}),
        rights=WRITES,
        department_ids=frozenset(department_ids),
    )


def owner() -> Principal:
    return Principal(PrincipalKind.MEMBER, "boss", "ww1", "s", frozenset({OWNER_ROLE}))


@pytest.mark.parametrize(
    ("principal", "visible_range", "user_id", "ancestor_ids", "expected"),
    [
        pytest.param(owner(), NOBODY, "wang", [1, 9], True, id="an owner everybody"),
        pytest.param(administrator(), NOBODY, "wang", [1, 9], True, id="administrator of all"),
        pytest.param(administrator(2), NOBODY, "wang", [1, 2, 5], True, id="below a department"),
        pytest.param(administrator(2), NOBODY, "wang", [1, 3], False, id="beside it"),
        pytest.param(app(), Scope(department_ids=frozenset({1})), "wang", [1, 9], True, id="whole"),
        pytest.param(app(), Scope(department_ids=frozenset({2})), "wang", [1, 2], True, id="app"),
        pytest.param(app(), Scope(department_ids=frozenset({2})), "wang", [1, 3], False, id="out"),
        pytest.param(app(), Scope(user_ids=frozenset({"wang"})), "wang", [1], True, id="by name"),
        pytest.param(app(), Scope(user_ids=frozenset({"wang"})), "li", [1], False, id="another"),
        pytest.param(app(), NOBODY, "wang", [1], False, id="an app that sees nobody"),
        pytest.param(app(), NOBODY, "wang", [], False, id="nor who is nowhere"),
    ],
)
def test_who_manages_whom(
    principal: Principal,
    visible_range: Scope,
    user_id: str,
    ancestor_ids: list[int],
    expected: bool,
) -> None:
    writer = build_writer(principal, visible_range)

    assert writer.manages(user_id, ancestor_ids) is expected


@pytest.mark.parametrize(
    ("principal", "visible_range", "expected"),
    [
        pytest.param(app(), NOBODY, True, id="sees nobody"),
        pytest.param(app(), Scope(user_ids=frozenset({"li"})), True, id="sees one"),
        pytest.param(app(), Scope(department_ids=frozenset({1})), False, id="sees the corp"),
        pytest.param(administrator(2), NOBODY, True, id="of a department"),
        pytest.param(owner(), NOBODY, False, id="owner"),
    ],
)
def test_who_is_limited(principal: Principal, visible_range: Scope, expected: bool) -> None:
    assert build_writer(principal, visible_range).is_limited is expected
