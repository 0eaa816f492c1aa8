"""The rules of a school's tree."""

import pytest

from tieline.chassis.errors import FailedPreconditionError
from tieline.directory.schools.rules import (
    Administrator,
    AdministratorKind,
    DepartmentKind,
    SchoolDepartment,
    check_corp_kind,
    check_department,
    check_place,
    max_parents,
)

SCHOOL, CAMPUS, STAGE, GRADE, CLASS = DepartmentKind


def find_violations(
    kind: DepartmentKind = GRADE,
    *,
    name: str = "G",
    grade: int = 0,
    year: int = 0,
    order: int = 0,
    administrators: tuple[Administrator, ...] = (),
) -> list[str]:
    violations: dict[str, str] = {}
    check_department(
        SchoolDepartment(2, 1, kind, name, grade, year, order, administrators), violations
    )
    return [field.removeprefix("department.") for field in violations]


@pytest.mark.parametrize(
    ("kind", "parents"),
    [
        (CAMPUS, {SCHOOL}),
        (STAGE, {SCHOOL, CAMPUS}),
        (GRADE, {SCHOOL, CAMPUS, STAGE}),
        (CLASS, {GRADE}),
        (SCHOOL, set()),
    ],
)
def test_a_department_is_under_one_of_an_outer_kind_and_a_class_under_a_grade(
    kind: DepartmentKind, parents: set[DepartmentKind]
) -> None:
    def fits(parent: DepartmentKind) -> bool:
        try:
            check_place(kind, parent)
        except FailedPreconditionError:
            return False
        return True

    assert {parent for parent in DepartmentKind if fits(parent)} == parents


@pytest.mark.parametrize(
    ("name", "found"),
    [("", ["name"]), ("x", []), ("王" * 32, []), ("x" * 33, ["name"]), ("a\nb", ["name"])],
)
def test_name_has_1_to_32_characters(name: str, found: list[str]) -> None:
    assert find_violations(name=name) == found


@pytest.mark.parametrize(
    ("kind", "grade", "year", "found"),
    [
        pytest.param(GRADE, 0, 0, [], id="neither"),
        pytest.param(GRADE, 1, 1970, [], id="first ones"),
        pytest.param(GRADE, 12, 2100, [], id="last ones"),
        pytest.param(GRADE, 13, 2020, ["standard_grade"], id="grade too large"),
        pytest.param(GRADE, 1, 1969, ["register_year"], id="year too early"),
        pytest.param(GRADE, 1, 2101, ["register_year"], id="year too late"),
        pytest.param(GRADE, 1, 0, ["register_year"], id="grade without year"),
        pytest.param(GRADE, 0, 2020, ["register_year"], id="year without grade"),
        pytest.param(CLASS, 1, 2020, ["standard_grade", "register_year"], id="of a class"),
    ],
)
def test_standard_grade_comes_with_a_register_year(
    kind: DepartmentKind, grade: int, year: int, found: list[str]
) -> None:
    assert find_violations(kind, grade=grade, year=year) == found


@pytest.mark.parametrize(
    ("kind", "fitting"),
    [
        (SCHOOL, {AdministratorKind.CAMPUS_LEADER}),
        (CAMPUS, {AdministratorKind.CAMPUS_LEADER}),
        (STAGE, {AdministratorKind.STAGE_LEADER}),
        (GRADE, {AdministratorKind.GRADE_LEADER}),
        (CLASS, {AdministratorKind.HEAD_TEACHER, AdministratorKind.SUBJECT_TEACHER}),
    ],
)
def test_administrators_suit_the_kind_of_department(
    kind: DepartmentKind, fitting: set[AdministratorKind]
) -> None:
    def suits(administrator: AdministratorKind) -> bool:
        subject = "Maths" if administrator is AdministratorKind.SUBJECT_TEACHER else ""
        one = Administrator("li", administrator, subject)
        return not find_violations(kind, administrators=(one,))

    assert {each for each in AdministratorKind if suits(each)} == fitting


@pytest.mark.parametrize(
    ("administrators", "found"),
    [
        pytest.param(
            [("li", AdministratorKind.SUBJECT_TEACHER, "")], ["[0].subject"], id="no subject"
        ),
        pytest.param(
            [("li", AdministratorKind.SUBJECT_TEACHER, "x" * 15)], [], id="longest subject"
        ),
        pytest.param(
            [("li", AdministratorKind.SUBJECT_TEACHER, "x" * 16)], ["[0].subject"], id="too long"
        ),
        pytest.param(
            [("li", AdministratorKind.HEAD_TEACHER, "Maths")], ["[0].subject"], id="not his"
        ),
        pytest.param([("", AdministratorKind.HEAD_TEACHER, "")], ["[0].user_id"], id="nobody"),
        pytest.param([("li", None, "")], ["[0].kind"], id="kind left out"),
        pytest.param([("li", AdministratorKind.HEAD_TEACHER, "")] * 2, ["[1]"], id="twice"),
        pytest.param(
            [(f"u{n}", AdministratorKind.HEAD_TEACHER, "") for n in range(101)], [""], id="101"
        ),
    ],
)
def test_wrong_administrators_are_named(
    administrators: list[tuple[str, AdministratorKind | None, str]], found: list[str]
) -> None:
    violations = find_violations(
        CLASS, administrators=tuple(Administrator(*each) for each in administrators)
    )

    assert violations == [f"administrators{each}" for each in found]


@pytest.mark.parametrize(("order", "found"), [(-1, ["order"]), (2**32 - 1, []), (2**32, ["order"])])
def test_order_has_32_bits(order: int, found: list[str]) -> None:
    assert find_violations(order=order) == found


@pytest.mark.parametrize(
    ("kind", "has_school"),
    [("school", True), ("government", True), ("company", False), ("unspecified", False)],
)
def test_schools_and_public_bodies_have_schools(kind: str, has_school: bool) -> None:
    if has_school:
        check_corp_kind(kind)
    else:
        with pytest.raises(FailedPreconditionError, match="for schools and public bodies"):
            check_corp_kind(kind)


def test_verified_corps_may_have_ten_times_the_parents() -> None:
    assert (max_parents(is_verified=False), max_parents(is_verified=True)) == (2000, 20000)
