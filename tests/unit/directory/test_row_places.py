"""Where a row of a file puts a member who was somewhere before."""

import pytest

from tieline.directory.imports.member_rows import MemberRow
from tieline.directory.imports.row_places import Place, plan_places

IDS = {"East": 2, "South": 3, "Shop": 4}
EAST: Place = (2, 7, True)
SOUTH: Place = (3, 5, True)


@pytest.mark.parametrize(
    ("before", "unseen", "after"),
    [
        pytest.param((EAST, SOUTH), {}, [EAST, (4, 0, False)], id="what is not named goes"),
        pytest.param(
            (EAST, SOUTH), {3: "South"}, [EAST, (4, 0, False), SOUTH], id="what is unseen stays"
        ),
        pytest.param(
            (SOUTH, EAST), {3: "South"}, [SOUTH, EAST, (4, 0, False)], id="and the main one main"
        ),
    ],
)
def test_row_replaces_the_places_that_its_author_sees(
    before: tuple[Place, ...], unseen: dict[int, str], after: list[Place]
) -> None:
    row = MemberRow(2, "a", (), ("East", "Shop"))

    assert plan_places(row, before, IDS, unseen).to_places(IDS) == after
