"""The rules of schools: the tree of classes, who administers what, and who may see whom. Pure.

Students and parents are people outside the corp, many of them children: whoever is neither trusted
with the school as a whole nor their teacher finds nobody there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from tieline.chassis.authorization import Resource, Right, authorize, require
from tieline.chassis.errors import FailedPreconditionError
from tieline.chassis.fields import check_text, check_user_id
from tieline.chassis.principals import Principal

ROOT_DEPARTMENT_ID = 1

MAX_NAME_CHARACTERS = 32
MAX_SUBJECT_CHARACTERS = 15
MAX_ORDER = 2**32 - 1
MAX_STANDARD_GRADE = 12
REGISTER_YEARS = range(1970, 2101)
MAX_ADMINISTRATORS = 100

# As many as a corp has departments.
MAX_DEPARTMENTS = 30_000

# The open API's limits (65018).
MAX_PARENTS = 2_000
MAX_PARENTS_OF_VERIFIED = 20_000

# A bureau may keep its schools as campuses of one corp.
CORP_KINDS_WITH_SCHOOLS = frozenset({"school", "government"})


class DepartmentKind(StrEnum):
    """What a department of a school is, from the root down; the values stand in the table."""

    SCHOOL = "school"
    CAMPUS = "campus"
    STAGE = "stage"
    GRADE = "grade"
    CLASS = "class"


class AdministratorKind(StrEnum):
    """What a member does for a department; the values stand in the table."""

    CAMPUS_LEADER = "campus_leader"
    STAGE_LEADER = "stage_leader"
    GRADE_LEADER = "grade_leader"
    HEAD_TEACHER = "head_teacher"
    SUBJECT_TEACHER = "subject_teacher"


_LEVELS = list(DepartmentKind)

_ADMINISTRATORS_OF: Mapping[DepartmentKind, frozenset[AdministratorKind]] = {
    DepartmentKind.SCHOOL: frozenset({AdministratorKind.CAMPUS_LEADER}),
    DepartmentKind.CAMPUS: frozenset({AdministratorKind.CAMPUS_LEADER}),
    DepartmentKind.STAGE: frozenset({AdministratorKind.STAGE_LEADER}),
    DepartmentKind.GRADE: frozenset({AdministratorKind.GRADE_LEADER}),
    DepartmentKind.CLASS: frozenset(
        {AdministratorKind.HEAD_TEACHER, AdministratorKind.SUBJECT_TEACHER}
    ),
}


class Administrator(NamedTuple):
    """A member who administers a department."""

    user_id: str
    kind: AdministratorKind | None
    """None for what a request left out."""

    subject: str


@dataclass(frozen=True, slots=True)
class SchoolDepartment:
    """A node of a school's tree."""

    department_id: int
    parent_department_id: int
    """0 for the root."""

    kind: DepartmentKind
    name: str
    standard_grade: int = 0
    register_year: int = 0
    order: int = 0
    administrators: tuple[Administrator, ...] = ()
    revision: int = 0


def check_department(department: SchoolDepartment, violations: dict[str, str]) -> None:
    """Refuse fields that no department of the kind can have."""
    check_text(
        department.name, "department.name", violations, minimum=1, maximum=MAX_NAME_CHARACTERS
    )
    if not 0 <= department.order <= MAX_ORDER:
        violations["department.order"] = f"must be 0 to {MAX_ORDER}"
    _check_grade(department, violations)
    _check_administrators(department.kind, department.administrators, violations)


def _check_grade(department: SchoolDepartment, violations: dict[str, str]) -> None:
    grade, year = department.standard_grade, department.register_year
    if department.kind is not DepartmentKind.GRADE:
        for field, value in (("standard_grade", grade), ("register_year", year)):
            if value:
                violations[f"department.{field}"] = "must be 0 for what is no grade"
        return
    if not 0 <= grade <= MAX_STANDARD_GRADE:
        violations["department.standard_grade"] = f"must be 1 to {MAX_STANDARD_GRADE}, or 0"
    if bool(grade) != bool(year):
        violations["department.register_year"] = "must be given with standard_grade, not without"
    elif year and year not in REGISTER_YEARS:
        violations["department.register_year"] = (
            f"must be {REGISTER_YEARS[0]} to {REGISTER_YEARS[-1]}"
        )


def _check_administrators(
    kind: DepartmentKind, administrators: Sequence[Administrator], violations: dict[str, str]
) -> None:
    if len(administrators) > MAX_ADMINISTRATORS:
        violations["department.administrators"] = f"must be at most {MAX_ADMINISTRATORS}"
        return
    allowed = _ADMINISTRATORS_OF[kind]
    for index, administrator in enumerate(administrators):
        field = f"department.administrators[{index}]"
        check_user_id(administrator.user_id, f"{field}.user_id", violations)
        if administrator.kind not in allowed:
            names = ", ".join(sorted(each.name for each in allowed))
            violations[f"{field}.kind"] = f"must be {names} for a {kind}"
        if administrator.kind is AdministratorKind.SUBJECT_TEACHER:
            check_text(
                administrator.subject,
                f"{field}.subject",
                violations,
                minimum=1,
                maximum=MAX_SUBJECT_CHARACTERS,
            )
        elif administrator.subject:
            violations[f"{field}.subject"] = "must be empty but for subject teachers"
        if administrator in administrators[:index]:
            violations[field] = "is there twice"


def check_place(kind: DepartmentKind, parent: DepartmentKind) -> None:
    """Raise FailedPreconditionError where a department of the kind can't be under the parent's."""
    if kind is DepartmentKind.CLASS:
        fits = parent is DepartmentKind.GRADE
    else:
        fits = _LEVELS.index(parent) < _LEVELS.index(kind)
    if not fits:
        raise FailedPreconditionError(
            "SCHOOL_DEPARTMENT_MISPLACED", f"a {kind} can't be under a {parent}"
        )


def check_corp_kind(kind: str) -> None:
    """Raise FailedPreconditionError for a corp of a kind that has no school."""
    if kind not in CORP_KINDS_WITH_SCHOOLS:
        raise FailedPreconditionError(
            "SCHOOL_NOT_ALLOWED", "classes, students and parents are for schools and public bodies"
        )


def max_parents(*, is_verified: bool) -> int:
    """Return how many parents a corp may have."""
    return MAX_PARENTS_OF_VERIFIED if is_verified else MAX_PARENTS


def check_manages(principal: Principal, corp_id: str) -> None:
    """Raise PermissionDeniedError for a caller who is not trusted with the corp's whole school."""
    require(principal, Right.MANAGE_SCHOOL, Resource(corp_id))


def manages(principal: Principal, corp_id: str) -> bool:
    """Tell whether the caller is trusted with the corp's whole school."""
    return authorize(principal, Right.MANAGE_SCHOOL, Resource(corp_id)).is_allowed
