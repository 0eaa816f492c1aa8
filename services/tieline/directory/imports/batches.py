"""An import, batch by batch: what of the file goes into the next transaction. Pure.

Rows take effect in the order of the file: a mobile number that an earlier row gives up is free for
a later one. Within one import each member is written once; the import's id at the stored member
tells, however long ago in the file that was, and costs no memory here.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from types import MappingProxyType
from typing import NamedTuple

from tieline.directory.departments.rules import MAX_NODES
from tieline.directory.imports.batch_builder import Batch
from tieline.directory.imports.columns import FIELD_COLUMNS, STATE
from tieline.directory.imports.member_rows import MemberRow, RowError
from tieline.directory.imports.row_places import Place, plan_places

LEFT = "left"
"""State of a member who is in the corp no more; a row brings such a member back."""

DISABLED = "disabled"
"""State of a member who can't sign in."""

# What one member alone may have, and where it stands in the fields.
UNIQUE_COLUMNS = ("mobile", "email", "biz_email")
UNIQUE_PLACES = tuple(FIELD_COLUMNS.index(name) for name in UNIQUE_COLUMNS)
LEADER_PLACE = FIELD_COLUMNS.index("direct_leader")

# Of a column that a new member's row leaves out.
_NEW_FIELDS = tuple("unknown" if name == "gender" else "" for name in FIELD_COLUMNS)

_NO_LEADER = "is no member yet: import that row first"
_LEADER_CYCLE = "reports, over others or not, to this member"
_TAKEN = "is taken"
_FULL = f"has {MAX_NODES} members and departments already"
_OWNER_STAYS = "can't be disabled: the member owns the corp"
_OUT_OF_RANGE = "must lie in the departments that you administer"
_OTHERS_STAY = "must keep the member's departments that you do not administer as they are"
_MAIN_STAYS = "must begin with the member's main department or one that you administer"
_MEMBER_OUT_OF_RANGE = "is in none of the departments that you administer"

Attributes = Mapping[str, Mapping[str, object]]
"""As they are stored: by name, an object with the kind of the value and the value."""

_NO_VALUES: Attributes = MappingProxyType({})


class StoredMember(NamedTuple):
    """What a batch must know of a member that is already there."""

    user_id: str
    fields: tuple[str, ...]
    """In the order of FIELD_COLUMNS."""

    places: tuple[Place, ...]
    """The main department's first, the others by id."""

    attributes: Attributes
    state: str
    import_id: str
    """The import that wrote the member last."""

    import_line: int
    """And the line of its file."""


class PlannedMember(NamedTuple):
    """A member as the batch leaves it."""

    line: int
    user_id: str
    fields: tuple[str, ...]
    departments: tuple[str, ...]
    """Paths, the main one first; some may still have to be made."""

    orders: tuple[int, ...]
    leaders: tuple[bool, ...]
    attributes: Attributes
    before: StoredMember | None
    """None for one whom the corp never had."""

    is_changed: bool
    """Whether anything differs from ``before``."""

    is_disabled: bool = False

    @property
    def is_added(self) -> bool:
        """Whether the member was not of the corp."""
        return self.before is None or self.before.state == LEFT

    @property
    def was_disabled(self) -> bool:
        """Whether the member could not sign in before."""
        return self.before is not None and self.before.state == DISABLED


@dataclass(slots=True)
class BatchPlan:
    """What to write of a batch, and what to say of the rest."""

    members: list[PlannedMember] = field(default_factory=list)
    """In the order of the file."""

    errors: list[RowError] = field(default_factory=list)
    refused: int = 0

    @property
    def added(self) -> int:
        """How many were not of the corp."""
        return sum(member.is_added for member in self.members)

    @property
    def unchanged(self) -> int:
        """How many were as the file has them."""
        return sum(not member.is_changed for member in self.members)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the rows of a batch are decided against."""

    stored: Sequence[StoredMember]
    """The members that any row names or whose number or address any row gives."""

    department_ids: Mapping[str, int]
    """The departments that exist, by path."""

    leaders: Mapping[str, str] = field(default_factory=dict)
    """Who reports to whom (empty for nobody): all those above whoever a row names as leader."""

    rooms: Mapping[str, int] = field(default_factory=dict)
    """How many more members fit into departments that are nearly full, by path."""

    owner_user_id: str = ""
    """Of the corp, where any row disables somebody."""

    unseen_leaders: Collection[str] = ()
    """Whom rows name as leader and the caller does not see: for the caller they are no members."""

    outside: Mapping[int, str] = field(default_factory=dict)
    """Departments of stored members that the caller sees and does not manage, paths by id."""

    unseen: Mapping[int, str] = field(default_factory=dict)
    """And those that the caller does not see: for the caller the members are in none of them."""

    can_manage_path: Callable[[str], bool] = lambda path: True
    can_manage_member: Callable[[StoredMember], bool] = lambda member: True


def plan_batch(batch: Batch, surroundings: Surroundings, *, import_id: str) -> BatchPlan:
    """Decide each row against what is stored and against the rows before it."""
    plan = BatchPlan([], list(batch.read.errors), batch.read.refused)
    rows = batch.read.rows
    named_user_ids = {row.user_id for row in rows}
    if len(named_user_ids) == len(rows) and _concern_nobody(rows, surroundings):
        plan.members = _build_new(rows)
    else:
        planner = _Planner(plan, surroundings, import_id, named_user_ids, batch.read.column_names)
        for row in rows:
            planner.decide(row)
        planner.drop_those_under_nobody()
    # Stable: the faults of one row stay in the order of the columns.
    plan.errors.sort(key=attrgetter("line"))
    return plan


def _concern_nobody(rows: Sequence[MemberRow], around: Surroundings) -> bool:
    """Tell whether all rows are of new members who have to do with no member, stored or of a row.

    So it is in most batches of a corp's first import. Nothing can be wrong with such rows, and one
    look at each column takes a quarter of what deciding them one after the other takes.
    """
    if around.stored or around.rooms or any(row.fields[LEADER_PLACE] for row in rows):
        return False
    for place in UNIQUE_PLACES:
        values = [value.lower() for row in rows if (value := row.fields[place])]
        if len(set(values)) < len(values):
            return False
    return all(map(around.can_manage_path, {path for row in rows for path in row.departments}))


def _build_new(rows: Sequence[MemberRow]) -> list[PlannedMember]:
    columns = zip(*(row.fields for row in rows), strict=True)
    filled = zip(*map(_fill_column, columns, _NEW_FIELDS), strict=True)
    return [_build_member(row, fields, None) for row, fields in zip(rows, filled, strict=True)]


def _fill_column(values: tuple[str | None, ...], new: str) -> Sequence[str]:
    if None not in values:
        return values  # type: ignore[return-value]  # mypy does not narrow by membership
    return [new if value is None else value for value in values]


def _build_member(
    row: MemberRow, fields: tuple[str, ...], before: StoredMember | None
) -> PlannedMember:
    """Return a member who is not of the corp as the row has it."""
    count = len(row.departments)
    attributes = _NO_VALUES
    if row.attributes:
        attributes = {name: value for name, value in row.attributes if value is not None}
    return PlannedMember(
        row.line, row.user_id, fields, row.departments,
        row.orders or (0,) * count, row.leaders or (False,) * count, attributes, before, True,
        bool(row.is_disabled),
    )  # fmt: skip


class _Planner:
    """Keeps the members as they will be after the rows decided so far."""

    def __init__(
        self,
        plan: BatchPlan,
        surroundings: Surroundings,
        import_id: str,
        named_user_ids: Collection[str],
        column_names: Mapping[str, str],
    ) -> None:
        self._plan = plan
        self._import_id = import_id
        self._column_names = column_names
        self._around = surroundings
        self._named_user_ids = named_user_ids
        self._leaders = dict(surroundings.leaders)
        self._rooms = dict(surroundings.rooms)
        self._members = {member.user_id: member for member in surroundings.stored}
        self._lines: dict[str, int] = {}
        # Whose each number and address is, a mapping for each of UNIQUE_PLACES.
        self._owners: tuple[dict[str, str], ...] = tuple(
            {
                member.fields[place].lower(): member.user_id
                for member in surroundings.stored
                if member.fields[place]
            }
            for place in UNIQUE_PLACES
        )

    def decide(self, row: MemberRow) -> None:
        """Accept or refuse the next row."""
        member = self._members.get(row.user_id)
        errors = self._find_errors(row, member)
        if errors:
            self._plan.errors += errors
            self._plan.refused += 1
            return
        self._lines[row.user_id] = row.line
        if member is not None:
            self._give_up(row, member)
        for place, owners in zip(UNIQUE_PLACES, self._owners, strict=True):
            value = row.fields[place]
            if value:
                owners[value.lower()] = row.user_id
        leader = row.fields[LEADER_PLACE]
        if leader is not None:
            self._leaders[row.user_id] = leader
        if self._rooms:
            for path in self._list_joined(row, member):
                self._rooms[path] -= 1
        self._plan.members.append(self._merge(row, member))

    def drop_those_under_nobody(self) -> None:
        """Refuse whom the file puts under a member of a later row that was refused itself."""
        plan = self._plan
        while True:
            accepted = {member.user_id for member in plan.members}
            lost = [
                member
                for member in plan.members
                if (leader := member.fields[LEADER_PLACE])
                and leader in self._named_user_ids
                and leader not in accepted
                and leader not in self._around.leaders
            ]
            if not lost:
                return
            lines = {member.line for member in lost}
            plan.members = [member for member in plan.members if member.line not in lines]
            plan.refused += len(lost)
            plan.errors += [
                self._error(member.line, "direct_leader", _NO_LEADER) for member in lost
            ]

    def _give_up(self, row: MemberRow, member: StoredMember) -> None:
        for place, owners in zip(UNIQUE_PLACES, self._owners, strict=True):
            # What the file leaves out the member keeps.
            if row.fields[place] is not None and member.fields[place]:
                owners.pop(member.fields[place].lower(), None)

    def _merge(self, row: MemberRow, before: StoredMember | None) -> PlannedMember:
        if before is None or before.state == LEFT:
            return _build_member(row, _fill(row.fields, _NEW_FIELDS), before)
        return self._merge_with_stored(row, before)

    def _merge_with_stored(self, row: MemberRow, before: StoredMember) -> PlannedMember:
        around = self._around
        planned = plan_places(row, before.places, around.department_ids, around.unseen)
        places = planned.to_places(around.department_ids)
        fields = _fill(row.fields, before.fields)
        attributes = dict(before.attributes)
        for name, value in row.attributes:
            if value is None:
                attributes.pop(name, None)
            else:
                attributes[name] = value
        was_disabled = before.state == DISABLED
        is_disabled = was_disabled if row.is_disabled is None else row.is_disabled
        is_changed = (
            fields != before.fields
            or (places[0],) != before.places[:1]
            or set(places) != set(before.places)
            or attributes != before.attributes
            or is_disabled != was_disabled
        )
        return PlannedMember(
            row.line, row.user_id, fields, *planned, attributes, before, is_changed, is_disabled
        )

    def _find_errors(self, row: MemberRow, member: StoredMember | None) -> list[RowError]:
        user_id = row.user_id
        line = self._lines.get(user_id)
        if line is None and member is not None and member.import_id == self._import_id:
            line = member.import_line
        if line is not None:
            return [self._error(row.line, "user_id", f"is already on line {line} of this file")]
        errors = self._find_range_errors(row, member)
        if self._rooms and any(self._rooms[path] <= 0 for path in self._list_joined(row, member)):
            errors.append(self._error(row.line, "department", _FULL))
        for name, place, owners in zip(UNIQUE_COLUMNS, UNIQUE_PLACES, self._owners, strict=True):
            value = row.fields[place]
            if value and (owner := owners.get(value.lower(), user_id)) != user_id:
                reason = f"belongs to {owner}" if self._may_name(owner) else _TAKEN
                errors.append(self._error(row.line, name, reason))
        if row.is_disabled and user_id == self._around.owner_user_id:
            errors.append(self._error(row.line, STATE, _OWNER_STAYS))
        leader = row.fields[LEADER_PLACE]
        if leader:
            errors += self._find_leader_errors(row, leader)
        return errors

    def _may_name(self, user_id: str) -> bool:
        """Tell whether the caller knows of the member: by the file, or as one to manage."""
        member = self._members.get(user_id)
        return user_id in self._lines or member is None or self._around.can_manage_member(member)

    def _find_range_errors(self, row: MemberRow, member: StoredMember | None) -> list[RowError]:
        around = self._around
        held = () if member is None else member.places
        outside = [place for place in held if place[0] in around.outside]
        held_paths = {around.outside[place[0]] for place in outside}
        if not all(map(around.can_manage_path, set(row.departments) - held_paths)):
            return [self._error(row.line, "department", _OUT_OF_RANGE)]
        if member is not None and member.state != LEFT and not around.can_manage_member(member):
            return [self._error(row.line, "user_id", _MEMBER_OUT_OF_RANGE)]
        if outside:
            planned = plan_places(row, held, around.department_ids, around.unseen)
            places = planned.to_places(around.department_ids)
            if not set(outside) <= set(places):
                return [self._error(row.line, "department", _OTHERS_STAY)]
            is_main_kept = outside[0] != held[0] or places[0] == held[0]
            if not is_main_kept and not around.can_manage_path(planned.paths[0]):
                return [self._error(row.line, "department", _MAIN_STAYS)]
        return []

    def _list_joined(self, row: MemberRow, member: StoredMember | None) -> list[str]:
        """Return the nearly full departments that the row puts the member into anew."""
        ids = self._around.department_ids
        held = set() if member is None else {place[0] for place in member.places}
        return [path for path in row.departments if path in self._rooms and ids[path] not in held]

    def _find_leader_errors(self, row: MemberRow, leader: str) -> list[RowError]:
        is_known = leader in self._leaders or leader in self._named_user_ids
        if not is_known or leader in self._around.unseen_leaders:
            return [self._error(row.line, "direct_leader", _NO_LEADER)]
        above: str | None = leader
        seen = set()
        while above and above not in seen:
            if above == row.user_id:
                return [self._error(row.line, "direct_leader", _LEADER_CYCLE)]
            seen.add(above)
            above = self._leaders.get(above)
        return []

    def _error(self, line: int, column: str, reason: str) -> RowError:
        return RowError(line, self._column_names.get(column, column), reason)


def _fill(fields: tuple[str | None, ...], kept: tuple[str, ...]) -> tuple[str, ...]:
    if None not in fields:
        return fields  # type: ignore[return-value]  # mypy does not narrow by membership
    # From a list: a generator costs twice as much, and this runs for every row.
    return tuple([old if new is None else new for new, old in zip(fields, kept, strict=True)])
