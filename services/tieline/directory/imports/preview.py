"""What a dry run knows and the database does not: the batches before, as if stored. Pure.

Held in memory, some 300 bytes a row; whole files have at most 500,000 rows.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from tieline.directory.departments.rules import NewDepartment
from tieline.directory.imports.batches import (
    DISABLED,
    LEADER_PLACE,
    UNIQUE_PLACES,
    PlannedMember,
    StoredMember,
)
from tieline.directory.imports.member_rows import MemberRow


class Preview:
    """The members and departments of one dry run so far."""

    def __init__(self) -> None:
        # No department has such ids, and none is written.
        self.next_department_id = 2**62
        self.leaders: dict[str, str] = {}
        """Who reports to whom, of the members seen."""

        self._members: dict[str, StoredMember] = {}
        self._department_ids: dict[str, int] = {}
        self._owners: tuple[dict[str, str], ...] = tuple({} for _ in UNIQUE_PLACES)

    async def make_ids(self, number: int) -> Sequence[int]:
        """Return ids for so many departments that a batch would make."""
        return range(self.next_department_id, self.next_department_id + number)

    def find_department_ids(self, paths: Iterable[str]) -> dict[str, int]:
        """Return those of the departments that the dry run would have made, by path."""
        return {path: self._department_ids[path] for path in paths if path in self._department_ids}

    def change(
        self, stored: Collection[StoredMember], rows: Sequence[MemberRow]
    ) -> list[StoredMember]:
        """Return what the rows would find stored, given what they find now."""
        found = {member.user_id: member for member in stored}
        user_ids = {row.user_id for row in rows} | found.keys()
        for place, owners in zip(UNIQUE_PLACES, self._owners, strict=True):
            user_ids |= {
                owners[value.lower()]
                for row in rows
                if (value := row.fields[place]) and value.lower() in owners
            }
        found |= {
            user_id: self._members[user_id] for user_id in user_ids if user_id in self._members
        }
        return list(found.values())

    def note(
        self,
        members: Iterable[PlannedMember],
        department_ids: Mapping[str, int],
        import_id: str,
    ) -> None:
        """Take a batch's members as stored."""
        for member in members:
            ids = [department_ids[path] for path in member.departments]
            before = self._members.get(member.user_id) or member.before
            self._members[member.user_id] = StoredMember(
                member.user_id,
                member.fields,
                tuple(zip(ids, member.orders, member.leaders, strict=True)),
                member.attributes,
                _find_state(member, before),
                import_id,
                member.line,
            )
            self.leaders[member.user_id] = member.fields[LEADER_PLACE]
            for place, owners in zip(UNIQUE_PLACES, self._owners, strict=True):
                if member.fields[place]:
                    owners[member.fields[place].lower()] = member.user_id

    def note_departments(self, departments: Iterable[NewDepartment]) -> None:
        """Take departments as made."""
        for department in departments:
            self._department_ids[department.path] = department.department_id
            self.next_department_id = department.department_id + 1


def _find_state(member: PlannedMember, before: StoredMember | None) -> str:
    if member.is_disabled:
        return DISABLED
    if member.is_added or before is None or before.state == DISABLED:
        return "invited"
    return before.state
