"""The ids that departments and tags get which are made without one. Pure.

They are in order, above every one that was made or given before, so that none is given twice. An id
that a caller gives far ahead is passed over instead: a single one of 2**31 - 1 would leave none.
"""

from collections.abc import Collection
from itertools import count, islice

from tieline.directory.limits import check_limit

# Half of all ids, so that as many are left behind whatever was given.
FAR_AHEAD = 2**30


def is_far_ahead(given_id: int) -> bool:
    """Tell whether the ids that are made later stay below this one."""
    return given_id >= FAR_AHEAD


def may_meet_given(next_id: int, number: int) -> bool:
    """Tell whether any of so many ids from the next one on may be somebody's already."""
    return is_far_ahead(next_id + number - 1)


def pick_ids(
    next_id: int, number: int, given: Collection[int], *, limit: str, maximum: int
) -> list[int]:
    """Return the next ids but for those that were given; LIMIT_REACHED where there are too few."""
    ids = list(islice((each for each in count(next_id) if each not in given), number))
    check_limit(max(ids, default=0), limit, maximum)
    return ids
