"""Which students and parents of a batch can be stored."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.directory.schools.students import (
    PARENT_FIELDS,
    STUDENT_FIELDS,
    Child,
    Parent,
    ParentsPlan,
    Problem,
    Student,
    check_batch,
    check_parent,
    check_student,
    plan_new_students,
    plan_student_changes,
)

STUDENT = Student("s1", "Xiao Ming", (3,))
PARENT = Parent("p1", "13800000001", (Child("s1", "mother"),))


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        pytest.param({}, [], id="good"),
        pytest.param({"student_id": "é"}, ["student_id"], id="id"),
        pytest.param({"name": ""}, ["name"], id="no name"),
        pytest.param({"name": "x" * 33}, ["name"], id="long name"),
        pytest.param({"class_ids": ()}, ["class_ids"], id="no class"),
        pytest.param({"class_ids": tuple(range(20))}, [], id="20 classes"),
        pytest.param({"class_ids": tuple(range(21))}, ["class_ids"], id="21 classes"),
        pytest.param({"class_ids": (3, 3)}, ["class_ids"], id="class twice"),
        pytest.param({"mobile": "none"}, ["mobile"], id="mobile"),
        pytest.param({"name": "", "mobile": "x"}, ["name", "mobile"], id="two wrong fields"),
    ],
)
def test_wrong_fields_of_a_student_are_named(changes: dict[str, object], found: list[str]) -> None:
    violations: dict[str, str] = {}

    check_student(replace(STUDENT, **changes), STUDENT_FIELDS, "at", violations)  # type: ignore[arg-type]  # the table's values fit their fields

    assert list(violations) == [f"at.{field}" for field in found]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        pytest.param({}, [], id="good"),
        pytest.param({"mobile": ""}, ["mobile"], id="no mobile"),
        pytest.param({"children": ()}, ["children"], id="no child"),
        pytest.param(
            {"children": tuple(Child(f"s{n}", "x") for n in range(10))}, [], id="10 children"
        ),
        pytest.param(
            {"children": tuple(Child(f"s{n}", "x") for n in range(11))}, ["children"], id="11"
        ),
        pytest.param({"children": (Child("s1", "a"), Child("s1", "b"))}, ["children"], id="twice"),
        pytest.param({"children": (Child("s1", ""),)}, ["children[0].relation"], id="no relation"),
        pytest.param({"children": (Child("s1", "母" * 10),)}, [], id="30 bytes"),
        pytest.param(
            {"children": (Child("s1", "母" * 11),)}, ["children[0].relation"], id="33 bytes"
        ),
    ],
)
def test_wrong_fields_of_a_parent_are_named(changes: dict[str, object], found: list[str]) -> None:
    violations: dict[str, str] = {}

    check_parent(replace(PARENT, **changes), PARENT_FIELDS, "at", violations)  # type: ignore[arg-type]  # the table's values fit their fields

    assert list(violations) == [f"at.{field}" for field in found]


def test_fields_that_an_update_leaves_out_are_not_looked_at() -> None:
    violations: dict[str, str] = {}

    check_student(Student("s1"), {"mobile"}, "at", violations)
    check_parent(Parent("p1"), {"customer_id"}, "at", violations)

    assert violations == {}


@pytest.mark.parametrize(
    ("ids", "is_good"),
    [
        ([], False),
        (["a"], True),
        ([f"s{n}" for n in range(100)], True),
        (["a", "a"], False),
        ([f"s{n}" for n in range(101)], False),
    ],
    ids=["none", "one", "100", "one twice", "101"],
)
def test_a_batch_has_1_to_100_items(ids: list[str], is_good: bool) -> None:
    violations: dict[str, str] = {}

    check_batch(ids, "students", violations)

    assert (not violations) == is_good


def reasons(outcomes: list[Student | Problem] | list[Parent | Problem]) -> list[str]:
    return [each.reason if isinstance(each, Problem) else "" for each in outcomes]


def test_students_are_added_but_for_those_whose_id_or_class_is_wrong() -> None:
    batch = [STUDENT, Student("s2", "B", (3, 9)), Student("s3", "C", (3,))]

    outcomes = plan_new_students(batch, {"s1": STUDENT}, {3})

    assert reasons(outcomes) == ["STUDENT_EXISTS", "CLASS_NOT_FOUND", ""]


def test_students_are_changed_in_the_fields_that_are_named() -> None:
    stored = {"s1": replace(STUDENT, etag="4"), "s2": replace(STUDENT, student_id="s2", etag="1")}
    batch = [
        Student("s1", "New", (9,), "13800000009", "4"),
        Student("s2", "New", etag="3"),
        Student("s3", "New"),
    ]

    outcomes = plan_student_changes(batch, stored, set(), {"name"})

    assert outcomes[0] == replace(STUDENT, name="New", etag="4")
    assert reasons(outcomes)[1:] == ["ETAG_MISMATCH", "STUDENT_NOT_FOUND"]


def plan(*stored: Parent, students: frozenset[str] = frozenset({"s1", "s2"})) -> ParentsPlan:
    return ParentsPlan(
        {parent.parent_id: parent for parent in stored},
        students,
        {parent.mobile: parent.parent_id for parent in stored},
        {parent.customer_id: parent.parent_id for parent in stored if parent.customer_id},
    )


def test_parents_are_added_up_to_the_limit() -> None:
    batch = [replace(PARENT, parent_id=f"p{n}", mobile=f"1380000000{n}") for n in (1, 2, 3)]

    assert reasons(plan(batch[0]).add(batch, room=1)) == ["PARENT_EXISTS", "", "PARENT_LIMIT"]


def test_a_mobile_number_and_a_customer_are_one_parents_alone() -> None:
    linked = replace(PARENT, customer_id="wm1")
    batch = [
        replace(PARENT, parent_id="p2"),
        Parent("p3", "13800000003", PARENT.children, "wm1"),
        Parent("p4", "13800000004", PARENT.children, "wm4"),
        Parent("p5", "13800000004", PARENT.children),
        Parent("p6", "13800000006", (Child("gone", "father"),)),
    ]

    assert reasons(plan(linked).add(batch, room=9)) == [
        "PARENT_MOBILE_TAKEN",
        "CUSTOMER_TAKEN",
        "",
        "PARENT_MOBILE_TAKEN",
        "STUDENT_NOT_FOUND",
    ]


def test_a_number_that_an_earlier_item_gives_up_is_free_for_a_later_one() -> None:
    first, second = PARENT, replace(PARENT, parent_id="p2", mobile="13800000002")
    forward = [replace(first, mobile="13800000009"), replace(second, mobile=first.mobile)]

    outcomes = plan(first, second).change(forward, {"mobile"})
    backward = plan(first, second).change(forward[::-1], {"mobile"})

    assert reasons(outcomes) == ["", ""]
    assert reasons(backward) == ["PARENT_MOBILE_TAKEN", ""]


parents_given = st.lists(
    st.builds(
        Parent,
        st.sampled_from(["p1", "p2", "p3"]),
        st.sampled_from(["11111", "22222", "33333"]),
        st.just((Child("s1", "x"),)),
        st.sampled_from(["", "wm1", "wm2"]),
    ),
    max_size=6,
    unique_by=lambda parent: parent.parent_id,
)


@given(stored=parents_given, given_=parents_given)
def test_what_is_stored_after_a_batch_has_each_number_and_customer_once(
    stored: list[Parent], given_: list[Parent]
) -> None:
    before: dict[str, Parent] = {}
    for outcome in plan().add(stored, room=9):
        if isinstance(outcome, Parent):
            before[outcome.parent_id] = outcome

    changing = plan(*before.values())
    after = dict(before)
    for outcome in changing.change(given_, PARENT_FIELDS):
        if isinstance(outcome, Parent):
            after[outcome.parent_id] = outcome
            mobiles = [parent.mobile for parent in after.values()]
            customers = [parent.customer_id for parent in after.values() if parent.customer_id]
            assert len(set(mobiles)) == len(mobiles)
            assert len(set(customers)) == len(customers)
