"""A client's copy of a corp's directory, kept by the feed of changes as the docs say."""

from collections.abc import Iterable

from fakes.directory_writes import State
from tieline.api.directory.v1 import change_pb2, directory_pb2


class DirectoryCopy:
    """Applies changes in their order; knows nothing else."""

    def __init__(self) -> None:
        self.departments: dict[int, directory_pb2.Department] = {}
        self.members: dict[str, directory_pb2.Member] = {}
        self.tags: dict[int, directory_pb2.Tag] = {}
        self.tag_members: set[tuple[int, str]] = set()
        self.tag_departments: set[tuple[int, int]] = set()

    @property
    def state(self) -> State:
        """Return what a Writer can read of it from the tables."""
        return (
            {id_: (each.name, each.parent_department_id) for id_, each in self.departments.items()},
            {id_: (each.name, each.department_id) for id_, each in self.members.items()},
            {id_: each.name for id_, each in self.tags.items()},
            self.tag_members,
            self.tag_departments,
        )

    def apply(self, changes: Iterable[change_pb2.Change]) -> None:
        for change in changes:
            self._apply(change)

    def _apply(self, change: change_pb2.Change) -> None:
        match change.WhichOneof("resource"):
            case "department":
                self.departments[change.department.department_id] = change.department
            case "member":
                self.members[change.member.user_id] = change.member
            case "tag":
                self.tags[change.tag.tag_id] = change.tag
            case "tag_member":
                self.tag_members.add((change.tag_member.tag_id, change.tag_member.user_id))
            case "tag_department":
                on = change.tag_department
                self.tag_departments.add((on.tag_id, on.department_id))
            case "removal":
                self._remove(change.removal)
            case _:
                raise AssertionError(f"no resource in {change}")

    def _remove(self, removal: change_pb2.Removal) -> None:
        match removal.WhichOneof("resource"):
            case "department_id":
                self.departments.pop(removal.department_id, None)
                self.tag_departments = {
                    each for each in self.tag_departments if each[1] != removal.department_id
                }
            case "user_id":
                self.members.pop(removal.user_id, None)
                self.tag_members = {each for each in self.tag_members if each[1] != removal.user_id}
            case "tag_id":
                self.tags.pop(removal.tag_id, None)
                self.tag_members = {each for each in self.tag_members if each[0] != removal.tag_id}
                self.tag_departments = {
                    each for each in self.tag_departments if each[0] != removal.tag_id
                }
            case "tag_member":
                self.tag_members.discard((removal.tag_member.tag_id, removal.tag_member.user_id))
            case "tag_department":
                on = removal.tag_department
                self.tag_departments.discard((on.tag_id, on.department_id))
            case _:
                raise AssertionError(f"nothing removed in {removal}")
