"""One transaction of an import: what a batch of rows makes of a corp, and what is told of it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from tieline.api.directory.v1 import directory_pb2
from tieline.chassis.outbox import Event, build_event, insert_events
from tieline.chassis.postgres import Connection
from tieline.directory.departments import (
    NewDepartment,
    list_with_ancestors,
    plan_departments,
)
from tieline.directory.import_batches import (
    LEADER_PLACE,
    Batch,
    BatchPlan,
    StoredMember,
    Surroundings,
    plan_batch,
)
from tieline.directory.import_preview import Preview
from tieline.directory.repositories import SCHEMA, corps, imports

MEMBERS_IMPORTED = "tieline.directory.v1.members_imported"

# 64 bytes a user id and a few for framing: an eighth of what an event may have.
EVENT_USER_IDS = 1000


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

    def __init__(self, corp_id: str, import_id: str, range_ids: Collection[int]) -> None:
        """``range_ids`` are the departments that the caller administers; none for all."""
        self._corp_id = corp_id
        self._import_id = import_id
        self._range_ids = range_ids

    async def write(self, connection: Connection, batch: Batch) -> BatchOutcome:
        """Store the good rows, in the caller's transaction."""
        if not batch.read.rows:
            return self.refuse(batch)
        corp_id = self._corp_id
        corp = await corps.lock_corp(connection, corp_id)
        plan = await self._plan(connection, batch, corp.next_department_id, None)
        changed = [each.user_id for each in plan.batch.members if each.is_changed]
        number = 0
        if plan.new_departments or changed:
            number = await corps.advance_change_number(
                connection, corp_id, len(plan.new_departments) + len(changed)
            )
        if plan.new_departments:
            await imports.insert_departments(connection, corp_id, plan.new_departments, number)
        await imports.write_members(
            connection,
            corp_id,
            self._import_id,
            plan.batch.members,
            plan.department_ids,
            number + len(plan.new_departments),
        )
        await insert_events(connection, SCHEMA, self._build_events(changed))
        return BatchOutcome(plan.batch, len(plan.new_departments))

    @staticmethod
    def refuse(batch: Batch) -> BatchOutcome:
        """Tell of a batch that has no good row; nothing is to be written."""
        return BatchOutcome(BatchPlan([], batch.read.errors, batch.read.refused), 0)

    async def preview(self, connection: Connection, batch: Batch, preview: Preview) -> BatchOutcome:
        """Tell what ``write`` would do after the batches that ``preview`` has seen."""
        plan = await self._plan(connection, batch, preview.next_department_id, preview)
        preview.note(plan.batch.members, plan.department_ids, self._import_id)
        preview.note_departments(plan.new_departments)
        return BatchOutcome(plan.batch, len(plan.new_departments))

    async def _plan(
        self,
        connection: Connection,
        batch: Batch,
        next_department_id: int,
        preview: Preview | None,
    ) -> _Plan:
        rows = batch.read.rows
        paths = list_with_ancestors({path for row in rows for path in row.departments})
        ids = await imports.find_department_ids(connection, self._corp_id, paths)
        stored = await imports.list_stored_members(connection, self._corp_id, rows)
        leaders = await self._find_leaders(connection, batch)
        if preview is not None:
            ids |= preview.find_department_ids(paths)
            stored = preview.change(stored, rows)
            leaders |= preview.leaders
        around = await self._surround(connection, stored, ids, leaders)
        planned = plan_batch(batch, around, import_id=self._import_id)
        needed = {path for member in planned.members for path in member.departments}
        new = plan_departments(needed, ids, next_department_id)
        return _Plan(planned, ids | {each.path: each.department_id for each in new}, new)

    async def _find_leaders(self, connection: Connection, batch: Batch) -> dict[str, str]:
        named = {leader for row in batch.read.rows if (leader := row.fields[LEADER_PLACE])}
        if not named:
            return {}
        return await imports.list_leaders(connection, self._corp_id, named)

    async def _surround(
        self,
        connection: Connection,
        stored: list[StoredMember],
        department_ids: Mapping[str, int],
        leaders: Mapping[str, str],
    ) -> Surroundings:
        if not self._range_ids:
            return Surroundings(stored, department_ids, leaders)
        within = await imports.list_departments_within(connection, self._corp_id, self._range_ids)
        within_paths = set(within.values())
        return Surroundings(
            stored,
            department_ids,
            leaders,
            can_manage_path=lambda path: not within_paths.isdisjoint(list_with_ancestors([path])),
            can_manage_member=lambda member: any(place[0] in within for place in member.places),
        )

    def _build_events(self, user_ids: list[str]) -> list[Event]:
        return [
            build_event(
                MEMBERS_IMPORTED,
                self._corp_id,
                self._corp_id,
                directory_pb2.MembersImported(
                    corp_id=self._corp_id, user_ids=user_ids[start : start + EVENT_USER_IDS]
                ),
            )
            for start in range(0, len(user_ids), EVENT_USER_IDS)
        ]
