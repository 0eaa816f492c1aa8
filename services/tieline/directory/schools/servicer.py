"""SchoolService: who calls and for which corp; reads are here, changes in the modules of theirs."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from tieline.api.directory.v1 import school_service_pb2, school_service_pb2_grpc
from tieline.chassis.broker import Broker
from tieline.chassis.calls import current_principal
from tieline.chassis.errors import NotFoundError
from tieline.chassis.fields import check_user_id, raise_violations
from tieline.chassis.grpc_context import Context
from tieline.chassis.page_tokens import PageTokens, page_size
from tieline.chassis.postgres import Connection, Pool
from tieline.chassis.principals import Principal, PrincipalKind
from tieline.directory.reads import find_seen
from tieline.directory.repositories import parents, schools, students
from tieline.directory.schools.changes import SchoolDepartments
from tieline.directory.schools.messages import (
    department_to_proto,
    parent_to_proto,
    student_to_proto,
)
from tieline.directory.schools.rules import SchoolDepartment, check_manages, manages
from tieline.directory.schools.student_changes import SchoolPeople
from tieline.directory.schools.students import Parent, Student, person_key
from tieline.directory.visibility.decision import Viewer
from tieline.directory.visibility.viewers import Viewers

_MAX_PAGE_SIZE = 1000
_PAGE_SIZE = 100


class SchoolServicer(school_service_pb2_grpc.SchoolServiceServicer):
    """Answers for the schools of its callers' corps."""

    def __init__(
        self, pool: Pool, broker: Broker, page_tokens: PageTokens, viewers: Viewers
    ) -> None:
        self._pool = pool
        self._page_tokens = page_tokens
        self._viewers = viewers
        self._departments = SchoolDepartments(pool, broker, viewers)
        self._people = SchoolPeople(pool, broker)

    async def CreateSchoolDepartment(
        self, request: school_service_pb2.CreateSchoolDepartmentRequest, context: Context
    ) -> school_service_pb2.CreateSchoolDepartmentResponse:
        """Add a department."""
        return await self._departments.create(_require_manager(request.corp_id), request)

    async def UpdateSchoolDepartment(
        self, request: school_service_pb2.UpdateSchoolDepartmentRequest, context: Context
    ) -> school_service_pb2.UpdateSchoolDepartmentResponse:
        """Change a department."""
        return await self._departments.update(_require_manager(request.corp_id), request)

    async def DeleteSchoolDepartment(
        self, request: school_service_pb2.DeleteSchoolDepartmentRequest, context: Context
    ) -> school_service_pb2.DeleteSchoolDepartmentResponse:
        """Delete an empty department."""
        return await self._departments.delete(_require_manager(request.corp_id), request)

    async def BatchCreateStudents(
        self, request: school_service_pb2.BatchCreateStudentsRequest, context: Context
    ) -> school_service_pb2.BatchCreateStudentsResponse:
        """Add students."""
        return await self._people.create_students(_require_manager(request.corp_id), request)

    async def BatchUpdateStudents(
        self, request: school_service_pb2.BatchUpdateStudentsRequest, context: Context
    ) -> school_service_pb2.BatchUpdateStudentsResponse:
        """Change students."""
        return await self._people.update_students(_require_manager(request.corp_id), request)

    async def BatchDeleteStudents(
        self, request: school_service_pb2.BatchDeleteStudentsRequest, context: Context
    ) -> school_service_pb2.BatchDeleteStudentsResponse:
        """Delete students."""
        return await self._people.delete_students(_require_manager(request.corp_id), request)

    async def BatchCreateParents(
        self, request: school_service_pb2.BatchCreateParentsRequest, context: Context
    ) -> school_service_pb2.BatchCreateParentsResponse:
        """Add parents."""
        return await self._people.create_parents(_require_manager(request.corp_id), request)

    async def BatchUpdateParents(
        self, request: school_service_pb2.BatchUpdateParentsRequest, context: Context
    ) -> school_service_pb2.BatchUpdateParentsResponse:
        """Change parents."""
        return await self._people.update_parents(_require_manager(request.corp_id), request)

    async def BatchDeleteParents(
        self, request: school_service_pb2.BatchDeleteParentsRequest, context: Context
    ) -> school_service_pb2.BatchDeleteParentsResponse:
        """Delete parents."""
        return await self._people.delete_parents(_require_manager(request.corp_id), request)

    async def ListSchoolDepartments(
        self, request: school_service_pb2.ListSchoolDepartmentsRequest, context: Context
    ) -> school_service_pb2.ListSchoolDepartmentsResponse:
        """List departments by id, with those of their administrators whom the caller sees."""
        principal = current_principal()
        corp_id = principal.require_corp(request.corp_id)
        size = page_size(request.page_size, default=_PAGE_SIZE, maximum=_MAX_PAGE_SIZE)
        position = self._page_tokens.decode(request.page_token, request)
        async with self._viewers.reading(principal, corp_id) as (connection, viewer):
            found = await schools.list_departments(
                connection,
                corp_id,
                under=request.under_department_id,
                after=0 if position is None else int(position[0]),
                limit=size + 1,
            )
            page, next_page_token = self._page_tokens.cut(
                found, size, request, lambda department: [department.department_id]
            )
            # Who sets them could otherwise set none without losing the others.
            if not manages(principal, corp_id):
                page = await _show_administrators(connection, viewer, page)
        return school_service_pb2.ListSchoolDepartmentsResponse(
            departments=[department_to_proto(department) for department in page],
            next_page_token=next_page_token,
        )

    async def GetStudent(
        self, request: school_service_pb2.GetStudentRequest, context: Context
    ) -> school_service_pb2.GetStudentResponse:
        """Return a student with the parents."""
        principal = current_principal()
        corp_id = principal.require_corp(request.corp_id)
        student_id = _read_id(request.student_id, "student_id")
        async with self._pool.acquire() as connection:
            seen = await _find_seen_students(connection, principal, corp_id, [student_id])
            if student_id not in seen:
                raise NotFoundError(
                    "STUDENT_NOT_FOUND", "no such student", {"studentId": request.student_id}
                )
            ids = await parents.list_parent_ids_of_student(connection, corp_id, student_id)
            found = await parents.find_parents(connection, corp_id, ids)
        return school_service_pb2.GetStudentResponse(
            student=student_to_proto(seen[student_id]),
            parents=[parent_to_proto(each, seen_students=seen) for each in found.values()],
        )

    async def ListStudents(
        self, request: school_service_pb2.ListStudentsRequest, context: Context
    ) -> school_service_pb2.ListStudentsResponse:
        """List the students of a class by id."""
        principal = current_principal()
        corp_id = principal.require_corp(request.corp_id)
        size = page_size(request.page_size, default=_PAGE_SIZE, maximum=_MAX_PAGE_SIZE)
        position = self._page_tokens.decode(request.page_token, request)
        async with self._pool.acquire() as connection:
            await _check_sees_class(connection, principal, corp_id, request.class_id)
            ids = await students.list_student_ids(
                connection,
                corp_id,
                request.class_id,
                after="" if position is None else str(position[0]),
                limit=size + 1,
            )
            page, next_page_token = self._page_tokens.cut(ids, size, request, lambda each: [each])
            found = await students.find_students(connection, corp_id, page)
        return school_service_pb2.ListStudentsResponse(
            students=[student_to_proto(found[each]) for each in page if each in found],
            next_page_token=next_page_token,
        )

    async def GetParent(
        self, request: school_service_pb2.GetParentRequest, context: Context
    ) -> school_service_pb2.GetParentResponse:
        """Return a parent with those of the children whom the caller may see."""
        principal = current_principal()
        corp_id = principal.require_corp(request.corp_id)
        parent_id = _read_id(request.parent_id, "parent_id")
        async with self._pool.acquire() as connection:
            parent = await _find_parent(connection, corp_id, parent_id)
            children = [] if parent is None else [child.student_id for child in parent.children]
            seen = await _find_seen_students(connection, principal, corp_id, children)
        if parent is None or not seen:
            raise NotFoundError(
                "PARENT_NOT_FOUND", "no such parent", {"parentId": request.parent_id}
            )
        return school_service_pb2.GetParentResponse(
            parent=parent_to_proto(parent, seen_students=seen)
        )

    async def ListClassParents(
        self, request: school_service_pb2.ListClassParentsRequest, context: Context
    ) -> school_service_pb2.ListClassParentsResponse:
        """List the parents of a class by id, with their children in it."""
        principal = current_principal()
        corp_id = principal.require_corp(request.corp_id)
        size = page_size(request.page_size, default=_PAGE_SIZE, maximum=_MAX_PAGE_SIZE)
        position = self._page_tokens.decode(request.page_token, request)
        async with self._pool.acquire() as connection:
            await _check_sees_class(connection, principal, corp_id, request.class_id)
            ids = await parents.list_parent_ids_of_class(
                connection,
                corp_id,
                request.class_id,
                after="" if position is None else str(position[0]),
                limit=size + 1,
            )
            page, next_page_token = self._page_tokens.cut(ids, size, request, lambda each: [each])
            found = await parents.find_parents(connection, corp_id, page)
            of_class = await _filter_students_of_class(
                connection, corp_id, request.class_id, found.values()
            )
        return school_service_pb2.ListClassParentsResponse(
            parents=[parent_to_proto(each, seen_students=of_class) for each in found.values()],
            next_page_token=next_page_token,
        )


def _require_manager(corp_id: str) -> str:
    """Return the corp that the request means, whose school the caller may change."""
    principal = current_principal()
    corp_id = principal.require_corp(corp_id)
    check_manages(principal, corp_id)
    return corp_id


async def _show_administrators(
    connection: Connection, viewer: Viewer, departments: Sequence[SchoolDepartment]
) -> list[SchoolDepartment]:
    """Return the departments without administrators whom the viewer does not see."""
    named = {each.user_id for department in departments for each in department.administrators}
    seen = await find_seen(connection, viewer, named)
    return [
        replace(
            department,
            administrators=tuple(
                each for each in department.administrators if each.user_id in seen
            ),
        )
        for department in departments
    ]


def _read_id(given: str, field: str) -> str:
    violations: dict[str, str] = {}
    check_user_id(given, field, violations)
    raise_violations(violations)
    return person_key(given)


async def _find_parent(connection: Connection, corp_id: str, parent_id: str) -> Parent | None:
    return (await parents.find_parents(connection, corp_id, [parent_id])).get(parent_id)


async def _find_seen_students(
    connection: Connection, principal: Principal, corp_id: str, student_ids: Collection[str]
) -> dict[str, Student]:
    """Return those of the students whom the caller may see."""
    found = await students.find_students(connection, corp_id, student_ids)
    classes = {class_id for student in found.values() for class_id in student.class_ids}
    seen = await _filter_seen_classes(connection, principal, corp_id, classes)
    return {id_: each for id_, each in found.items() if not seen.isdisjoint(each.class_ids)}


async def _check_sees_class(
    connection: Connection, principal: Principal, corp_id: str, class_id: int
) -> None:
    classes = await schools.filter_classes(connection, corp_id, [class_id])
    if not await _filter_seen_classes(connection, principal, corp_id, classes):
        raise NotFoundError("CLASS_NOT_FOUND", "no such class", {"classId": str(class_id)})


async def _filter_seen_classes(
    connection: Connection, principal: Principal, corp_id: str, class_ids: Collection[int]
) -> frozenset[int]:
    """Return which of the classes the caller manages or teaches."""
    if manages(principal, corp_id):
        return frozenset(class_ids)
    if principal.kind is not PrincipalKind.MEMBER:
        return frozenset()
    return await schools.filter_taught_classes(connection, corp_id, principal.id, class_ids)


async def _filter_students_of_class(
    connection: Connection, corp_id: str, class_id: int, found: Collection[Parent]
) -> set[str]:
    children = {child.student_id for parent in found for child in parent.children}
    known = await students.find_students(connection, corp_id, children)
    return {id_ for id_, student in known.items() if class_id in student.class_ids}
