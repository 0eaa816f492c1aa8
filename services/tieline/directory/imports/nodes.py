"""The departments that an import comes by: their ids, and how many are in each. No I/O.

A department has at most MAX_NODES members and departments. Counting them anew for every batch would
cost more than the batch, and looking paths up a tenth of it, so what is known is carried on for as
long as nobody else writes the corp.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from tieline.directory.departments.rules import MAX_NODES, NewDepartment
from tieline.directory.imports.batch_builder import BATCH_RECORDS
from tieline.directory.imports.batches import PlannedMember
from tieline.directory.limits import check_limit


class KnownDepartments:
    """The ids of one import's departments by path."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._known_at: int | None = None

    def begin(self, last_change_number: int) -> None:
        """Forget what is known if the corp has changed since."""
        if self._known_at != last_change_number:
            self._ids.clear()

    def list_unknown(self, paths: Iterable[str]) -> list[str]:
        """Return those that must be looked up: the ones that are not there yet each time."""
        return [path for path in paths if path not in self._ids]

    def pick(self, paths: Iterable[str]) -> dict[str, int]:
        """Return the ids of those that are known."""
        return {path: self._ids[path] for path in paths if path in self._ids}

    def note(self, found: Mapping[str, int]) -> None:
        """Take in what was looked up."""
        self._ids.update(found)

    def finish(self, last_change_number: int, made: Iterable[NewDepartment]) -> None:
        """Note the corp's last number after the batch, and what the batch has made."""
        self._known_at = last_change_number
        self._ids.update((each.path, each.department_id) for each in made)


class NodeCounts:
    """The counts of one import."""

    def __init__(self, maximum: int = MAX_NODES) -> None:
        self._maximum = maximum
        self._counts: dict[int, int] = {}
        self._counted_at: int | None = None

    def begin(self, last_change_number: int) -> None:
        """Forget what was counted if the corp has changed since."""
        if self._counted_at != last_change_number:
            self._counts.clear()

    def list_unknown(self, department_ids: Iterable[int]) -> list[int]:
        """Return those that must be counted."""
        return [each for each in department_ids if each not in self._counts]

    def note(self, counted: Mapping[int, int]) -> None:
        """Take in what was counted."""
        self._counts.update(counted)

    def list_rooms(self, department_ids: Mapping[str, int]) -> dict[str, int]:
        """Return how many more fit, by path, where a batch could be too many."""
        rooms = {
            path: self._maximum - self._counts.get(department_id, 0)
            for path, department_id in department_ids.items()
        }
        return {path: room for path, room in rooms.items() if room < BATCH_RECORDS}

    def add(
        self,
        members: Sequence[PlannedMember],
        new: Sequence[NewDepartment],
        department_ids: Mapping[str, int],
    ) -> None:
        """Count what a batch changes; FailedPreconditionError where departments are too many.

        Departments that are neither counted nor new stay uncounted: a later batch's rows name them.
        """
        added = Counter(department_ids[path] for member in members for path in member.departments)
        stored = (member.before for member in members if member.before is not None)
        added.subtract(place[0] for before in stored for place in before.places)
        for department in new:
            added[department.parent_department_id] += 1
        self._counts.update((department.department_id, 0) for department in new)
        for department_id in added.keys() & self._counts.keys():
            self._counts[department_id] += added[department_id]
        for department in new:
            count = self._counts[department.parent_department_id]
            check_limit(count, "nodes_of_a_department", self._maximum)

    def finish(self, last_change_number: int) -> None:
        """Note the corp's last number after the batch."""
        self._counted_at = last_change_number
