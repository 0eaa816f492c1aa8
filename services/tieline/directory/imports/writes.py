"""One transaction of an import: what a batch of rows makes of a corp, and what is told of it."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from tieline.api.directory.v1 import directory_pb2
from tieline.chassis.postgres import Connection
from tieline.directory.corp_writes import CorpWrite
from tieline.directory.departments.changes import make_ids
from tieline.directory.departments.rules import (
    MAX_DEPARTMENTS,
    NewDepartment,
    list_with_ancestors,
    plan_departments,
)
from tieline.directory.imports.batch_builder import Batch
from tieline.directory.imports.batches import (
    LEADER_PLACE,
    BatchPlan,
    PlannedMember,
    StoredMember,
    Surroundings,
    plan_batch,
)
from tieline.directory.imports.nodes import KnownDepartments, NodeCounts
from tieline.directory.imports.preview import Preview
from tieline.directory.limits import check_limit
from tieline.directory.members.rules import Member, MemberDepartment
from tieline.directory.reads import find_seen
from tieline.directory.repositories import (
    department_writes,
    departments,
    import_departments,
    imports,
    member_writes,
    members,
    removals,
)
from tieline.directory.visibility.decision import Viewer


@dataclass(frozen=True, slots=True)
class Importer:
    """Whoever brings a file in."""

    range_ids: Collection[int]
    """The departments that the caller administers; none for all."""

    find_viewer: Callable[[Connection], Awaitable[Viewer]]
    """Finds out what the caller sees."""


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """What became, or in a dry run would become, of a batch."""

    plan: BatchPlan
    departments_added: int


@dataclass(frozen=True, slots=True)
class _Plan:
    batch: BatchPlan
    department_ids: Mapping[str, int]
    new_departments: list[NewDepartment]


class MemberWriter:
    """Writes the batches of one import into one corp."""

    def __init__(self, corp_id: str, import_id: str, importer: Importer) -> None:
        self._corp_id = corp_id
        self._import_id = import_id
        self._importer = importer
        self._known = KnownDepartments()
        self._nodes = NodeCounts()

    async def write(self, connection: Connection, batch: Batch) -> BatchOutcome:
        """Store the good rows, in the caller's transaction."""
        if not batch.read.rows:
            return self.refuse(batch)
        write = await CorpWrite.begin(connection, self._corp_id)
        self._known.begin(write.last_change_number)
        self._nodes.begin(write.last_change_number)
        plan = await self._plan(connection, batch, partial(make_ids, write), None)
        changed = [member for member in plan.batch.members if member.is_changed]
        await self._make_departments(write, plan.new_departments)
        await imports.write_members(
            connection,
            self._corp_id,
            self._import_id,
            plan.batch.members,
            plan.department_ids,
            await write.take_numbers(len(changed)) if changed else 0,
        )
        await _write_leadership(write, changed, plan.department_ids)
        user_ids = [member.user_id for member in changed]
        write.tell_of_members("members_imported", directory_pb2.MembersImported, user_ids)
        _tell_of_states(write, changed)
        write.note_members(user_ids)
        await write.finish()
        self._known.finish(write.last_change_number, plan.new_departments)
        self._nodes.finish(write.last_change_number)
        return BatchOutcome(plan.batch, len(plan.new_departments))

    async def _make_departments(self, write: CorpWrite, new: list[NewDepartment]) -> None:
        if not new:
            return
        connection, corp_id = write.connection, write.corp_id
        count = await departments.count_departments(connection, corp_id)
        check_limit(count + len(new), "departments", MAX_DEPARTMENTS)
        number = await write.take_numbers(len(new))
        await import_departments.insert_departments(connection, corp_id, new, number)
        write.note_departments(department.department_id for department in new)

    @staticmethod
    def refuse(batch: Batch) -> BatchOutcome:
        """Tell of a batch that has no good row; nothing is to be written."""
        return BatchOutcome(BatchPlan([], batch.read.errors, batch.read.refused), 0)

    async def preview(self, connection: Connection, batch: Batch, preview: Preview) -> BatchOutcome:
        """Tell what ``write`` would do after the batches that ``preview`` has seen."""
        plan = await self._plan(connection, batch, preview.make_ids, preview)
        preview.note(plan.batch.members, plan.department_ids, self._import_id)
        preview.note_departments(plan.new_departments)
        return BatchOutcome(plan.batch, len(plan.new_departments))

    async def _plan(
        self,
        connection: Connection,
        batch: Batch,
        make_ids: Callable[[int], Awaitable[Sequence[int]]],
        preview: Preview | None,
    ) -> _Plan:
        rows = batch.read.rows
        paths = list_with_ancestors({path for row in rows for path in row.departments})
        ids = await self._find_department_ids(connection, paths, preview)
        stored = await imports.list_stored_members(connection, self._corp_id, rows)
        named = {leader for row in rows if (leader := row.fields[LEADER_PLACE])}
        leaders = await self._find_leaders(connection, named)
        if preview is not None:
            ids |= preview.find_department_ids(paths)
            stored = preview.change(stored, rows)
            leaders |= preview.leaders
        unknown = self._nodes.list_unknown(ids.values())
        if unknown:
            self._nodes.note(
                await import_departments.count_nodes(connection, self._corp_id, unknown)
            )
        disables = any(row.is_disabled for row in rows)
        around = await self._surround(connection, stored, ids, leaders, disables=disables)
        if self._importer.range_ids:
            around = await self._limit(connection, around, named)
            kept = list_with_ancestors(around.unseen.values())
            ids |= await self._find_department_ids(connection, kept, preview)
        planned = plan_batch(batch, around, import_id=self._import_id)
        needed = {path for member in planned.members for path in member.departments}
        missing = list_with_ancestors(needed) - ids.keys()
        new = plan_departments(needed, ids, await make_ids(len(missing)))
        ids |= {each.path: each.department_id for each in new}
        self._nodes.add(planned.members, new, ids)
        return _Plan(planned, ids, new)

    async def _find_department_ids(
        self, connection: Connection, paths: Collection[str], preview: Preview | None
    ) -> dict[str, int]:
        if preview is not None:
            # No lock is held: what is known may be so no more.
            return await import_departments.find_department_ids(connection, self._corp_id, paths)
        unknown = self._known.list_unknown(paths)
        if unknown:
            self._known.note(
                await import_departments.find_department_ids(connection, self._corp_id, unknown)
            )
        return self._known.pick(paths)

    async def _find_leaders(self, connection: Connection, named: Collection[str]) -> dict[str, str]:
        if not named:
            return {}
        return await imports.list_leaders(connection, self._corp_id, named)

    async def _surround(
        self,
        connection: Connection,
        stored: list[StoredMember],
        department_ids: Mapping[str, int],
        leaders: Mapping[str, str],
        *,
        disables: bool,
    ) -> Surroundings:
        rooms = self._nodes.list_rooms(department_ids)
        owner = ""
        if disables:
            owner = await removals.find_owner(connection, self._corp_id)
        return Surroundings(stored, department_ids, leaders, rooms=rooms, owner_user_id=owner)

    async def _limit(
        self, connection: Connection, around: Surroundings, named_leaders: Collection[str]
    ) -> Surroundings:
        """Hold the rows to what the caller manages, and to leaders whom the caller sees."""
        within = await import_departments.list_departments_within(
            connection, self._corp_id, self._importer.range_ids
        )
        within_paths = set(within.values())
        held = {place[0] for member in around.stored for place in member.places}
        outside = await import_departments.find_paths(
            connection, self._corp_id, held - within.keys()
        )
        if named_leaders or outside:
            viewer = await self._importer.find_viewer(connection)
            listed = await members.find_listed(connection, self._corp_id, named_leaders)
            seen = await find_seen(connection, viewer, listed)
            unseen = {
                id_: path for id_, path in outside.items() if not viewer.can_see_department(id_)
            }
            around = replace(
                around,
                unseen_leaders=listed.difference(seen),
                outside={id_: path for id_, path in outside.items() if id_ not in unseen},
                unseen=unseen,
            )
        return replace(
            around,
            can_manage_path=lambda path: not within_paths.isdisjoint(list_with_ancestors([path])),
            can_manage_member=lambda member: any(place[0] in within for place in member.places),
        )


def _tell_of_states(write: CorpWrite, changed: Sequence[PlannedMember]) -> None:
    """Have those know whom it concerns that members may sign in no more, or may again."""
    disabled = [each.user_id for each in changed if each.is_disabled and not each.was_disabled]
    enabled = [each.user_id for each in changed if each.was_disabled and not each.is_disabled]
    write.tell_of_members("member_disabled", directory_pb2.MemberDisabled, disabled)
    write.tell_of_members("member_enabled", directory_pb2.MemberEnabled, enabled)


async def _write_leadership(
    write: CorpWrite, changed: Sequence[PlannedMember], department_ids: Mapping[str, int]
) -> None:
    """Have the lists of departments' leaders be what the members' rows say."""
    leading = [
        Member(
            member.user_id,
            departments=tuple(
                MemberDepartment(department_ids[path], order, is_leader)
                for path, order, is_leader in zip(
                    member.departments, member.orders, member.leaders, strict=True
                )
            ),
        )
        for member in changed
        if any(member.leaders)
        or (member.before is not None and any(place[2] for place in member.before.places))
    ]
    if not leading:
        return
    led = await member_writes.replace_leadership(write.connection, write.corp_id, leading)
    if led:
        number = await write.take_numbers(len(led))
        await department_writes.touch_departments(write.connection, write.corp_id, led, number)
        write.note_departments(led)
