"""The rules of students and parents: their fields, and which items of a batch can be done. Pure.

What is malformed refuses a batch as a whole. What depends on what is stored is decided item by
item, in their order: a mobile number that an earlier item gives up is free for a later one.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from tieline.chassis.fields import check_text, check_user_id
from tieline.directory.members.rules import MOBILE_PATTERN, MOBILE_RULE, member_key
from tieline.directory.schools.rules import MAX_NAME_CHARACTERS

MAX_BATCH_ITEMS = 100
MAX_CLASSES = 20
MAX_CHILDREN = 10
MAX_RELATION_BYTES = 32

STUDENT_FIELDS = frozenset({"name", "class_ids", "mobile"})
PARENT_FIELDS = frozenset({"mobile", "children", "customer_id"})


@dataclass(frozen=True, slots=True)
class Student:
    """Somebody who goes to school."""

    student_id: str
    name: str = ""
    class_ids: tuple[int, ...] = ()
    mobile: str = ""
    etag: str = ""


class Child(NamedTuple):
    """A parent's child."""

    student_id: str
    relation: str


@dataclass(frozen=True, slots=True)
class Parent:
    """A parent of students."""

    parent_id: str
    mobile: str = ""
    children: tuple[Child, ...] = ()
    customer_id: str = ""
    etag: str = ""


class Problem(NamedTuple):
    """Why an item was not done: reason and text."""

    reason: str
    text: str


def person_key(person_id: str) -> str:
    """Return the form of a student's or parent's id by which they are stored and found."""
    return member_key(person_id)


def check_batch(ids: Sequence[str], field: str, violations: dict[str, str]) -> None:
    """Refuse a batch of no item, of too many, or of two with one id."""
    if not 1 <= len(ids) <= MAX_BATCH_ITEMS:
        violations[field] = f"must be 1 to {MAX_BATCH_ITEMS}"
    elif len(set(ids)) < len(ids):
        violations[field] = "must not have an id twice"


def check_student(
    student: Student, fields: Collection[str], at: str, violations: dict[str, str]
) -> None:
    """Refuse what can't be a student's; of the fields those that are to be stored."""
    check_user_id(student.student_id, f"{at}.student_id", violations)
    if "name" in fields:
        check_text(student.name, f"{at}.name", violations, minimum=1, maximum=MAX_NAME_CHARACTERS)
    if "mobile" in fields and student.mobile:
        _check_mobile(student.mobile, at, violations)
    if "class_ids" in fields:
        _check_unique(student.class_ids, f"{at}.class_ids", MAX_CLASSES, violations)


def check_parent(
    parent: Parent, fields: Collection[str], at: str, violations: dict[str, str]
) -> None:
    """Refuse what can't be a parent's; of the fields those that are to be stored."""
    check_user_id(parent.parent_id, f"{at}.parent_id", violations)
    if "mobile" in fields:
        _check_mobile(parent.mobile, at, violations)
    if "customer_id" in fields:
        check_text(parent.customer_id, f"{at}.customer_id", violations, minimum=0, maximum=64)
    if "children" not in fields:
        return
    children = [child.student_id for child in parent.children]
    _check_unique(children, f"{at}.children", MAX_CHILDREN, violations)
    for index, child in enumerate(parent.children):
        field = f"{at}.children[{index}]"
        check_user_id(child.student_id, f"{field}.student_id", violations)
        check_text(
            child.relation, f"{field}.relation", violations, minimum=1, maximum=MAX_RELATION_BYTES
        )
        if len(child.relation.encode()) > MAX_RELATION_BYTES:
            violations[f"{field}.relation"] = f"must have 1 to {MAX_RELATION_BYTES} bytes"


def _check_mobile(mobile: str, at: str, violations: dict[str, str]) -> None:
    if not MOBILE_PATTERN.fullmatch(mobile):
        violations[f"{at}.mobile"] = MOBILE_RULE


def _check_unique(
    values: Collection[int | str], field: str, maximum: int, violations: dict[str, str]
) -> None:
    if not 1 <= len(values) <= maximum:
        violations[field] = f"must be 1 to {maximum}"
    elif len(set(values)) < len(values):
        violations[field] = "must not have one twice"


def plan_new_students(
    students: Iterable[Student], stored: Mapping[str, Student], class_ids: Collection[int]
) -> list[Student | Problem]:
    """Decide which students can be added; ``class_ids`` are those of the named that exist."""

    def plan(student: Student) -> Student | Problem:
        if student.student_id in stored:
            return Problem("STUDENT_EXISTS", "the corp has a student of this id")
        return _find_class_problem(student, class_ids) or student

    return [plan(student) for student in students]


def plan_student_changes(
    students: Iterable[Student],
    stored: Mapping[str, Student],
    class_ids: Collection[int],
    fields: Collection[str],
) -> list[Student | Problem]:
    """Decide which students can be changed, and what each is then."""

    def plan(student: Student) -> Student | Problem:
        current = stored.get(student.student_id)
        if current is None:
            return Problem("STUDENT_NOT_FOUND", "no such student")
        if student.etag not in ("", current.etag):
            return etag_problem(current.etag)
        changed = replace(current, **{field: getattr(student, field) for field in fields})
        problem = _find_class_problem(changed, class_ids) if "class_ids" in fields else None
        return problem or changed

    return [plan(student) for student in students]


def _find_class_problem(student: Student, class_ids: Collection[int]) -> Problem | None:
    for class_id in student.class_ids:
        if class_id not in class_ids:
            return Problem("CLASS_NOT_FOUND", f"{class_id} is no class of the school")
    return None


def etag_problem(etag: str) -> Problem:
    """Return the problem of an item that somebody else changed meanwhile."""
    return Problem("ETAG_MISMATCH", f"it was changed meanwhile and is at {etag}")


class ParentsPlan:
    """Decides a batch of parents against what is stored and against the items before."""

    def __init__(
        self,
        stored: Mapping[str, Parent],
        student_ids: Collection[str],
        mobile_owners: Mapping[str, str],
        customer_owners: Mapping[str, str],
    ) -> None:
        """``student_ids`` are those that exist; owners are parents by what is theirs."""
        self._stored = stored
        self._student_ids = student_ids
        self._mobile_owners = dict(mobile_owners)
        self._customer_owners = dict(customer_owners)

    def add(self, parents: Iterable[Parent], room: int) -> list[Parent | Problem]:
        """Decide which parents can be added; ``room`` is how many more the corp may have."""
        planned: list[Parent | Problem] = []
        for parent in parents:
            if parent.parent_id in self._stored:
                planned.append(Problem("PARENT_EXISTS", "the corp has a parent of this id"))
                continue
            if room <= 0:
                planned.append(Problem("PARENT_LIMIT", "the corp has as many parents as it may"))
                continue
            outcome = self._take(parent, None)
            room -= isinstance(outcome, Parent)
            planned.append(outcome)
        return planned

    def change(self, parents: Iterable[Parent], fields: Collection[str]) -> list[Parent | Problem]:
        """Decide which parents can be changed, and what each is then."""
        planned: list[Parent | Problem] = []
        for parent in parents:
            current = self._stored.get(parent.parent_id)
            if current is None:
                planned.append(Problem("PARENT_NOT_FOUND", "no such parent"))
            elif parent.etag not in ("", current.etag):
                planned.append(etag_problem(current.etag))
            else:
                values = {field: getattr(parent, field) for field in fields}
                planned.append(self._take(replace(current, **values), current))
        return planned

    def _take(self, parent: Parent, current: Parent | None) -> Parent | Problem:
        known = () if current is None else current.children
        for child in parent.children:
            if child.student_id not in self._student_ids and child not in known:
                return Problem("STUDENT_NOT_FOUND", f"{child.student_id} is no student")
        if self._mobile_owners.get(parent.mobile, parent.parent_id) != parent.parent_id:
            return Problem("PARENT_MOBILE_TAKEN", "another parent has this mobile number")
        if self._customer_owners.get(parent.customer_id, parent.parent_id) != parent.parent_id:
            return Problem("CUSTOMER_TAKEN", "another parent is linked to this customer")
        if current is not None:
            self._mobile_owners.pop(current.mobile, None)
            self._customer_owners.pop(current.customer_id, None)
        self._mobile_owners[parent.mobile] = parent.parent_id
        if parent.customer_id:
            self._customer_owners[parent.customer_id] = parent.parent_id
        return parent
