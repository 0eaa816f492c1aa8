"""Where a department may be, and what a move does to all below it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.department_model import DEEP_CHAIN, OPERATIONS, ROOT, Create, Model, Operation
from fakes.department_model import Place as Put
from tieline.chassis.errors import FailedPreconditionError
from tieline.directory.departments.tree import Extent, Place, plan_place

ROOT_PLACE = Place("", (ROOT,))


def _move_below(place: Place, old_top: Place, new_top: Place) -> Place:
    """Do to one place below what the repository's statement does to all."""
    return Place(
        new_top.path + place.path[len(old_top.path) :],
        new_top.ancestor_ids + place.ancestor_ids[len(old_top.ancestor_ids) :],
    )


class Tree:
    """Keeps places as the directory does: planned once, and rewritten when something moves."""

    def __init__(self) -> None:
        self.places = {ROOT: ROOT_PLACE}

    def create(self, department_id: int, parent: int, name: str) -> str:
        return self._put(department_id, parent, name, ROOT_PLACE)

    def place(self, department_id: int, parent: int, name: str) -> str:
        return self._put(department_id, parent, name, self.places[department_id])

    def _put(self, department_id: int, parent: int, name: str, old: Place) -> str:
        below = [id_ for id_, at in self.places.items() if department_id in at.ancestor_ids]
        extent = Extent(
            max((self.places[id_].level - old.level for id_ in below), default=0),
            max((len(self.places[id_].path) - len(old.path) for id_ in below), default=0),
        )
        try:
            new = plan_place(department_id, name, self.places[parent], extent)
        except FailedPreconditionError as error:
            return error.reason
        if any(at.path == new.path for id_, at in self.places.items() if id_ != department_id):
            return "DEPARTMENT_EXISTS"
        self.places |= {id_: _move_below(self.places[id_], old, new) for id_ in below}
        self.places[department_id] = new
        return ""


def run(tree: Tree, model: Model, operation: Operation) -> tuple[str, str]:
    """Apply the operation to both, where both could; return both reasons."""
    next_id, known = model.next_id, {ROOT, *model.nodes}
    reason = model.apply(operation)
    match operation:
        case Create(parent, name) if parent in known:
            return reason, tree.create(next_id, parent, name)
        case Put(department, parent, name) if {department, parent} <= known and department != ROOT:
            return reason, tree.place(department, parent, name)
        case _:
            if not reason:
                tree.places.pop(operation[0])
            return reason, reason


@given(operations=OPERATIONS, start=st.sampled_from([[], DEEP_CHAIN]))
def test_places_are_those_of_a_tree_that_is_walked_anew(
    operations: list[Operation], start: list[Operation]
) -> None:
    tree, model = Tree(), Model()

    for operation in [*start, *operations]:
        expected, actual = run(tree, model, operation)

        assert actual == expected
        assert tree.places.keys() == {ROOT, *model.nodes}
        for department_id, place in tree.places.items():
            assert list(place.ancestor_ids) == model.ancestors(department_id)
            assert place.path == model.path(department_id)


@pytest.mark.parametrize(
    ("levels", "reason"), [(15, ""), (16, "DEPARTMENT_TOO_DEEP")], ids=["15 levels", "16 levels"]
)
def test_what_lies_below_counts_among_the_levels(levels: int, reason: str) -> None:
    parent = Place("p/q", (ROOT, 2, 3))

    assert reason_of(parent, Extent(levels - 3, 0)) == reason


@pytest.mark.parametrize(
    ("length", "reason"),
    [(512, ""), (513, "DEPARTMENT_TOO_DEEP")],
    ids=["512 characters", "513 characters"],
)
def test_what_lies_below_counts_in_the_length_of_the_path(length: int, reason: str) -> None:
    parent = Place("p", (ROOT, 2))

    assert reason_of(parent, Extent(1, length - len("p/x"))) == reason


def reason_of(parent: Place, extent: Extent) -> str:
    try:
        plan_place(9, "x", parent, extent)
    except FailedPreconditionError as error:
        return error.reason
    return ""
