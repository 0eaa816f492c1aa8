"""Batches of students and parents: each in one transaction, with one audit entry."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TypeVar

from google.protobuf.message import Message

from tieline.api.directory.v1 import school_pb2, school_service_pb2
from tieline.chassis.broker import Broker
from tieline.chassis.fields import check_user_id, raise_violations
from tieline.chassis.idempotency import answered_once
from tieline.chassis.postgres import Connection, Pool
from tieline.directory.id_events import build_id_events
from tieline.directory.repositories import SCHEMA, parents, schools, students
from tieline.directory.schools.changes import ask_about_corp, record
from tieline.directory.schools.messages import (
    parent_from_proto,
    read_mask,
    results_to_proto,
    student_from_proto,
)
from tieline.directory.schools.rules import max_parents
from tieline.directory.schools.students import (
    PARENT_FIELDS,
    STUDENT_FIELDS,
    Parent,
    ParentsPlan,
    Problem,
    Student,
    check_batch,
    check_parent,
    check_student,
    person_key,
    plan_new_students,
    plan_student_changes,
)

Results = list[school_pb2.SchoolItemResult]

M = TypeVar("M", bound=Message)


class SchoolPeople:
    """Adds, changes and deletes students and parents."""

    def __init__(self, pool: Pool, broker: Broker) -> None:
        self._pool = pool
        self._broker = broker

    async def create_students(
        self, corp_id: str, request: school_service_pb2.BatchCreateStudentsRequest
    ) -> school_service_pb2.BatchCreateStudentsResponse:
        """Add those of the students that can be added."""
        batch = _read_students(request.students, STUDENT_FIELDS, {}, is_new=True)

        async def act(connection: Connection) -> Results:
            await schools.lock_school(connection, corp_id)
            stored = await students.find_students(connection, corp_id, _student_ids(batch))
            classes = await _filter_classes(connection, corp_id, batch)
            outcomes = plan_new_students(batch, stored, classes)
            await students.upsert_students(connection, corp_id, _done(outcomes, Student))
            await _record(connection, corp_id, "student.create", outcomes)
            return results_to_proto(_student_ids(batch), outcomes)

        return await self._answer(
            corp_id, request, school_service_pb2.BatchCreateStudentsResponse, act
        )

    async def update_students(
        self, corp_id: str, request: school_service_pb2.BatchUpdateStudentsRequest
    ) -> school_service_pb2.BatchUpdateStudentsResponse:
        """Change those of the students that can be changed."""
        violations: dict[str, str] = {}
        fields = read_mask(request.update_mask, STUDENT_FIELDS, violations)
        batch = _read_students(request.students, fields, violations)

        async def act(connection: Connection) -> Results:
            await schools.lock_school(connection, corp_id)
            stored = await students.find_students(connection, corp_id, _student_ids(batch))
            classes = await _filter_classes(connection, corp_id, batch)
            outcomes = plan_student_changes(batch, stored, classes, fields)
            await students.upsert_students(connection, corp_id, _done(outcomes, Student))
            await _record(connection, corp_id, "student.update", outcomes, fields)
            return results_to_proto(_student_ids(batch), outcomes)

        return await self._answer(
            corp_id, request, school_service_pb2.BatchUpdateStudentsResponse, act
        )

    async def delete_students(
        self, corp_id: str, request: school_service_pb2.BatchDeleteStudentsRequest
    ) -> school_service_pb2.BatchDeleteStudentsResponse:
        """Delete those of the students that exist, and parents who then have no child."""
        ids = _read_ids(request.student_ids, "student_ids")

        async def act(connection: Connection) -> Results:
            await schools.lock_school(connection, corp_id)
            stored = await students.find_students(connection, corp_id, ids)
            lost = await students.delete_students(connection, corp_id, stored.keys())
            missing = Problem("STUDENT_NOT_FOUND", "no such student")
            outcomes = [stored.get(each, missing) for each in ids]
            await _record(connection, corp_id, "student.delete", outcomes, lost_parent_ids=lost)
            return results_to_proto(ids, outcomes)

        return await self._answer(
            corp_id, request, school_service_pb2.BatchDeleteStudentsResponse, act
        )

    async def create_parents(
        self, corp_id: str, request: school_service_pb2.BatchCreateParentsRequest
    ) -> school_service_pb2.BatchCreateParentsResponse:
        """Add those of the parents that can be added."""
        batch = _read_parents(request.parents, PARENT_FIELDS, {}, is_new=True)
        maximum = 0

        async def learn_maximum() -> None:
            nonlocal maximum
            corp = await ask_about_corp(self._broker, corp_id)
            maximum = max_parents(is_verified=corp.verified)

        async def act(connection: Connection) -> Results:
            await schools.lock_school(connection, corp_id)
            room = maximum - await parents.count_parents(connection, corp_id)
            plan = await _plan_parents(connection, corp_id, batch)
            outcomes = plan.add(batch, room)
            await parents.upsert_parents(connection, corp_id, _done(outcomes, Parent))
            await _record(connection, corp_id, "parent.create", outcomes)
            return results_to_proto(_parent_ids(batch), outcomes)

        return await self._answer(
            corp_id,
            request,
            school_service_pb2.BatchCreateParentsResponse,
            act,
            prepare=learn_maximum,
        )

    async def update_parents(
        self, corp_id: str, request: school_service_pb2.BatchUpdateParentsRequest
    ) -> school_service_pb2.BatchUpdateParentsResponse:
        """Change those of the parents that can be changed."""
        violations: dict[str, str] = {}
        fields = read_mask(request.update_mask, PARENT_FIELDS, violations)
        batch = _read_parents(request.parents, fields, violations)

        async def act(connection: Connection) -> Results:
            await schools.lock_school(connection, corp_id)
            plan = await _plan_parents(connection, corp_id, batch)
            outcomes = plan.change(batch, fields)
            await parents.upsert_parents(connection, corp_id, _done(outcomes, Parent))
            await _record(connection, corp_id, "parent.update", outcomes, fields)
            return results_to_proto(_parent_ids(batch), outcomes)

        return await self._answer(
            corp_id, request, school_service_pb2.BatchUpdateParentsResponse, act
        )

    async def delete_parents(
        self, corp_id: str, request: school_service_pb2.BatchDeleteParentsRequest
    ) -> school_service_pb2.BatchDeleteParentsResponse:
        """Delete those of the parents that exist."""
        ids = _read_ids(request.parent_ids, "parent_ids")

        async def act(connection: Connection) -> Results:
            await schools.lock_school(connection, corp_id)
            stored = await parents.find_parents(connection, corp_id, ids)
            await parents.delete_parents(connection, corp_id, stored.keys())
            missing = Problem("PARENT_NOT_FOUND", "no such parent")
            outcomes = [stored.get(each, missing) for each in ids]
            await _record(connection, corp_id, "parent.delete", outcomes)
            return results_to_proto(ids, outcomes)

        return await self._answer(
            corp_id, request, school_service_pb2.BatchDeleteParentsResponse, act
        )

    async def _answer(
        self,
        corp_id: str,
        request: Message,
        response_type: type[M],
        act: Callable[[Connection], Awaitable[Results]],
        *,
        prepare: Callable[[], Awaitable[None]] | None = None,
    ) -> M:
        async def respond(connection: Connection) -> M:
            results: dict[str, Results] = {"results": await act(connection)}
            return response_type(**results)

        return await answered_once(
            self._pool, SCHEMA, request, response_type, respond, corp_id=corp_id, prepare=prepare
        )


def _read_students(
    given: Collection[school_pb2.Student],
    fields: frozenset[str],
    violations: dict[str, str],
    *,
    is_new: bool = False,
) -> list[Student]:
    batch = [student_from_proto(each) for each in given]
    check_batch(_student_ids(batch), "students", violations)
    for index, student in enumerate(batch):
        check_student(student, fields, f"students[{index}]", violations)
        if is_new and student.etag:
            violations[f"students[{index}].etag"] = "must be empty: the server gives it"
    raise_violations(violations)
    return batch


def _read_parents(
    given: Collection[school_pb2.Parent],
    fields: frozenset[str],
    violations: dict[str, str],
    *,
    is_new: bool = False,
) -> list[Parent]:
    batch = [parent_from_proto(each) for each in given]
    check_batch(_parent_ids(batch), "parents", violations)
    for index, parent in enumerate(batch):
        check_parent(parent, fields, f"parents[{index}]", violations)
        if is_new and parent.etag:
            violations[f"parents[{index}].etag"] = "must be empty: the server gives it"
    raise_violations(violations)
    return batch


def _read_ids(given: Sequence[str], field: str) -> list[str]:
    violations: dict[str, str] = {}
    ids = [person_key(each) for each in given]
    check_batch(ids, field, violations)
    for index, each in enumerate(given):
        check_user_id(each, f"{field}[{index}]", violations)
    raise_violations(violations)
    return ids


def _student_ids(batch: Collection[Student]) -> list[str]:
    return [student.student_id for student in batch]


def _parent_ids(batch: Collection[Parent]) -> list[str]:
    return [parent.parent_id for parent in batch]


Item = TypeVar("Item")


def _done(outcomes: Sequence[object], item_type: type[Item]) -> list[Item]:
    return [outcome for outcome in outcomes if isinstance(outcome, item_type)]


async def _filter_classes(
    connection: Connection, corp_id: str, batch: Collection[Student]
) -> frozenset[int]:
    named = {class_id for student in batch for class_id in student.class_ids}
    return await schools.filter_classes(connection, corp_id, named)


async def _plan_parents(
    connection: Connection, corp_id: str, batch: Collection[Parent]
) -> ParentsPlan:
    children = {child.student_id for parent in batch for child in parent.children}
    mobiles = {parent.mobile for parent in batch}
    customers = {parent.customer_id for parent in batch}
    return ParentsPlan(
        await parents.find_parents(connection, corp_id, _parent_ids(batch)),
        (await students.find_students(connection, corp_id, children)).keys(),
        await parents.find_mobile_owners(connection, corp_id, mobiles),
        await parents.find_customer_owners(connection, corp_id, customers),
    )


async def _record(
    connection: Connection,
    corp_id: str,
    action: str,
    outcomes: Sequence[object],
    fields: Collection[str] = (),
    *,
    lost_parent_ids: Sequence[str] = (),
) -> None:
    """Write down how many were done; which ones would tell of children. Events have the ids."""
    refused = sum(isinstance(outcome, Problem) for outcome in outcomes)
    details = {"done": str(len(outcomes) - refused), "refused": str(refused)}
    if fields:
        details["fields"] = ", ".join(sorted(fields))
    changed = build_id_events(
        corp_id,
        "students_changed",
        school_pb2.StudentsChanged,
        "student_ids",
        _student_ids(_done(outcomes, Student)),
    )
    changed += build_id_events(
        corp_id,
        "parents_changed",
        school_pb2.ParentsChanged,
        "parent_ids",
        [*_parent_ids(_done(outcomes, Parent)), *lost_parent_ids],
    )
    await record(connection, corp_id, f"directory.{action}", "school", details, changed)
