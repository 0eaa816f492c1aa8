"""Which departments an import makes."""

from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from tieline.directory.departments.rules import (
    NewDepartment,
    list_with_ancestors,
    plan_departments,
)

PATHS = st.sets(st.lists(st.sampled_from("abc-"), max_size=4).map("/".join), max_size=8)


def test_missing_departments_are_made_with_those_above_them() -> None:
    plan = plan_departments(["East/Shanghai", "East"], {"": 1}, [2, 3])

    assert plan == [
        NewDepartment(2, 1, "East", "East", (1, 2)),
        NewDepartment(3, 2, "Shanghai", "East/Shanghai", (1, 2, 3)),
    ]


def test_departments_that_exist_are_not_made_again() -> None:
    plan = plan_departments(["East", "East/Shanghai", ""], {"": 1, "East": 9}, [10])

    assert plan == [NewDepartment(10, 9, "Shanghai", "East/Shanghai", (1, 9, 10))]


@given(first=PATHS, second=PATHS)
def test_carried_out_plan_leaves_nothing_to_plan(first: set[str], second: set[str]) -> None:
    known = {"": 1}
    for paths in (first, second):
        plan = plan_departments(paths, known, count(len(known) + 1))
        for department in plan:
            assert department.parent_department_id in known.values()
            known[department.path] = department.department_id

        assert plan_departments(paths, known, []) == []
        assert known.keys() >= list_with_ancestors(paths)
    assert len(set(known.values())) == len(known)
