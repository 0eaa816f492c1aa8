"""Random corps, rules and viewers for tests of who sees whom."""

from functools import cache

from hypothesis import strategies as st

from fakes.visibility_oracle import World
from tieline.directory.visibility.decision import (
    Rule,
    RuleKind,
    Scope,
    Tree,
    Viewer,
    build_viewer,
    plan_reach,
)

DEPARTMENTS = range(1, 9)
USERS = [f"u{number}" for number in range(6)]
TAGS = (1, 2)

# Made once: a strategy that is made anew for each draw takes longer than the draw.
_PLACES = st.frozensets(st.sampled_from(DEPARTMENTS), min_size=1, max_size=3)
_FEW_USERS = st.frozensets(st.sampled_from(USERS), max_size=2)
_FEW_DEPARTMENTS = st.frozensets(st.sampled_from(DEPARTMENTS), max_size=2)
_PARENTS = {child: st.integers(1, child - 1) for child in DEPARTMENTS if child > 1}
_KINDS = st.sampled_from(list(RuleKind))
_FIELDS = st.frozensets(st.sampled_from(["mobile", "email"]), min_size=1)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    return World(
        {child: draw(parent) for child, parent in _PARENTS.items()},
        {user_id: draw(_PLACES) for user_id in USERS},
        {tag: draw(_FEW_USERS) for tag in TAGS},
        {tag: draw(_FEW_DEPARTMENTS) for tag in TAGS},
    )


@cache
def scopes(*, everybody: bool = True) -> st.SearchStrategy[Scope]:
    return st.builds(
        Scope,
        everybody=st.sampled_from([False, False, False, everybody]),
        user_ids=_FEW_USERS,
        department_ids=_FEW_DEPARTMENTS,
        tag_ids=st.frozensets(st.sampled_from(TAGS), max_size=1),
    )


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    kind = draw(_KINDS)
    return Rule(
        kind,
        subjects=draw(scopes()),
        exceptions=draw(scopes(everybody=False)),
        targets=draw(scopes(everybody=kind is not RuleKind.HIDDEN)),
        own_departments=kind is RuleKind.SEES_ONLY and draw(st.booleans()),
        fields=draw(_FIELDS) if kind is RuleKind.HIDES_FIELDS else frozenset(),
    )


def viewer_of(world: World, rules_: list[Rule], user_id: str, full: Scope) -> Viewer:
    reach = plan_reach(world.person(user_id), rules_, full=full)
    if reach.is_unlimited:
        return Viewer("ww", is_unlimited=True)
    tagged = {
        tag: Scope(user_ids=world.tagged_users[tag], department_ids=world.tagged_departments[tag])
        for tag in TAGS
    }
    ancestors = {department: world.ancestors(department) for department in DEPARTMENTS}
    return build_viewer("ww", reach, Tree(ancestors, tagged))
