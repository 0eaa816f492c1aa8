"""An import knows how full each department is, without counting it for every batch."""

import pytest

from tieline.chassis.errors import FailedPreconditionError
from tieline.directory.departments.rules import NewDepartment
from tieline.directory.imports.batch_builder import BATCH_RECORDS
from tieline.directory.imports.batches import PlannedMember, StoredMember
from tieline.directory.imports.columns import FIELD_COLUMNS
from tieline.directory.imports.nodes import KnownDepartments, NodeCounts

IDS = {"": 1, "East": 2, "South": 3}
FIELDS = ("",) * len(FIELD_COLUMNS)


def member(user_id: str, *paths: str, before: tuple[int, ...] = ()) -> PlannedMember:
    places = tuple((each, 0, False) for each in before)
    stored = StoredMember(user_id, FIELDS, places, {}, "active", "", 0) if before else None
    zeros = (0,) * len(paths)
    return PlannedMember(2, user_id, FIELDS, paths, zeros, (False,) * len(paths), {}, stored, True)


def counts(maximum: int, **by_path: int) -> NodeCounts:
    nodes = NodeCounts(maximum)
    nodes.begin(5)
    nodes.note({IDS[path]: count for path, count in by_path.items()})
    return nodes


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        pytest.param(0, {}, id="a batch fits"),
        pytest.param(1, {"East": BATCH_RECORDS - 1}, id="a batch may be one too many"),
        pytest.param(BATCH_RECORDS, {"East": 0}, id="full"),
    ],
)
def test_room_matters_where_a_batch_may_not_fit(count: int, expected: dict[str, int]) -> None:
    nodes = counts(BATCH_RECORDS, East=count)

    assert nodes.list_rooms({"East": 2}) == expected


def test_batches_are_counted_as_they_leave_the_departments() -> None:
    nodes = counts(10, East=4, South=4)

    nodes.add(
        [
            member("new", "East"),
            member("moved", "South", before=(2,)),
            member("both", "East", "South", before=(2,)),
        ],
        [NewDepartment(9, 3, "Below", "South/Below", (1, 3, 9))],
        IDS | {"South/Below": 9},
    )

    # One came and one went; two came, with a department.
    assert nodes.list_rooms(IDS) == {"": 10, "East": 6, "South": 3}


def test_department_that_members_only_leave_is_still_to_be_counted() -> None:
    """A new one is not: all that it has came by the import."""
    nodes = counts(10, East=4)
    new = [NewDepartment(9, 2, "Below", "East/Below", (1, 2, 9))]

    nodes.add([member("moved", "East/Below", before=(3,))], new, IDS | {"East/Below": 9})

    assert nodes.list_unknown([2, 3, 9]) == [3]
    assert nodes.list_rooms({"East": 2, "East/Below": 9}) == {"East": 5, "East/Below": 9}


@pytest.mark.parametrize(("count", "fits"), [(2, True), (3, False)])
def test_departments_below_a_full_one_are_refused(count: int, fits: bool) -> None:
    nodes = counts(3, East=count)
    new = [NewDepartment(9, 2, "Below", "East/Below", (1, 2, 9))]
    ids = IDS | {"East/Below": 9}

    if fits:
        nodes.add([], new, ids)
    else:
        with pytest.raises(FailedPreconditionError, match="3 nodes of a department"):
            nodes.add([], new, ids)


@pytest.mark.parametrize(("last", "unknown"), [(7, []), (8, [2])])
def test_what_was_counted_holds_until_somebody_else_writes(last: int, unknown: list[int]) -> None:
    nodes = counts(10, East=4)
    nodes.finish(7)

    nodes.begin(last)

    assert nodes.list_unknown([2]) == unknown


@pytest.mark.parametrize(
    ("number", "unknown"),
    [
        pytest.param(7, ["South"], id="the import's own last change"),
        pytest.param(8, ["East", "East/Store", "South"], id="somebody else has written"),
    ],
)
def test_departments_are_looked_up_once_unless_the_corp_has_changed(
    number: int, unknown: list[str]
) -> None:
    known = KnownDepartments()
    known.begin(5)
    known.note({"East": 2})
    known.finish(7, [NewDepartment(9, 2, "Store", "East/Store", (1, 2, 9))])

    known.begin(number)

    paths = ["East", "East/Store", "South"]
    assert known.list_unknown(paths) == unknown
    assert known.pick(paths) == {
        path: {"East": 2, "East/Store": 9}[path] for path in paths if path not in unknown
    }
