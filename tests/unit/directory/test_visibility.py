"""Who sees whom: the viewer that is built of the rules against the rules one by one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.visibility_oracle import Oracle, World
from fakes.visibility_worlds import (
    DEPARTMENTS,
    TAGS,
    USERS,
    rules,
    scopes,
    viewer_of,
    worlds,
)
from tieline.directory.visibility.decision import EVERYBODY, People, Rule, RuleKind, Scope, Viewer


@settings(max_examples=300, deadline=None)
@given(worlds(), st.lists(rules(), max_size=4), scopes(everybody=False), st.booleans())
def test_viewer_sees_whom_the_rules_one_by_one_let_be_seen(
    world: World, rules_: list[Rule], range_: Scope, is_administrator: bool
) -> None:
    full = Scope(department_ids=range_.department_ids) if is_administrator else Scope()
    oracle = Oracle(world, rules_, full)

    for viewer_id in USERS:
        viewer = viewer_of(world, rules_, viewer_id, full)

        for user_id, departments in world.departments.items():
            sees = viewer.can_see(user_id, departments)
            assert sees == oracle.sees(viewer_id, user_id)
            hidden = viewer.list_hidden_fields(user_id, departments)
            assert hidden == oracle.hidden_fields(viewer_id, user_id)
            if sees and not viewer.is_unlimited:
                assert viewer.list_candidates().holds(user_id, departments)
        for department_id in DEPARTMENTS:
            shown = viewer.can_see_department(department_id)
            assert shown == oracle.shows_department(viewer_id, department_id)


@pytest.mark.parametrize(
    ("rule", "user_id", "is_seen"),
    [
        pytest.param(
            Rule(RuleKind.HIDDEN, targets=Scope(department_ids=frozenset({2}))),
            "out",
            False,
            id="outside",
        ),
        pytest.param(
            Rule(RuleKind.HIDDEN, targets=Scope(department_ids=frozenset({2}))),
            "in",
            True,
            id="inside",
        ),
        pytest.param(
            Rule(
                RuleKind.HIDDEN,
                exceptions=Scope(user_ids=frozenset({"out"})),
                targets=Scope(department_ids=frozenset({2})),
            ),
            "out",
            True,
            id="excepted",
        ),
        pytest.param(
            Rule(RuleKind.HIDDEN, targets=Scope(user_ids=frozenset({"boss"}))),
            "in",
            False,
            id="hidden member",
        ),
        pytest.param(
            Rule(RuleKind.SEES_ONLY, EVERYBODY, own_departments=True), "in", True, id="own"
        ),
        pytest.param(
            Rule(RuleKind.SEES_ONLY, EVERYBODY, own_departments=True), "out", False, id="not own"
        ),
        pytest.param(Rule(RuleKind.SEES_ONLY, EVERYBODY), "boss", True, id="oneself"),
    ],
)
def test_each_kind_of_rule_does_what_it_says(rule: Rule, user_id: str, is_seen: bool) -> None:
    world = World(
        {2: 1, 3: 1},
        {"boss": frozenset({2}), "in": frozenset({2}), "out": frozenset({3})},
        dict.fromkeys(TAGS, frozenset()),
        dict.fromkeys(TAGS, frozenset()),
    )

    viewer = viewer_of(world, [rule], user_id, Scope())

    assert viewer.can_see("boss", {2}) is is_seen


def test_leavers_are_not_seen_where_somebody_is_hidden() -> None:
    hidden = Viewer("ww", is_unlimited=False, user_id="u", allowed=People(everybody=True))

    assert not hidden.can_see("left", ())
    assert Viewer("ww", is_unlimited=True).can_see("left", ())
