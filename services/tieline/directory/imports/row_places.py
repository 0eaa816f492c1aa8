"""Where a row puts a member: its own departments, and those that it can't speak of. Pure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tieline.directory.imports.member_rows import MemberRow

Place = tuple[int, int, bool]
"""Department id, place in its list, whether the member leads it."""


class RowPlaces(NamedTuple):
    """The departments of a member as a row leaves them, the main one first."""

    paths: tuple[str, ...]
    orders: tuple[int, ...]
    leaders: tuple[bool, ...]

    def to_places(self, department_ids: Mapping[str, int]) -> list[Place]:
        """Return them with ids; 0, which is no department's, for one that is still to be made."""
        ids = [department_ids.get(path, 0) for path in self.paths]
        return list(zip(ids, self.orders, self.leaders, strict=True))


def plan_places(
    row: MemberRow,
    before: Sequence[Place],
    department_ids: Mapping[str, int],
    unseen: Mapping[int, str],
) -> RowPlaces:
    """Return the places of a stored member after the row.

    Those in ``unseen``, paths by id, stay as they are: the file's author is not shown them and
    could not name them. So does the main department among them.
    """
    known = {place[0]: place for place in before}
    ids = [department_ids.get(path, 0) for path in row.departments]
    orders = row.orders or tuple(known.get(each, (0, 0))[1] for each in ids)
    leaders = row.leaders or tuple(known[each][2] if each in known else False for each in ids)
    planned = RowPlaces(row.departments, orders, leaders)
    kept = [place for place in before if place[0] in unseen]
    if not kept:
        return planned
    held = RowPlaces(
        tuple(unseen[place[0]] for place in kept),
        tuple(place[1] for place in kept),
        tuple(place[2] for place in kept),
    )
    return _join(held, planned) if kept[0] == before[0] else _join(planned, held)


def _join(first: RowPlaces, second: RowPlaces) -> RowPlaces:
    return RowPlaces(
        first.paths + second.paths, first.orders + second.orders, first.leaders + second.leaders
    )
