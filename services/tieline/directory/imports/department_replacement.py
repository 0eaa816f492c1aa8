"""The replacement of a corp's departments by a file's: the tree that comes of it. Pure.

The tree is first taken as the file has it. Then rows whose department can't be there are refused
and their departments put back to where they were, until the tree is right; what was there is right,
so this ends.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tieline.directory.departments.rules import (
    MAX_DEPARTMENTS,
    MAX_LEVELS,
    MAX_NODES,
    MAX_PATH_CHARACTERS,
    ROOT_DEPARTMENT_ID,
    ROOT_PATH,
)
from tieline.directory.imports.department_rows import DepartmentFile, DepartmentRow
from tieline.directory.imports.member_rows import RowError

# Level of a department that no way leads to from the root.
_NOWHERE = -1


class StoredDepartment(NamedTuple):
    """What a replacement must know of a department that is there."""

    department_id: int
    name: str
    parent_department_id: int
    order: int
    path: str
    has_members: bool
    member_count: int = 0
    """Those of departments below not counted."""

    name_en: str = ""
    leaders: tuple[str, ...] = ()


class PlacedDepartment(NamedTuple):
    """A department as the replacement leaves it."""

    department_id: int
    name: str
    parent_department_id: int
    order: int
    path: str
    ancestor_ids: tuple[int, ...]
    name_en: str
    leaders: tuple[str, ...]


@dataclass(slots=True)
class Replacement:
    """What to write."""

    added: list[PlacedDepartment] = field(default_factory=list)
    """Parents first."""

    updated: list[PlacedDepartment] = field(default_factory=list)
    """Renamed, moved, reordered or led by others, themselves or some above them."""

    leaders: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """Of the departments whose leaders, or their order, are others than before."""

    removed_ids: list[int] = field(default_factory=list)
    """Children first."""

    errors: list[RowError] = field(default_factory=list)
    refused: int = 0
    unchanged: int = 0
    """Rows whose department was as they have it."""


class _Node(NamedTuple):
    name: str
    parent_id: int
    order: int
    line: int
    """0 for a department that is as it was."""

    name_en: str
    leaders: tuple[str, ...]


def plan_replacement(
    file: DepartmentFile, stored: Mapping[int, StoredDepartment], max_nodes: int = MAX_NODES
) -> Replacement:
    """Return how the departments come to be as the file has them.

    ``max_nodes`` is how many members and departments there may be directly in a department.
    """
    plan = Replacement(errors=list(file.errors), refused=file.refused)
    tree = _Tree(file, stored, max_nodes)
    while refusals := tree.find_refusals():
        for line, (column, reason) in refusals.items():
            plan.errors.append(RowError(line, column, reason))
            plan.refused += 1
        tree.put_back(refusals.keys())
    placed = tree.place()
    removed = stored.keys() - placed.keys()
    plan.removed_ids = sorted(removed, key=lambda each: stored[each].path.count("/"), reverse=True)
    for department in placed.values():
        before = stored.get(department.department_id)
        if before is None:
            plan.added.append(department)
        elif _differs(department, before):
            plan.updated.append(department)
            if department.leaders != before.leaders:
                plan.leaders[department.department_id] = department.leaders
    plan.unchanged = len(file.rows) - (plan.refused - file.refused) - len(plan.added)
    plan.unchanged -= sum(each.department_id in tree.lines for each in plan.updated)
    plan.errors.sort(key=lambda error: error.line)
    return plan


def _differs(department: PlacedDepartment, before: StoredDepartment) -> bool:
    return (
        department.name != before.name
        or department.parent_department_id != before.parent_department_id
        or department.order != before.order
        or department.path != before.path
        or department.name_en != before.name_en
        or department.leaders != before.leaders
    )


class _Tree:
    """The departments as they are to be, as far as is known."""

    def __init__(
        self, file: DepartmentFile, stored: Mapping[int, StoredDepartment], max_nodes: int
    ) -> None:
        self._stored = stored
        self._max_nodes = max_nodes
        self._named_ids = file.named_ids
        self._nodes = {each: _to_node(department) for each, department in stored.items()}
        for row in file.rows:
            self._nodes[row.department_id] = _row_to_node(row, stored.get(row.department_id))
        self._remove_what_is_empty()

    @property
    def lines(self) -> set[int]:
        """The ids of the departments that are as a row has them."""
        return {each for each, node in self._nodes.items() if node.line}

    def put_back(self, lines: Collection[int]) -> None:
        """Have the departments of these rows be as they were, or not at all."""
        for each, node in list(self._nodes.items()):
            if node.line in lines and node.line:
                before = self._stored.get(each)
                if before is None:
                    del self._nodes[each]
                else:
                    self._nodes[each] = _to_node(before)
        # Above those that were put back, what was to go must stay.
        for each in list(self._nodes):
            self._restore_above(each)

    def find_refusals(self) -> dict[int, tuple[str, str]]:
        """Return the lines of rows that can't be, with the column and the reason of each."""
        refusals: dict[int, tuple[str, str]] = {}
        levels: dict[int, int] = {ROOT_DEPARTMENT_ID: 0}
        lengths: dict[int, int] = {ROOT_DEPARTMENT_ID: -1}
        for each in self._nodes:
            self._walk_up(each, levels, lengths, refusals)
        if refusals:
            return refusals
        self._find_too_deep(levels, lengths, refusals)
        self._find_same_names(refusals)
        self._find_too_many(refusals)
        self._find_overfull(refusals)
        return refusals

    def place(self) -> dict[int, PlacedDepartment]:
        """Return all departments with their paths, parents first. The tree must be right."""
        root = self._nodes[ROOT_DEPARTMENT_ID]
        placed = {
            ROOT_DEPARTMENT_ID: PlacedDepartment(
                *(ROOT_DEPARTMENT_ID, root.name, 0, root.order, ROOT_PATH, (ROOT_DEPARTMENT_ID,)),
                *(root.name_en, root.leaders),
            )
        }
        children = self._children()
        waiting = [ROOT_DEPARTMENT_ID]
        for parent_id in waiting:
            parent = placed[parent_id]
            for each in children[parent_id]:
                node = self._nodes[each]
                path = f"{parent.path}/{node.name}" if parent.path else node.name
                placed[each] = PlacedDepartment(
                    *(each, node.name, parent_id, node.order, path, (*parent.ancestor_ids, each)),
                    *(node.name_en, node.leaders),
                )
                waiting.append(each)
        return placed

    def _remove_what_is_empty(self) -> None:
        """Drop departments that the file does not name, from the leaves on, unless in use."""
        child_counts = Counter(node.parent_id for node in self._nodes.values())
        waiting = [
            each
            for each in self._nodes
            if each not in self._named_ids and each != ROOT_DEPARTMENT_ID
        ]
        while waiting:
            each = waiting.pop()
            if each not in self._nodes or child_counts[each] or self._stored[each].has_members:
                continue
            parent_id = self._nodes.pop(each).parent_id
            child_counts[parent_id] -= 1
            if parent_id not in self._named_ids and parent_id != ROOT_DEPARTMENT_ID:
                waiting.append(parent_id)

    def _restore_above(self, each: int) -> None:
        parent_id = self._nodes[each].parent_id
        while parent_id and parent_id not in self._nodes and parent_id in self._stored:
            self._nodes[parent_id] = _to_node(self._stored[parent_id])
            parent_id = self._nodes[parent_id].parent_id

    def _walk_up(
        self,
        start: int,
        levels: dict[int, int],
        lengths: dict[int, int],
        refusals: dict[int, tuple[str, str]],
    ) -> None:
        """Find the level of a department and of those above it, or why it has none."""
        way: dict[int, None] = {}
        each = start
        while each not in levels:
            if each in way or self._nodes[each].parent_id not in self._nodes:
                self._refuse_way(list(way), each, refusals)
                # Whoever comes by here again has been judged already.
                levels |= dict.fromkeys((*way, each), _NOWHERE)
                return
            way[each] = None
            each = self._nodes[each].parent_id
        for member in reversed(way):
            parent_id = self._nodes[member].parent_id
            is_nowhere = levels[parent_id] == _NOWHERE
            if is_nowhere and member not in self._stored:
                self._refuse(member, "parent_id", "is below a department that is refused", refusals)
            levels[member] = _NOWHERE if is_nowhere else levels[parent_id] + 1
            lengths[member] = lengths.get(parent_id, 0) + 1 + len(self._nodes[member].name)

    def _refuse_way(
        self, way: Sequence[int], end: int, refusals: dict[int, tuple[str, str]]
    ) -> None:
        if end in way:
            # Of a circle every moved department is put back: as they were there was none.
            for member in way[way.index(end) :]:
                before = self._stored.get(member)
                if before is None or before.parent_department_id != self._nodes[member].parent_id:
                    self._refuse(member, "parent_id", "lies below this department", refusals)
            return
        self._refuse(end, "parent_id", "is no department", refusals)
        below = end
        for member in reversed(way):
            if below in self._stored:
                return
            self._refuse(member, "parent_id", "is below a department that is refused", refusals)
            below = member

    def _find_too_deep(
        self,
        levels: Mapping[int, int],
        lengths: Mapping[int, int],
        refusals: dict[int, tuple[str, str]],
    ) -> None:
        for each in self._nodes:
            if levels[each] > MAX_LEVELS:
                reason = f"is too deep: there may be {MAX_LEVELS} levels"
                self._refuse_nearest(each, "parent_id", reason, refusals)
            elif lengths[each] > MAX_PATH_CHARACTERS:
                reason = f"makes a path of more than {MAX_PATH_CHARACTERS} characters"
                self._refuse_nearest(each, "name", reason, refusals)

    def _find_same_names(self, refusals: dict[int, tuple[str, str]]) -> None:
        taken: dict[tuple[int, str], int] = {}
        # Departments as they were come first: a row gives way to them, and to earlier rows.
        for each, node in sorted(self._nodes.items(), key=lambda item: item[1].line):
            other = taken.setdefault((node.parent_id, node.name), each)
            if other != each:
                self._refuse(each, "name", f"is the name of its sibling {other}", refusals)

    def _find_too_many(self, refusals: dict[int, tuple[str, str]]) -> None:
        excess = len(self._nodes) - MAX_DEPARTMENTS
        if excess <= 0:
            return
        new = [(node.line, each) for each, node in self._nodes.items() if each not in self._stored]
        for _, each in sorted(new)[-excess:]:
            reason = f"is one more than the {MAX_DEPARTMENTS} departments that there may be"
            self._refuse(each, "", reason, refusals)

    def _find_overfull(self, refusals: dict[int, tuple[str, str]]) -> None:
        reason = f"has {self._max_nodes} members and departments already"
        for parent_id, children in self._children().items():
            members = self._stored[parent_id].member_count if parent_id in self._stored else 0
            excess = len(children) + members - self._max_nodes
            if excess <= 0:
                continue
            # Who was there already stays; of the others the last rows give way.
            joined = sorted(
                (self._nodes[each].line, each)
                for each in children
                if each not in self._stored or self._stored[each].parent_department_id != parent_id
            )
            for _, each in joined[-excess:]:
                self._refuse(each, "parent_id", reason, refusals)

    def _refuse(
        self, each: int, column: str, reason: str, refusals: dict[int, tuple[str, str]]
    ) -> None:
        line = self._nodes[each].line
        if line:
            refusals.setdefault(line, (column, reason))

    def _refuse_nearest(
        self, each: int, column: str, reason: str, refusals: dict[int, tuple[str, str]]
    ) -> None:
        """Refuse the row of the department, or of the first one above it that has a row."""
        while not self._nodes[each].line and each != ROOT_DEPARTMENT_ID:
            each = self._nodes[each].parent_id
        self._refuse(each, column, reason, refusals)

    def _children(self) -> Mapping[int, Sequence[int]]:
        children: defaultdict[int, list[int]] = defaultdict(list)
        for each, node in self._nodes.items():
            children[node.parent_id].append(each)
        return children


def _to_node(department: StoredDepartment) -> _Node:
    return _Node(
        *(department.name, department.parent_department_id, department.order, 0),
        *(department.name_en, department.leaders),
    )


def _row_to_node(row: DepartmentRow, before: StoredDepartment | None) -> _Node:
    order = row.order or (0 if before is None else before.order)
    name_en, leaders = row.name_en, row.leaders
    if name_en is None:
        name_en = "" if before is None else before.name_en
    if leaders is None:
        leaders = () if before is None else before.leaders
    return _Node(row.name, row.parent_department_id, order, row.line, name_en, leaders)
