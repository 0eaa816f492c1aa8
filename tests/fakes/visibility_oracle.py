"""Who sees whom, rule by rule as the proto says it: slow, plain, and not the service's code."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tieline.directory.visibility.decision import NOBODY, Person, Rule, RuleKind, Scope


@dataclass(frozen=True)
class World:
    """A corp's people, as the rules ask of them."""

    parents: dict[int, int]
    """Of each department but the root."""

    departments: dict[str, frozenset[int]]
    """Of each member."""

    tagged_users: dict[int, frozenset[str]] = field(default_factory=dict)
    tagged_departments: dict[int, frozenset[int]] = field(default_factory=dict)

    def ancestors(self, department_id: int) -> frozenset[int]:
        """Return the department and all above it."""
        found = {department_id}
        while department_id in self.parents:
            department_id = self.parents[department_id]
            found.add(department_id)
        return frozenset(found)

    def person(self, user_id: str) -> Person:
        """Return somebody's place."""
        own = self.departments.get(user_id, frozenset())
        above = frozenset().union(*map(self.ancestors, own))
        tags = {
            tag
            for tag in {*self.tagged_users, *self.tagged_departments}
            if user_id in self.tagged_users.get(tag, ())
            or above & self.tagged_departments.get(tag, frozenset())
        }
        return Person(user_id, own, above, frozenset(tags))


@dataclass(frozen=True)
class Oracle:
    """Decides by the rules, for a viewer who has no role but may administer departments."""

    world: World
    rules: Sequence[Rule]
    full: Scope = NOBODY

    def sees(self, viewer_id: str, user_id: str) -> bool:
        viewer, person = self.world.person(viewer_id), self.world.person(user_id)
        if viewer_id == user_id or self.full.holds(person):
            return True
        concerning = [rule for rule in self.rules if self._concerns(rule, viewer)]
        if any(self._denies(rule, viewer, person) for rule in concerning):
            return False
        only = [rule for rule in concerning if rule.kind is RuleKind.SEES_ONLY]
        return not only or any(
            rule.targets.holds(person)
            or (rule.own_departments and viewer.department_ids & person.ancestor_ids)
            for rule in only
        )

    def hidden_fields(self, viewer_id: str, user_id: str) -> set[str]:
        viewer, person = self.world.person(viewer_id), self.world.person(user_id)
        if viewer_id == user_id or self.full.holds(person):
            return set()
        return {
            name
            for rule in self.rules
            if rule.kind is RuleKind.HIDES_FIELDS
            and self._concerns(rule, viewer)
            and rule.targets.holds(person)
            for name in rule.fields
        }

    def shows_department(self, viewer_id: str, department_id: int) -> bool:
        """Tell whether the department, or one below it that it leads to, is shown."""
        return any(
            self._has_place(viewer_id, below)
            for below in {department_id, *self.world.parents}
            if department_id in self.world.ancestors(below)
        )

    def _has_place(self, viewer_id: str, department_id: int) -> bool:
        viewer = self.world.person(viewer_id)
        above = self.world.ancestors(department_id)
        if department_id in viewer.department_ids or above & self.full.department_ids:
            return True
        concerning = [rule for rule in self.rules if self._concerns(rule, viewer)]
        if any(above & self._denied_departments(rule, viewer) for rule in concerning):
            return False
        if any(
            rule.kind is RuleKind.DOES_NOT_SEE and rule.targets.everybody for rule in concerning
        ):
            return False
        only = [rule for rule in concerning if rule.kind is RuleKind.SEES_ONLY]
        return not only or any(
            rule.targets.everybody
            or above & self._departments(rule.targets)
            or (rule.own_departments and above & viewer.department_ids)
            for rule in only
        )

    def _departments(self, scope: Scope) -> frozenset[int]:
        tagged = (self.world.tagged_departments.get(tag, frozenset()) for tag in scope.tag_ids)
        return scope.department_ids.union(*tagged)

    def _denied_departments(self, rule: Rule, viewer: Person) -> frozenset[int]:
        if rule.kind is RuleKind.DOES_NOT_SEE:
            return self._departments(rule.targets)
        if rule.kind is RuleKind.HIDDEN:
            outside = rule.targets.department_ids - viewer.ancestor_ids
            return self._departments(Scope(tag_ids=rule.targets.tag_ids)) | outside
        return frozenset()

    @staticmethod
    def _concerns(rule: Rule, viewer: Person) -> bool:
        is_subject = rule.kind is RuleKind.HIDDEN or rule.subjects.holds(viewer)
        return is_subject and not rule.exceptions.holds(viewer)

    @staticmethod
    def _denies(rule: Rule, viewer: Person, person: Person) -> bool:
        if rule.kind is RuleKind.DOES_NOT_SEE:
            return rule.targets.holds(person)
        if rule.kind is not RuleKind.HIDDEN:
            return False
        outside = Scope(
            user_ids=rule.targets.user_ids,
            department_ids=rule.targets.department_ids - viewer.ancestor_ids,
            tag_ids=rule.targets.tag_ids,
        )
        return outside.holds(person)
