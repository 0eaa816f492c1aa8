"""The tree that comes of a file of departments: right, and the file's where that can be."""

from collections import Counter
from collections.abc import Collection

from hypothesis import given
from hypothesis import strategies as st

from tieline.directory.departments.rules import MAX_LEVELS, MAX_NODES
from tieline.directory.imports.csv_rows import CsvRecord
from tieline.directory.imports.department_replacement import (
    PlacedDepartment,
    Replacement,
    StoredDepartment,
    plan_replacement,
)
from tieline.directory.imports.department_rows import read_departments

IDS = st.integers(2, 9)
ROWS = st.lists(
    st.tuples(st.sampled_from("ABC:"), IDS, st.one_of(st.just(1), IDS), st.sampled_from("0 1")),
    max_size=8,
)


@st.composite
def trees(draw: st.DrawFn) -> dict[int, StoredDepartment]:
    """A tree that is right."""
    stored = {1: StoredDepartment(1, "Corp", 0, 0, "", False)}
    for department_id in draw(st.lists(IDS, unique=True)):
        parent = stored[draw(st.sampled_from(sorted(stored)))]
        name = draw(st.sampled_from("ABCD"))
        path = f"{parent.path}/{name}" if parent.path else name
        if all(each.path != path for each in stored.values()):
            stored[department_id] = StoredDepartment(
                *(department_id, name, parent.department_id, 0, path),
                has_members=bool(members := draw(st.integers(0, 2))),
                member_count=members,
            )
    return stored


def plan(
    rows: list[tuple[str, int, int, str]],
    stored: dict[int, StoredDepartment],
    max_nodes: int = MAX_NODES,
) -> Replacement:
    values = [["name", "id", "parent_id", "order"]]
    values += [[name, str(each), str(parent), order.strip()] for name, each, parent, order in rows]
    records = [CsvRecord(line, 0, row) for line, row in enumerate(values, start=1)]
    return plan_replacement(read_departments(records), stored, max_nodes)


def count_nodes(
    departments: Collection[PlacedDepartment | StoredDepartment],
    stored: dict[int, StoredDepartment],
) -> Counter[int]:
    nodes = Counter(each.parent_department_id for each in departments)
    nodes.update({each: department.member_count for each, department in stored.items()})
    return nodes


def carry_out(
    decided: Replacement, stored: dict[int, StoredDepartment]
) -> dict[int, PlacedDepartment | StoredDepartment]:
    after: dict[int, PlacedDepartment | StoredDepartment] = dict(stored)
    for department_id in decided.removed_ids:
        below = [each for each in after.values() if each.parent_department_id == department_id]
        left = {each.department_id for each in decided.updated}
        assert all(each.department_id in left for each in below), "what has children is deleted"
        del after[department_id]
    for department in decided.added:
        assert department.department_id not in after
        after[department.department_id] = department
    for department in decided.updated:
        after[department.department_id] = department
    return after


@given(rows=ROWS, stored=trees())
def test_whatever_the_file_has_the_tree_is_right(
    rows: list[tuple[str, int, int, str]], stored: dict[int, StoredDepartment]
) -> None:
    decided = plan(rows, stored)

    after = carry_out(decided, stored)
    for department in after.values():
        if department.department_id == 1:
            assert department.path == ""
            continue
        parent = after[department.parent_department_id]
        prefix = f"{parent.path}/" if parent.path else ""
        assert department.path == prefix + department.name
        assert len(department.path.split("/")) <= MAX_LEVELS
    assert len({department.path for department in after.values()}) == len(after)
    kept = {each for each, department in stored.items() if department.has_members}
    assert kept <= after.keys()


@given(rows=ROWS, stored=trees(), max_nodes=st.integers(1, 4))
def test_no_department_gets_more_nodes_than_there_may_be(
    rows: list[tuple[str, int, int, str]], stored: dict[int, StoredDepartment], max_nodes: int
) -> None:
    """A department that has too many already gets no more."""
    decided = plan(rows, stored, max_nodes)

    before = count_nodes(stored.values(), stored)
    after = count_nodes(carry_out(decided, stored).values(), stored)
    assert all(count <= max(max_nodes, before[each]) for each, count in after.items())


def test_last_rows_give_way_to_members_and_to_earlier_rows() -> None:
    """What is full is told at the rows that would be too many, and the others go in."""
    stored = {
        1: StoredDepartment(1, "Corp", 0, 0, "", False),
        2: StoredDepartment(2, "East", 1, 0, "East", True, member_count=2),
        3: StoredDepartment(3, "Old", 2, 0, "East/Old", False),
    }
    rows = [("East", 2, 1, ""), ("First", 4, 2, ""), ("Second", 5, 2, ""), ("Old", 3, 2, "")]

    decided = plan(rows, stored, max_nodes=4)

    assert decided.errors == [(4, "parent_id", "has 4 members and departments already")]
    assert [each.department_id for each in decided.added] == [4]


@given(rows=ROWS, stored=trees())
def test_every_row_is_carried_out_or_refused(
    rows: list[tuple[str, int, int, str]], stored: dict[int, StoredDepartment]
) -> None:
    decided = plan(rows, stored)

    refused_lines = {error.line for error in decided.errors}
    after = carry_out(decided, stored)
    assert decided.refused == len(refused_lines)
    for line, (name, department_id, parent_id, _) in enumerate(rows, start=2):
        if line not in refused_lines:
            department = after[department_id]
            assert (department.name, department.parent_department_id) == (name, parent_id)


@given(stored=trees())
def test_file_of_the_tree_as_it_is_changes_nothing(stored: dict[int, StoredDepartment]) -> None:
    rows = [
        (each.name, each.department_id, each.parent_department_id, "")
        for each in stored.values()
        if each.department_id != 1
    ]

    decided = plan(rows, stored)

    assert (decided.added, decided.updated, decided.removed_ids, decided.errors) == ([], [], [], [])
    assert decided.unchanged == len(rows)


@given(rows=ROWS, stored=trees())
def test_same_file_again_changes_nothing_more(
    rows: list[tuple[str, int, int, str]], stored: dict[int, StoredDepartment]
) -> None:
    first = plan(rows, stored)
    if first.errors:
        return
    after = {
        each: StoredDepartment(
            each,
            department.name,
            department.parent_department_id,
            department.order,
            department.path,
            each in stored and stored[each].has_members,
        )
        for each, department in carry_out(first, stored).items()
    }

    again = plan(rows, after)

    assert (again.added, again.updated, again.errors) == ([], [], [])
