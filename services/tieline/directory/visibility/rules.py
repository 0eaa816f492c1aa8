"""The rules of visibility rules: what they may hold, and their forms. Pure."""

from collections.abc import Iterator

from google.protobuf.field_mask_pb2 import FieldMask

from tieline.api.directory.v1 import visibility_pb2
from tieline.chassis.fields import check_text, check_user_id
from tieline.directory.members.rules import member_key
from tieline.directory.visibility.decision import Rule, RuleKind, Scope

MAX_RULES = 200
"""Of a corp. All of them are read together."""

MAX_NAMED = 1000
"""Members, departments and tags that one rule may name."""

MAX_DISPLAY_NAME_CHARACTERS = 64

SCOPES = ("subjects", "exceptions", "targets")
MUTABLE_FIELDS = ("display_name", *SCOPES, "own_departments", "fields")

_KINDS = {
    visibility_pb2.VISIBILITY_RULE_KIND_SEES_ONLY: RuleKind.SEES_ONLY,
    visibility_pb2.VISIBILITY_RULE_KIND_DOES_NOT_SEE: RuleKind.DOES_NOT_SEE,
    visibility_pb2.VISIBILITY_RULE_KIND_HIDDEN: RuleKind.HIDDEN,
    visibility_pb2.VISIBILITY_RULE_KIND_HIDES_FIELDS: RuleKind.HIDES_FIELDS,
}

FIELD_NAMES = {
    number: name.removeprefix("HIDEABLE_FIELD_").lower()
    for name, number in visibility_pb2.HideableField.items()
    if number
}
"""Names of a member's fields."""


def kind_of(rule: visibility_pb2.VisibilityRule) -> RuleKind:
    """Return what a rule that was checked does."""
    return _KINDS[rule.kind]


def read_rule(contents: bytes) -> Rule:
    """Return a stored rule as it is evaluated."""
    rule = visibility_pb2.VisibilityRule.FromString(contents)
    return Rule(
        kind=kind_of(rule),
        subjects=_read_scope(rule.subjects),
        exceptions=_read_scope(rule.exceptions),
        targets=_read_scope(rule.targets),
        own_departments=rule.own_departments,
        fields=frozenset(FIELD_NAMES[number] for number in rule.fields),
    )


def _read_scope(scope: visibility_pb2.VisibilityScope) -> Scope:
    return Scope(
        scope.everybody,
        frozenset(scope.user_ids),
        frozenset(scope.department_ids),
        frozenset(scope.tag_ids),
    )


def normalise(rule: visibility_pb2.VisibilityRule) -> None:
    """Bring the ids that the rule names into the form and order in which they are stored."""
    for name in SCOPES:
        scope: visibility_pb2.VisibilityScope = getattr(rule, name)
        user_ids = sorted({member_key(user_id) for user_id in scope.user_ids})
        department_ids = sorted(set(scope.department_ids))
        tag_ids = sorted(set(scope.tag_ids))
        del scope.user_ids[:], scope.department_ids[:], scope.tag_ids[:]
        scope.user_ids.extend(user_ids)
        scope.department_ids.extend(department_ids)
        scope.tag_ids.extend(tag_ids)
    fields = sorted(set(rule.fields))
    del rule.fields[:]
    rule.fields.extend(fields)


def list_violations(rule: visibility_pb2.VisibilityRule) -> dict[str, str]:
    """Return everything that is wrong with a rule by itself, by the path in its request."""
    violations: dict[str, str] = {}
    check_text(
        rule.display_name,
        "rule.display_name",
        violations,
        minimum=1,
        maximum=MAX_DISPLAY_NAME_CHARACTERS,
    )
    if rule.kind not in _KINDS:
        violations["rule.kind"] = "must be one of SEES_ONLY, DOES_NOT_SEE, HIDDEN, HIDES_FIELDS"
        return violations
    violations.update(_check_by_kind(rule, kind_of(rule)))
    for name in SCOPES:
        for index, user_id in enumerate(getattr(rule, name).user_ids):
            check_user_id(user_id, f"rule.{name}.user_ids[{index}]", violations)
    if sum(_count(getattr(rule, name)) for name in SCOPES) > MAX_NAMED:
        violations["rule"] = (
            f"must name at most {MAX_NAMED} members, departments and tags; tag them together"
        )
    return violations


def _check_by_kind(
    rule: visibility_pb2.VisibilityRule, kind: RuleKind
) -> Iterator[tuple[str, str]]:
    is_hidden = kind is RuleKind.HIDDEN
    if is_hidden != _is_empty(rule.subjects):
        rule_text = (
            "must be empty: a HIDDEN rule is about everybody" if is_hidden else "must name somebody"
        )
        yield "rule.subjects", rule_text
    if _is_empty(rule.targets) and kind is not RuleKind.SEES_ONLY:
        yield "rule.targets", "must name somebody"
    if rule.targets.everybody and is_hidden:
        yield "rule.targets.everybody", "must be false: use a SEES_ONLY rule"
    if rule.own_departments and kind is not RuleKind.SEES_ONLY:
        yield "rule.own_departments", "must be false except for SEES_ONLY"
    if bool(rule.fields) != (kind is RuleKind.HIDES_FIELDS):
        yield "rule.fields", "must name fields for HIDES_FIELDS, and none for the other kinds"
    if not all(number in FIELD_NAMES for number in rule.fields):
        yield "rule.fields", f"must be any of {', '.join(FIELD_NAMES.values())}"


def apply_mask(
    stored: visibility_pb2.VisibilityRule, given: visibility_pb2.VisibilityRule, mask: FieldMask
) -> dict[str, str]:
    """Take the masked fields over into the stored rule; return what is wrong with the mask."""
    if not mask.paths:
        return {"update_mask": f"must name any of {', '.join(MUTABLE_FIELDS)}"}
    unknown = [path for path in mask.paths if path not in MUTABLE_FIELDS]
    if unknown:
        return {"update_mask": f"has {unknown[0][:64]!r}; may have {', '.join(MUTABLE_FIELDS)}"}
    # Not MergeMessage, which would add to lists.
    for path in mask.paths:
        stored.ClearField(path)  # type: ignore[arg-type]  # the stub wants names as literals
        part = visibility_pb2.VisibilityRule()
        FieldMask(paths=[path]).MergeMessage(given, part)
        stored.MergeFrom(part)
    return {}


def _is_empty(scope: visibility_pb2.VisibilityScope) -> bool:
    return not scope.everybody and not _count(scope)


def _count(scope: visibility_pb2.VisibilityScope) -> int:
    return len(scope.user_ids) + len(scope.department_ids) + len(scope.tag_ids)
