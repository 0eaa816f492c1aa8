"""Who sees whom: what a corp's rules mean for one viewer, and what that viewer sees. Pure.

The rules of precedence, the first that says something decides:

    1  everybody sees themselves, and everything of themselves
    2  owners and auditors see everybody; administrators of the directory see whom they administer;
       apps see their visible range, without contact details unless they were given those
    3  somebody hidden from the viewer (DOES_NOT_SEE, HIDDEN) is not seen
    4  a viewer to whom any SEES_ONLY rule applies sees whom those rules name together, nobody else
    5  everybody sees everybody

Of those who are seen, the fields that HIDES_FIELDS rules name for the viewer are empty.

`plan_reach` turns rules into what they come to for one viewer, in terms of departments and tags;
a `Viewer` is that with departments and tags spelled out, which `Viewer.can_see` compares a member
with. ``repositories/visibility.py`` has the same comparison in SQL.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import reduce
from operator import or_


class RuleKind(StrEnum):
    """What a rule does; the values stand in tables."""

    SEES_ONLY = "sees_only"
    DOES_NOT_SEE = "does_not_see"
    HIDDEN = "hidden"
    HIDES_FIELDS = "hides_fields"


@dataclass(frozen=True, slots=True)
class Person:
    """What the rules ask of somebody."""

    user_id: str
    department_ids: frozenset[int]
    """Each department of the member, without those above."""

    ancestor_ids: frozenset[int]
    """The departments and all above them."""

    tag_ids: frozenset[int]
    """Tags of the member, or of a department among ``ancestor_ids``."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Some people, named by what they have in common."""

    everybody: bool = False
    user_ids: frozenset[str] = frozenset()
    department_ids: frozenset[int] = frozenset()
    """With all below them."""

    tag_ids: frozenset[int] = frozenset()

    def holds(self, person: Person) -> bool:
        """Tell whether the person is among them."""
        return (
            self.everybody
            or person.user_id in self.user_ids
            or not self.department_ids.isdisjoint(person.ancestor_ids)
            or not self.tag_ids.isdisjoint(person.tag_ids)
        )

    def __or__(self, other: "Scope") -> "Scope":
        """Return all people of both."""
        return Scope(
            self.everybody or other.everybody,
            self.user_ids | other.user_ids,
            self.department_ids | other.department_ids,
            self.tag_ids | other.tag_ids,
        )


NOBODY = Scope()
EVERYBODY = Scope(everybody=True)

CONTACT_FIELDS = frozenset(
    {"mobile", "telephone", "email", "biz_email", "address", "gender", "avatar_media_id"}
)
"""What apps get of nobody unless they were given the right to."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a corp."""

    kind: RuleKind
    subjects: Scope = NOBODY
    """The viewers that it is about; of a HIDDEN rule everybody, whatever stands here."""

    exceptions: Scope = NOBODY
    """Viewers that it is not about even so."""

    targets: Scope = NOBODY
    """Those who are seen, not seen, or whose fields are hidden."""

    own_departments: bool = False
    """Of SEES_ONLY: the viewer's own departments, with those below, are targets too."""

    fields: frozenset[str] = frozenset()
    """Of HIDES_FIELDS: names of fields of a member."""

    def concerns(self, viewer: Person) -> bool:
        """Tell whether the rule is about the viewer."""
        is_subject = self.kind is RuleKind.HIDDEN or self.subjects.holds(viewer)
        return is_subject and not self.exceptions.holds(viewer)


@dataclass(frozen=True, slots=True)
class HiddenFields:
    """Fields that the viewer does not get of some people."""

    of: Scope
    fields: frozenset[str]


@dataclass(frozen=True, slots=True)
class Reach:
    """What the rules come to for one viewer."""

    user_id: str
    """Empty for a viewer who is no member."""

    own_department_ids: frozenset[int] = frozenset()
    """These are shown to the viewer, whoever in them is."""

    full: Scope = NOBODY
    """Seen with every field, whatever the rules say."""

    allowed: Scope = EVERYBODY
    denied: Scope = NOBODY
    """Not seen, even if allowed."""

    hidden_fields: frozenset[HiddenFields] = frozenset()

    @property
    def is_unlimited(self) -> bool:
        """Whether the viewer sees everything of everybody."""
        return self.full.everybody or (
            self.allowed.everybody and self.denied == NOBODY and not self.hidden_fields
        )


def plan_reach(viewer: Person, rules: Iterable[Rule], *, full: Scope = NOBODY) -> Reach:
    """Return what the rules come to for the viewer, who sees ``full`` in any case."""
    reach = Reach(viewer.user_id, viewer.department_ids, full)
    if full.everybody:
        return reach
    allowed: list[Scope] = []
    for rule in rules:
        if not rule.concerns(viewer):
            continue
        match rule.kind:
            case RuleKind.SEES_ONLY:
                own = viewer.department_ids if rule.own_departments else frozenset[int]()
                allowed.append(rule.targets | Scope(department_ids=own))
            case RuleKind.DOES_NOT_SEE:
                reach = replace(reach, denied=reach.denied | rule.targets)
            case RuleKind.HIDDEN:
                reach = replace(reach, denied=reach.denied | _hidden_from(viewer, rule.targets))
            case RuleKind.HIDES_FIELDS:
                hidden = HiddenFields(rule.targets, rule.fields)
                reach = replace(reach, hidden_fields=reach.hidden_fields | {hidden})
    if allowed:
        union = NOBODY
        for scope in allowed:
            union |= scope
        reach = replace(reach, allowed=union)
    return reach


def _hidden_from(viewer: Person, targets: Scope) -> Scope:
    """Leave out the departments that the viewer is in: those inside see each other."""
    return replace(targets, department_ids=targets.department_ids - viewer.ancestor_ids)


@dataclass(frozen=True, slots=True)
class People:
    """A `Scope` with its departments and tags spelled out."""

    everybody: bool = False
    user_ids: frozenset[str] = frozenset()
    department_ids: frozenset[int] = frozenset()
    """Whoever is in any of these; those below are named as well."""

    def holds(self, user_id: str, department_ids: Collection[int]) -> bool:
        """Tell whether a member of these departments is among them."""
        return (
            self.everybody
            or user_id in self.user_ids
            or not self.department_ids.isdisjoint(department_ids)
        )

    def __or__(self, other: "People") -> "People":
        """Return all people of both."""
        return People(
            self.everybody or other.everybody,
            self.user_ids | other.user_ids,
            self.department_ids | other.department_ids,
        )

    @property
    def size(self) -> int:
        """How many ids it holds."""
        return len(self.user_ids) + len(self.department_ids)


@dataclass(frozen=True, slots=True)
class Viewer:
    """Decides what one caller sees of a corp, until its rules, departments or tags change."""

    corp_id: str
    is_unlimited: bool
    """Sees everything of everybody; nothing below matters then."""

    user_id: str = ""
    full: People = People()
    allowed: People = People()
    denied: People = People()
    within: frozenset[int] | None = None
    """All departments but the denied, where those are fewer; ``denied`` has no departments then."""

    sees_leavers: bool = False
    """Whether somebody of no department, who left the corp, is seen where everybody is: of what
    department a leaver was, and so whether hidden, nobody can tell."""

    hidden_fields: tuple[tuple[People, frozenset[str]], ...] = ()
    department_ids: frozenset[int] | None = None
    """The departments that are shown; None for all."""

    is_narrow: bool = field(default=False, compare=False)
    """Sees so few people that looking at each of them is quicker than any index of all."""

    @property
    def sees_everybody(self) -> bool:
        """Whether nobody and no department is hidden, whatever fields are."""
        return self.is_unlimited or (
            self.allowed.everybody and self.denied == People() and self.within is None
        )

    def can_see(self, user_id: str, department_ids: Collection[int]) -> bool:
        """Tell whether the viewer sees a member of these departments, all of the member's."""
        if self.is_unlimited or user_id == self.user_id:
            return True
        if self.full.holds(user_id, department_ids):
            return True
        if self.denied.holds(user_id, department_ids):
            return False
        if self.within is not None and not self.within.issuperset(department_ids):
            return False
        if not department_ids and self.allowed.everybody:
            return self.sees_leavers
        return self.allowed.holds(user_id, department_ids)

    def can_see_department(self, department_id: int) -> bool:
        """Tell whether the department itself is shown."""
        return self.department_ids is None or department_id in self.department_ids

    def list_hidden_fields(self, user_id: str, department_ids: Collection[int]) -> frozenset[str]:
        """Return the names of the fields that the viewer does not get of a member."""
        if (
            not self.hidden_fields
            or user_id == self.user_id
            or self.full.holds(user_id, department_ids)
        ):
            return frozenset()
        return frozenset().union(
            *(
                fields
                for people, fields in self.hidden_fields
                if people.holds(user_id, department_ids)
            )
        )

    def list_hidden_people(self, name: str) -> People:
        """Return whose field rules hide; the viewer and ``full`` may be among them, in vain."""
        return reduce(or_, (of for of, fields in self.hidden_fields if name in fields), People())

    def list_candidates(self) -> People:
        """Return people among whom are all that the viewer sees."""
        if not self.allowed.everybody:
            users = self.allowed.user_ids | self.full.user_ids | {self.user_id}
            return People(False, users, self.allowed.department_ids | self.full.department_ids)
        if self.within is None:
            return People(everybody=True)
        users = self.full.user_ids | {self.user_id}
        return People(False, users, self.within | self.full.department_ids)

    @property
    def size(self) -> int:
        """How many ids it holds: what keeping it costs."""
        people = [self.full, self.allowed, self.denied, *(of for of, _ in self.hidden_fields)]
        sets = (self.within, self.department_ids)
        return sum(each.size for each in people) + sum(len(ids) for ids in sets if ids)


@dataclass(frozen=True, slots=True)
class Tree:
    """The departments of a corp, and whom its tags hold, as far as a reach names them."""

    ancestor_ids: dict[int, frozenset[int]]
    """Of each department, itself included."""

    tagged: dict[int, Scope]
    """Members and departments of each tag."""


def build_viewer(corp_id: str, reach: Reach, tree: Tree) -> Viewer:
    """Spell a limited reach out."""
    denied = spell_out(reach.denied, tree)
    within = None
    if len(denied.department_ids) * 2 > len(tree.ancestor_ids):
        within = frozenset(tree.ancestor_ids.keys() - denied.department_ids)
    full = spell_out(reach.full, tree)
    allowed = spell_out(reach.allowed, tree)
    return Viewer(
        corp_id,
        is_unlimited=False,
        user_id=reach.user_id,
        full=full,
        allowed=allowed,
        denied=denied if within is None else replace(denied, department_ids=frozenset()),
        within=within,
        sees_leavers=reach.denied == NOBODY,
        hidden_fields=tuple(
            (spell_out(hidden.of, tree), hidden.fields) for hidden in reach.hidden_fields
        ),
        department_ids=_list_shown_departments(reach, tree, full, allowed, denied),
    )


def spell_out(scope: Scope, tree: Tree) -> People:
    """Name the people of a scope by their own departments alone."""
    if scope.everybody:
        return People(everybody=True)
    for tag_id in scope.tag_ids:
        scope |= tree.tagged.get(tag_id, NOBODY)
    roots = scope.department_ids
    below = (
        department_id
        for department_id, ancestor_ids in tree.ancestor_ids.items()
        if not roots.isdisjoint(ancestor_ids)
    )
    return People(user_ids=scope.user_ids, department_ids=frozenset(below if roots else ()))


def _list_shown_departments(
    reach: Reach, tree: Tree, full: People, allowed: People, denied: People
) -> frozenset[int] | None:
    """Return the departments where somebody may be seen, and the way to them from the root."""
    if allowed.everybody and not denied.everybody and not denied.department_ids:
        return None
    seen = tree.ancestor_ids.keys() if allowed.everybody else allowed.department_ids
    if denied.everybody:
        seen = frozenset()
    shown = full.department_ids | reach.own_department_ids | (seen - denied.department_ids)
    ways = (tree.ancestor_ids.get(department_id, frozenset()) for department_id in shown)
    return frozenset().union(*ways)
