"""A tree of departments as simple as can be: names and parents, all else worked out anew.

What the directory keeps (paths, ancestors) this computes by walking up; what it refuses, this
refuses by looking at the tree that would come to be.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from hypothesis import strategies as st

ROOT = 1
MAX_LEVELS = 15
MAX_PATH_CHARACTERS = 512


class Create(NamedTuple):
    parent: int
    name: str


class Place(NamedTuple):
    """Move a department under a parent, by a name."""

    department: int
    parent: int
    name: str


class Delete(NamedTuple):
    department: int


Operation = Create | Place | Delete

# Two are so long that a few of them make a path that is too long.
NAMES = st.sampled_from(["a", "b", "c", "y" * 40, "z" * 64])

# Among the last made or all there are; many are gone or were never made.
IDS = st.integers(min_value=1, max_value=24)

OPERATIONS = st.lists(
    st.one_of(
        st.builds(Create, IDS, NAMES),
        st.builds(Create, IDS, NAMES),
        st.builds(Place, IDS, IDS, NAMES),
        st.builds(Delete, IDS),
    ),
    max_size=40,
)

# A chain down to the limit, at which the operations then go on.
DEEP_CHAIN: list[Operation] = [Create(level, "d") for level in range(1, 15)]


@dataclass
class Model:
    """The tree."""

    nodes: dict[int, tuple[str, int]] = field(default_factory=dict)
    """Name and parent by id, without the root."""

    next_id: int = 2

    def path(self, department: int) -> str:
        return "/".join(self.nodes[id_][0] for id_ in self.ancestors(department)[1:])

    def ancestors(self, department: int) -> list[int]:
        """Return the ids from the root down to the department."""
        found = [department]
        while found[0] != ROOT:
            found.insert(0, self.nodes[found[0]][1])
        return found

    def exists(self, department: int) -> bool:
        return department == ROOT or department in self.nodes

    def apply(self, operation: Operation) -> str:
        """Carry the operation out, or return the reason for which it is refused."""
        match operation:
            case Create(parent, name):
                return self._create(parent, name)
            case Place(department, parent, name):
                return self._place(department, parent, name)
            case Delete(department):
                return self._delete(department)

    def _create(self, parent: int, name: str) -> str:
        if not self.exists(parent):
            return "DEPARTMENT_NOT_FOUND"
        reason = self._refuse_if_wrong({**self.nodes, self.next_id: (name, parent)})
        if not reason:
            self.nodes[self.next_id] = (name, parent)
            self.next_id += 1
        return reason

    def _place(self, department: int, parent: int, name: str) -> str:
        if not self.exists(department):
            return "DEPARTMENT_NOT_FOUND"
        if department == ROOT:
            return "ROOT_DEPARTMENT"
        if not self.exists(parent):
            return "DEPARTMENT_NOT_FOUND"
        if department in self.ancestors(parent):
            return "DEPARTMENT_CYCLE"
        reason = self._refuse_if_wrong({**self.nodes, department: (name, parent)})
        if not reason:
            self.nodes[department] = (name, parent)
        return reason

    def _delete(self, department: int) -> str:
        if not self.exists(department):
            return "DEPARTMENT_NOT_FOUND"
        if department == ROOT:
            return "ROOT_DEPARTMENT"
        if any(parent == department for _, parent in self.nodes.values()):
            return "DEPARTMENT_HAS_CHILDREN"
        del self.nodes[department]
        return ""

    def _refuse_if_wrong(self, nodes: dict[int, tuple[str, int]]) -> str:
        after = Model(nodes)
        if any(len(after.ancestors(id_)) - 1 > MAX_LEVELS for id_ in nodes):
            return "DEPARTMENT_TOO_DEEP"
        if any(len(after.path(id_)) > MAX_PATH_CHARACTERS for id_ in nodes):
            return "DEPARTMENT_TOO_DEEP"
        if len({after.path(id_) for id_ in nodes}) < len(nodes):
            return "DEPARTMENT_EXISTS"
        return ""
