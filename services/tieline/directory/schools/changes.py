"""Changes of a school's tree: each in one transaction, with its audit entry."""

from collections.abc import Sequence
from dataclasses import replace

from tieline.api.directory.v1 import school_pb2, school_service_pb2
from tieline.api.identity.v1 import identity_pb2, identity_requests_pb2
from tieline.chassis.audit import build_audit_event
from tieline.chassis.broker import Broker
from tieline.chassis.calls import current_principal
from tieline.chassis.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from tieline.chassis.etags import check_etag
from tieline.chassis.fields import raise_violations
from tieline.chassis.idempotency import answered_once
from tieline.chassis.outbox import Event, insert_events
from tieline.chassis.postgres import Connection, Pool
from tieline.chassis.requests import ask
from tieline.directory.id_events import build_id_events
from tieline.directory.reads import find_seen
from tieline.directory.repositories import SCHEMA, corps, members, schools
from tieline.directory.schools.messages import (
    administrators_from_proto,
    department_to_proto,
    find_department_kind,
    read_mask,
)
from tieline.directory.schools.rules import (
    MAX_DEPARTMENTS,
    ROOT_DEPARTMENT_ID,
    Administrator,
    SchoolDepartment,
    check_corp_kind,
    check_department,
    check_place,
)
from tieline.directory.visibility.decision import Scope, Viewer
from tieline.directory.visibility.viewers import Viewers

_DEPARTMENT_FIELDS = frozenset(
    {"name", "standard_grade", "register_year", "order", "administrators"}
)


async def ask_about_corp(broker: Broker, corp_id: str) -> identity_requests_pb2.FindCorpResponse:
    """Return identity's answer about a corp that may have a school, or raise."""
    answer = await ask(
        broker,
        "identity",
        "find_corp",
        identity_requests_pb2.FindCorpRequest(corp_id=corp_id),
        identity_requests_pb2.FindCorpResponse,
    )
    kind = identity_pb2.CorpKind.Name(answer.kind).removeprefix("CORP_KIND_").lower()
    check_corp_kind(kind)
    return answer


async def record(
    connection: Connection,
    corp_id: str,
    action: str,
    resource: str,
    details: dict[str, str],
    changed: Sequence[Event] = (),
) -> None:
    """Write down what was done to a school, and tell what changed by it."""
    event = await build_audit_event(
        connection, SCHEMA, corp_id=corp_id, action=action, resource=resource, details=details
    )
    await insert_events(connection, SCHEMA, [*changed, event])


class SchoolDepartments:
    """Makes, changes and deletes departments of schools."""

    def __init__(self, pool: Pool, broker: Broker, viewers: Viewers) -> None:
        self._pool = pool
        self._broker = broker
        self._viewers = viewers

    async def create(
        self, corp_id: str, request: school_service_pb2.CreateSchoolDepartmentRequest
    ) -> school_service_pb2.CreateSchoolDepartmentResponse:
        """Add a department; the first one makes the school."""
        department = _read_new(request.department)
        app_range = await self._viewers.learn(current_principal(), corp_id)

        async def check_corp() -> None:
            await ask_about_corp(self._broker, corp_id)

        async def act(
            connection: Connection,
        ) -> school_service_pb2.CreateSchoolDepartmentResponse:
            viewer = await self._find_viewer(connection, corp_id, app_range)
            created = await _insert(connection, viewer, department)
            return school_service_pb2.CreateSchoolDepartmentResponse(
                department=department_to_proto(created)
            )

        return await answered_once(
            self._pool,
            SCHEMA,
            request,
            school_service_pb2.CreateSchoolDepartmentResponse,
            act,
            corp_id=corp_id,
            prepare=check_corp,
        )

    async def update(
        self, corp_id: str, request: school_service_pb2.UpdateSchoolDepartmentRequest
    ) -> school_service_pb2.UpdateSchoolDepartmentResponse:
        """Change a department where it is."""
        violations: dict[str, str] = {}
        fields = read_mask(request.update_mask, _DEPARTMENT_FIELDS, violations)
        raise_violations(violations)
        app_range = await self._viewers.learn(current_principal(), corp_id)

        async def act(
            connection: Connection,
        ) -> school_service_pb2.UpdateSchoolDepartmentResponse:
            viewer = await self._find_viewer(connection, corp_id, app_range)
            changed = await _update(connection, viewer, request.department, fields)
            return school_service_pb2.UpdateSchoolDepartmentResponse(
                department=department_to_proto(changed)
            )

        return await answered_once(
            self._pool,
            SCHEMA,
            request,
            school_service_pb2.UpdateSchoolDepartmentResponse,
            act,
            corp_id=corp_id,
        )

    async def delete(
        self, corp_id: str, request: school_service_pb2.DeleteSchoolDepartmentRequest
    ) -> school_service_pb2.DeleteSchoolDepartmentResponse:
        """Delete a department that nothing is in."""
        if request.department_id == ROOT_DEPARTMENT_ID:
            raise InvalidArgumentError({"department_id": "must not be the root's"})

        async def act(
            connection: Connection,
        ) -> school_service_pb2.DeleteSchoolDepartmentResponse:
            await _delete(connection, corp_id, request.department_id)
            return school_service_pb2.DeleteSchoolDepartmentResponse()

        return await answered_once(
            self._pool,
            SCHEMA,
            request,
            school_service_pb2.DeleteSchoolDepartmentResponse,
            act,
            corp_id=corp_id,
        )

    async def _find_viewer(self, connection: Connection, corp_id: str, app_range: Scope) -> Viewer:
        """Return what the caller sees of the corp's members."""
        if not await corps.has_corp(connection, corp_id):
            raise corps.corp_not_ready_error()
        return await self._viewers.of(current_principal(), corp_id, connection, app_range=app_range)


def _read_new(department: school_pb2.SchoolDepartment) -> SchoolDepartment:
    violations: dict[str, str] = {}
    for field in ("department_id", "etag"):
        if getattr(department, field):
            violations[f"department.{field}"] = "must be empty: the server gives it"
    kind = find_department_kind(department.kind)
    if kind is None or department.kind == school_pb2.SCHOOL_DEPARTMENT_KIND_SCHOOL:
        violations["department.kind"] = "must be CAMPUS, STAGE, GRADE or CLASS"
        raise InvalidArgumentError(violations)
    new = SchoolDepartment(
        department_id=0,
        parent_department_id=department.parent_department_id,
        kind=kind,
        name=department.name,
        standard_grade=department.standard_grade,
        register_year=department.register_year,
        order=department.order,
        administrators=administrators_from_proto(department.administrators),
    )
    check_department(new, violations)
    raise_violations(violations)
    return new


async def _insert(
    connection: Connection, viewer: Viewer, department: SchoolDepartment
) -> SchoolDepartment:
    corp_id = viewer.corp_id
    await schools.insert_school(connection, corp_id)
    department_id = await schools.lock_school(connection, corp_id)
    assert department_id is not None, "the school was made a moment ago"
    if await schools.count_departments(connection, corp_id) >= MAX_DEPARTMENTS:
        raise FailedPreconditionError(
            "SCHOOL_DEPARTMENT_LIMIT",
            f"a school has at most {MAX_DEPARTMENTS} departments",
            {"maximum": str(MAX_DEPARTMENTS)},
        )
    parent = await _get(connection, corp_id, department.parent_department_id)
    check_place(department.kind, parent.kind)
    new = replace(department, department_id=department_id, revision=1)
    await _check_references(connection, viewer, new)
    await schools.insert_department(connection, corp_id, new)
    await _record(connection, corp_id, "create", department_id, {"kind": new.kind.value})
    return await _get(connection, corp_id, department_id)


async def _update(
    connection: Connection,
    viewer: Viewer,
    wanted: school_pb2.SchoolDepartment,
    fields: frozenset[str],
) -> SchoolDepartment:
    corp_id = viewer.corp_id
    await schools.lock_school(connection, corp_id)
    current = await _get(connection, corp_id, wanted.department_id)
    check_etag(wanted.etag, current.revision)
    values = {field: getattr(wanted, field) for field in fields}
    if "administrators" in fields:
        values["administrators"] = administrators_from_proto(wanted.administrators)
    changed = replace(current, **values)
    violations: dict[str, str] = {}
    check_department(changed, violations)
    raise_violations(violations)
    await _check_references(connection, viewer, changed, current.administrators)
    await schools.update_department(connection, corp_id, changed)
    details = {"fields": ", ".join(sorted(fields))}
    await _record(connection, corp_id, "update", current.department_id, details)
    return await _get(connection, corp_id, current.department_id)


async def _delete(connection: Connection, corp_id: str, department_id: int) -> None:
    await schools.lock_school(connection, corp_id)
    await _get(connection, corp_id, department_id)
    if not await schools.is_empty(connection, corp_id, department_id):
        raise FailedPreconditionError(
            "SCHOOL_DEPARTMENT_NOT_EMPTY",
            "delete the departments below it and move its students first",
        )
    await schools.delete_department(connection, corp_id, department_id)
    await _record(connection, corp_id, "delete", department_id, {})


async def _get(connection: Connection, corp_id: str, department_id: int) -> SchoolDepartment:
    department = await schools.find_department(connection, corp_id, department_id)
    if department is None:
        raise NotFoundError(
            "SCHOOL_DEPARTMENT_NOT_FOUND",
            "no such department in the school",
            {"departmentId": str(department_id)},
        )
    return department


async def _check_references(
    connection: Connection,
    viewer: Viewer,
    department: SchoolDepartment,
    before: Sequence[Administrator] = (),
) -> None:
    """Refuse a name that a sibling has, and administrators who are no members, for the caller.

    ``before`` are those whom the department has: whoever manages the school is shown them.
    """
    if await schools.has_sibling_named(connection, viewer.corp_id, department):
        raise AlreadyExistsError("SCHOOL_DEPARTMENT_EXISTS", "a sibling has this name")
    user_ids = [administrator.user_id for administrator in department.administrators]
    present = await members.find_present(connection, viewer.corp_id, user_ids)
    seen = {administrator.user_id for administrator in before}.union(
        await find_seen(connection, viewer, present)
    )
    for user_id in user_ids:
        if user_id not in present & seen:
            raise NotFoundError("USER_NOT_FOUND", "no such member", {"userId": user_id})


async def _record(
    connection: Connection, corp_id: str, verb: str, department_id: int, details: dict[str, str]
) -> None:
    await record(
        connection,
        corp_id,
        f"directory.school_department.{verb}",
        f"schoolDepartments/{department_id}",
        details,
        build_id_events(
            corp_id,
            "school_departments_changed",
            school_pb2.SchoolDepartmentsChanged,
            "department_ids",
            # The school's root is made with the first department.
            [ROOT_DEPARTMENT_ID, department_id]
            if department_id == ROOT_DEPARTMENT_ID + 1 and verb == "create"
            else [department_id],
        ),
    )
