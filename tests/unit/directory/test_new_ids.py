"""Which ids are made for departments and tags."""

import pytest

from tieline.chassis.errors import FailedPreconditionError
from tieline.directory.new_ids import FAR_AHEAD, may_meet_given, pick_ids


def test_made_ids_are_the_next_ones_that_nobody_was_given() -> None:
    assert pick_ids(5, 3, {6, 7, 9}, limit="tag_ids", maximum=10) == [5, 8, 10]
    assert pick_ids(5, 0, (), limit="tag_ids", maximum=10) == []


def test_no_id_is_made_beyond_the_greatest() -> None:
    with pytest.raises(FailedPreconditionError) as raised:
        pick_ids(9, 2, {10}, limit="tag_ids", maximum=10)

    assert raised.value.reason == "LIMIT_REACHED"


@pytest.mark.parametrize(("number", "may_meet"), [(1, False), (2, True)])
def test_ids_from_the_first_far_one_on_may_be_somebodys(number: int, may_meet: bool) -> None:
    assert may_meet_given(FAR_AHEAD - 1, number) is may_meet
