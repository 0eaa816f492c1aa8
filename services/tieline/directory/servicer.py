"""DirectoryService: translates between protobuf and the rules, nothing else."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

from tieline.api.directory.v1 import (
    directory_pb2,
    directory_service_pb2,
    directory_service_pb2_grpc,
)
from tieline.chassis.calls import current_principal
from tieline.chassis.errors import (
    InvalidArgumentError,
)
from tieline.chassis.fields import check_user_id, raise_violations
from tieline.chassis.grpc_context import Context
from tieline.chassis.page_tokens import PageTokens, page_size
from tieline.chassis.postgres import Connection, Pool
from tieline.directory.departments.messages import to_department
from tieline.directory.departments.rules import department_not_found_error
from tieline.directory.imports.call import ImportCall
from tieline.directory.imports.messages import progress_to_proto
from tieline.directory.imports.running import RunningImports
from tieline.directory.imports.upload import read_chunks, read_first
from tieline.directory.members.messages import STATES, count_fitting, to_member
from tieline.directory.members.reader import MemberReader
from tieline.directory.members.rules import (
    LISTED_STATES,
    MemberState,
)
from tieline.directory.places import Places
from tieline.directory.reads import get_member, get_members, show_departments, show_members
from tieline.directory.repositories import departments, members
from tieline.directory.search.members import MemberSearch
from tieline.directory.visibility.decision import Viewer
from tieline.directory.visibility.viewers import Viewers

MAX_BATCH_USER_IDS = 1000


# Each keeps one of the connections through a batch, some 60 ms of every 100: these and the
# job that runs leave the others to lookups. More files go into jobs, which wait.
MAX_IMPORT_STREAMS = 4


class DirectoryServicer(directory_service_pb2_grpc.DirectoryServiceServicer):
    """Answers for the corps of its callers."""

    def __init__(
        self,
        pool: Pool,
        page_tokens: PageTokens,
        viewers: Viewers,
        search: MemberSearch,
        imports: RunningImports,
        import_max_bytes: int,
    ) -> None:
        self._pool = pool
        self._page_tokens = page_tokens
        self._viewers = viewers
        self._imports = imports
        self._import_max_bytes = import_max_bytes
        self._import_places = Places(MAX_IMPORT_STREAMS, "TOO_MANY_IMPORT_STREAMS", "imports")
        self._reader = MemberReader(pool)
        self._search = search

    async def ImportMembers(
        self,
        request_iterator: AsyncIterator[directory_service_pb2.ImportMembersRequest],
        context: Context,
    ) -> AsyncGenerator[directory_service_pb2.ImportMembersResponse, None]:
        """Commit the file's good rows batch by batch and tell how far it is."""
        first = await read_first(request_iterator)
        called = ImportCall(self._pool, self._viewers, first.config, self._import_max_bytes)
        with self._import_places.one(), self._imports.one():
            async with aclosing(called.run(read_chunks(request_iterator))) as steps:
                async for progress in steps:
                    yield progress_to_proto(progress)

    async def GetMember(
        self,
        request: directory_service_pb2.GetMemberRequest,
        context: Context,
    ) -> directory_service_pb2.GetMemberResponse:
        """Return one member."""
        corp_id = current_principal().require_corp(request.corp_id)
        violations: dict[str, str] = {}
        check_user_id(request.user_id, "user_id", violations)
        raise_violations(violations)
        return await get_member(self._reader, self._viewers, corp_id, request.user_id)

    async def BatchGetMembers(
        self,
        request: directory_service_pb2.BatchGetMembersRequest,
        context: Context,
    ) -> directory_service_pb2.BatchGetMembersResponse:
        """Return members in the order asked for."""
        corp_id = current_principal().require_corp(request.corp_id)
        if not 1 <= len(request.user_ids) <= MAX_BATCH_USER_IDS:
            raise InvalidArgumentError({"user_ids": f"must be 1 to {MAX_BATCH_USER_IDS}"})
        violations: dict[str, str] = {}
        for index, user_id in enumerate(request.user_ids):
            check_user_id(user_id, f"user_ids[{index}]", violations)
        raise_violations(violations)
        shown = await get_members(self._viewers, corp_id, request.user_ids)
        found = [to_member(member) for member in shown]
        fitting = count_fitting(found)
        if fitting < len(found):
            raise InvalidArgumentError(
                {"user_ids": f"must be fewer, {fitting} of these: an answer can't hold them all"}
            )
        return directory_service_pb2.BatchGetMembersResponse(members=found)

    async def SearchMembers(
        self,
        request: directory_service_pb2.SearchMembersRequest,
        context: Context,
    ) -> directory_service_pb2.SearchMembersResponse:
        """Find members, the closest matches first."""
        return await self._search.answer(request)

    async def ListMembers(
        self,
        request: directory_service_pb2.ListMembersRequest,
        context: Context,
    ) -> directory_service_pb2.ListMembersResponse:
        """List members by user id, of the corp or of one department."""
        corp_id = current_principal().require_corp(request.corp_id)
        size = page_size(request.page_size, default=100, maximum=1000)
        states = _read_states(request.states)
        position = self._page_tokens.decode(request.page_token, request)
        after_user_id = "" if position is None else str(position[0])
        async with self._viewers.reading(current_principal(), corp_id) as (connection, viewer):
            if request.department_id:
                listed = await members.list_members_of(
                    connection,
                    corp_id,
                    await _find_departments(
                        connection, viewer, request.department_id, request.fetch_children
                    ),
                    viewer=viewer,
                    states=states,
                    after_user_id=after_user_id,
                    limit=size + 1,
                )
            else:
                listed = await members.list_members(
                    connection,
                    corp_id,
                    viewer=viewer,
                    states=states,
                    after_user_id=after_user_id,
                    limit=size + 1,
                )
            shown = await show_members(connection, viewer, listed[:size])
        messages = [to_member(member) for member in shown]
        fitting = count_fitting(messages)
        # Every listed member is shown: who is not seen has been left out by the query.
        _, next_page_token = self._page_tokens.cut(
            listed, fitting, request, lambda member: [member.user_id]
        )
        return directory_service_pb2.ListMembersResponse(
            members=messages[:fitting], next_page_token=next_page_token
        )

    async def ListDepartments(
        self,
        request: directory_service_pb2.ListDepartmentsRequest,
        context: Context,
    ) -> directory_service_pb2.ListDepartmentsResponse:
        """List departments by id."""
        corp_id = current_principal().require_corp(request.corp_id)
        size = page_size(request.page_size, default=100, maximum=1000)
        position = self._page_tokens.decode(request.page_token, request)
        async with self._viewers.reading(current_principal(), corp_id) as (connection, viewer):
            listed = await departments.list_departments(
                connection,
                corp_id,
                viewer=viewer,
                after_department_id=0 if position is None else int(position[0]),
                limit=size + 1,
            )
            page, next_page_token = self._page_tokens.cut(
                listed, size, request, lambda department: [department.department_id]
            )
            shown = await show_departments(connection, viewer, page)
        return directory_service_pb2.ListDepartmentsResponse(
            departments=map(to_department, shown),
            next_page_token=next_page_token,
        )


async def _find_departments(
    connection: Connection, viewer: Viewer, department_id: int, fetch_children: bool
) -> list[int]:
    """Return the department and, if asked for, those below it; only what is shown is there."""
    corp_id = viewer.corp_id
    is_shown = viewer.can_see_department(department_id)
    if not is_shown or not await departments.has_department(connection, corp_id, department_id):
        raise department_not_found_error(department_id)
    if not fetch_children:
        return [department_id]
    below = await departments.list_below(connection, corp_id, department_id)
    return [department_id, *filter(viewer.can_see_department, below)]


def _read_states(
    states: Sequence["directory_pb2.MemberState.ValueType"],
) -> frozenset[MemberState]:
    """Return the states to list; all of those who have not left where none is named."""
    known = {number: state for state, number in STATES.items()}
    if not set(states) <= known.keys():
        raise InvalidArgumentError({"states": "must be values of MemberState"})
    return frozenset(known[number] for number in states) or LISTED_STATES
