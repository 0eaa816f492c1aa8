"""Random rules of visibility for the corp of `directory_secrets`."""

from hypothesis import strategies as st

from fakes.directory_secrets import PARENTS, TAG, USERS
from tieline.api.directory.v1 import visibility_pb2
from tieline.directory.visibility.decision import Scope


def scopes(*, everybody: bool = False) -> st.SearchStrategy[Scope]:
    return st.builds(
        Scope,
        everybody=st.sampled_from([False, everybody]),
        user_ids=st.frozensets(st.sampled_from(USERS), max_size=2),
        department_ids=st.frozensets(st.sampled_from(sorted(PARENTS)), max_size=2),
        tag_ids=st.frozensets(st.just(TAG), max_size=1),
    )


SCOPES, _ANY_SCOPES = scopes(), scopes(everybody=True)


@st.composite
def rules(draw: st.DrawFn) -> visibility_pb2.VisibilityRule:
    """Draw a rule that can be."""
    kinds = visibility_pb2.VisibilityRuleKind
    kind = draw(st.sampled_from([number for number in kinds.values() if number]))
    is_hidden = kind == visibility_pb2.VISIBILITY_RULE_KIND_HIDDEN
    rule = visibility_pb2.VisibilityRule(display_name="Rule", kind=kind)
    if not is_hidden:
        _fill(rule.subjects, draw(_ANY_SCOPES), Scope(everybody=True))
    _fill(rule.exceptions, draw(SCOPES) if draw(st.booleans()) else Scope(), Scope())
    _fill(rule.targets, draw(SCOPES if is_hidden else _ANY_SCOPES), Scope(tag_ids=frozenset({1})))
    if kind == visibility_pb2.VISIBILITY_RULE_KIND_SEES_ONLY:
        rule.own_departments = draw(st.booleans())
    if kind == visibility_pb2.VISIBILITY_RULE_KIND_HIDES_FIELDS:
        numbers = [number for number in visibility_pb2.HideableField.values() if number]
        rule.fields.extend(draw(st.lists(st.sampled_from(numbers), min_size=1, unique=True)))
    return rule


def _fill(target: visibility_pb2.VisibilityScope, drawn: Scope, otherwise: Scope) -> None:
    scope = otherwise if drawn == Scope() else drawn
    target.everybody = scope.everybody
    target.user_ids.extend(sorted(scope.user_ids))
    target.department_ids.extend(sorted(scope.department_ids))
    target.tag_ids.extend(sorted(scope.tag_ids))
