"""DepartmentService: translates between protobuf and the rules, nothing else."""

from collections.abc import AsyncGenerator

from tieline.api.directory.v1 import (
    department_service_pb2,
    department_service_pb2_grpc,
)
from tieline.chassis.calls import current_principal
from tieline.chassis.errors import InvalidArgumentError
from tieline.chassis.fields import raise_violations
from tieline.chassis.grpc_context import Context
from tieline.chassis.postgres import Pool
from tieline.directory.corp_writes import CorpWrite, written_once
from tieline.directory.departments import changes as department_changes
from tieline.directory.departments.messages import (
    read_department_changes,
    read_new_department,
    to_department,
)
from tieline.directory.departments.rules import (
    ROOT_DEPARTMENT_ID,
    department_not_found_error,
)
from tieline.directory.reads import get_departments, show_departments
from tieline.directory.repositories import departments
from tieline.directory.visibility.viewers import Viewers
from tieline.directory.write_answers import answer_department

MAX_BATCH_DEPARTMENT_IDS = 1000

# Some 300 KiB a message.
_SUBTREE_PAGE = 1000


class DepartmentServicer(department_service_pb2_grpc.DepartmentServiceServicer):
    """Keeps the departments of its callers' corps."""

    def __init__(self, pool: Pool, viewers: Viewers) -> None:
        self._pool = pool
        self._viewers = viewers

    async def CreateDepartment(
        self, request: department_service_pb2.CreateDepartmentRequest, context: Context
    ) -> department_service_pb2.CreateDepartmentResponse:
        """Add a department, at most once per ``request_id``."""
        violations: dict[str, str] = {}
        values = read_new_department(request.department, violations)
        raise_violations(violations)

        async def act(
            write: CorpWrite,
        ) -> department_service_pb2.CreateDepartmentResponse:
            department = await department_changes.create_department(
                write,
                request.department.department_id,
                values.parent_department_id or 0,
                name=values.name or "",
                name_en=values.name_en or "",
                order=values.order or 0,
            )
            return department_service_pb2.CreateDepartmentResponse(
                department=to_department(await answer_department(write, self._viewers, department))
            )

        return await written_once(
            self._pool, self._viewers, request, department_service_pb2.CreateDepartmentResponse, act
        )

    async def GetDepartment(
        self, request: department_service_pb2.GetDepartmentRequest, context: Context
    ) -> department_service_pb2.GetDepartmentResponse:
        """Return one department."""
        corp_id = current_principal().require_corp(request.corp_id)
        [department] = await get_departments(self._viewers, corp_id, [request.department_id])
        return department_service_pb2.GetDepartmentResponse(department=to_department(department))

    async def BatchGetDepartments(
        self, request: department_service_pb2.BatchGetDepartmentsRequest, context: Context
    ) -> department_service_pb2.BatchGetDepartmentsResponse:
        """Return departments in the order asked for."""
        corp_id = current_principal().require_corp(request.corp_id)
        if not 1 <= len(request.department_ids) <= MAX_BATCH_DEPARTMENT_IDS:
            raise InvalidArgumentError(
                {"department_ids": f"must be 1 to {MAX_BATCH_DEPARTMENT_IDS}"}
            )
        found = await get_departments(self._viewers, corp_id, request.department_ids)
        return department_service_pb2.BatchGetDepartmentsResponse(
            departments=map(to_department, found)
        )

    async def GetSubtree(
        self, request: department_service_pb2.GetSubtreeRequest, context: Context
    ) -> AsyncGenerator[department_service_pb2.GetSubtreeResponse, None]:
        """Send a department and all below it, as they are at one moment."""
        corp_id = current_principal().require_corp(request.corp_id)
        department_id = request.department_id or ROOT_DEPARTMENT_ID
        # Read whole: no connection waits for a caller who reads slowly.
        async with self._viewers.reading(current_principal(), corp_id) as (connection, viewer):
            listed = await departments.list_subtree(connection, corp_id, department_id)
            found = await show_departments(connection, viewer, listed)
        if not found:
            raise department_not_found_error(department_id)
        for start in range(0, len(found), _SUBTREE_PAGE):
            yield department_service_pb2.GetSubtreeResponse(
                departments=map(to_department, found[start : start + _SUBTREE_PAGE])
            )

    async def UpdateDepartment(
        self, request: department_service_pb2.UpdateDepartmentRequest, context: Context
    ) -> department_service_pb2.UpdateDepartmentResponse:
        """Change or move a department, at most once per ``request_id``."""
        violations: dict[str, str] = {}
        changes = read_department_changes(request.department, request.update_mask, violations)
        raise_violations(violations)

        async def act(
            write: CorpWrite,
        ) -> department_service_pb2.UpdateDepartmentResponse:
            department = await department_changes.update_department(
                write, request.department.department_id, changes, request.department.etag
            )
            return department_service_pb2.UpdateDepartmentResponse(
                department=to_department(await answer_department(write, self._viewers, department))
            )

        return await written_once(
            self._pool, self._viewers, request, department_service_pb2.UpdateDepartmentResponse, act
        )

    async def DeleteDepartment(
        self, request: department_service_pb2.DeleteDepartmentRequest, context: Context
    ) -> department_service_pb2.DeleteDepartmentResponse:
        """Delete an empty department, at most once per ``request_id``."""

        async def act(
            write: CorpWrite,
        ) -> department_service_pb2.DeleteDepartmentResponse:
            await department_changes.delete_department(write, request.department_id, request.etag)
            return department_service_pb2.DeleteDepartmentResponse()

        return await written_once(
            self._pool, self._viewers, request, department_service_pb2.DeleteDepartmentResponse, act
        )
