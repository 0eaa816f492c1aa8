"""LinkedCorpService: what the caller's corp sees of others, by what those share."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tieline.api.directory.v1 import linked_corp_service_pb2, linked_corp_service_pb2_grpc
from tieline.chassis.authorization import Right, holds
from tieline.chassis.calls import current_principal
from tieline.chassis.errors import NotFoundError
from tieline.chassis.fields import check_text, check_user_id, raise_violations
from tieline.chassis.grpc_context import Context
from tieline.chassis.page_tokens import PageTokens, page_size
from tieline.chassis.postgres import Connection, Pool
from tieline.chassis.principals import Principal, PrincipalKind
from tieline.directory.linked_corps.messages import (
    to_linked_corp,
    to_linked_department,
    to_linked_member,
)
from tieline.directory.linked_corps.rules import (
    LinkedCorp,
    LinkedMember,
    hide_fields,
    link_not_found_error,
    linked_corp_not_active_error,
)
from tieline.directory.members.rules import member_key
from tieline.directory.repositories import corps, linked_corps
from tieline.directory.repositories.viewers import list_departments_of
from tieline.directory.visibility.decision import Viewer
from tieline.directory.visibility.viewers import Viewers

_PAGE_SIZE = 100
_MAX_PAGE_SIZE = 1000
_MAX_LINK_ID_CHARACTERS = 64

# No member's user id: of the rules only those hold that are about everybody.
_NOBODY = ""


@dataclass(frozen=True, slots=True)
class _Sight:
    """What a link lets its corp see."""

    link: LinkedCorp
    department_ids: Sequence[int]
    viewer: Viewer
    """What the linked corp's own rules let somebody see who is nobody there."""


class LinkedCorpServicer(linked_corp_service_pb2_grpc.LinkedCorpServiceServicer):
    """Answers for the links of its callers' corps."""

    def __init__(self, pool: Pool, page_tokens: PageTokens, viewers: Viewers) -> None:
        self._pool = pool
        self._page_tokens = page_tokens
        self._viewers = viewers

    async def ListLinkedCorps(
        self, request: linked_corp_service_pb2.ListLinkedCorpsRequest, context: Context
    ) -> linked_corp_service_pb2.ListLinkedCorpsResponse:
        """List the links that hold."""
        corp_id = current_principal().require_corp(request.corp_id)
        size = page_size(request.page_size, default=_PAGE_SIZE, maximum=_MAX_PAGE_SIZE)
        position = self._page_tokens.decode(request.page_token, request)
        async with self._pool.acquire() as connection:
            links = await linked_corps.list_links(
                connection,
                corp_id,
                after="" if position is None else str(position[0]),
                limit=size + 1,
            )
            page, next_page_token = self._page_tokens.cut(
                links, size, request, lambda link: [link.link_id]
            )
            shown = [await self._show(connection, link) for link in page]
        return linked_corp_service_pb2.ListLinkedCorpsResponse(
            linked_corps=map(to_linked_corp, shown), next_page_token=next_page_token
        )

    async def ListLinkedDepartments(
        self, request: linked_corp_service_pb2.ListLinkedDepartmentsRequest, context: Context
    ) -> linked_corp_service_pb2.ListLinkedDepartmentsResponse:
        """List the shared departments."""
        corp_id, link_id = _read_link(request)
        size = page_size(request.page_size, default=_PAGE_SIZE, maximum=_MAX_PAGE_SIZE)
        position = self._page_tokens.decode(request.page_token, request)
        async with self._pool.acquire() as connection:
            sight = await self._look(connection, corp_id, link_id)
            departments = await linked_corps.list_departments(
                connection,
                sight.link.linked_corp_id,
                sight.department_ids,
                after=0 if position is None else int(position[0]),
                limit=size + 1,
            )
        page, next_page_token = self._page_tokens.cut(
            departments, size, request, lambda department: [department.department_id]
        )
        return linked_corp_service_pb2.ListLinkedDepartmentsResponse(
            departments=map(to_linked_department, page), next_page_token=next_page_token
        )

    async def ListLinkedMembers(
        self, request: linked_corp_service_pb2.ListLinkedMembersRequest, context: Context
    ) -> linked_corp_service_pb2.ListLinkedMembersResponse:
        """List the shared members, all of them or those of one department."""
        corp_id, link_id = _read_link(request)
        size = page_size(request.page_size, default=_PAGE_SIZE, maximum=_MAX_PAGE_SIZE)
        position = self._page_tokens.decode(request.page_token, request)
        async with self._pool.acquire() as connection:
            sight = await self._look(connection, corp_id, link_id)
            user_ids = await linked_corps.list_member_ids(
                connection,
                sight.link.linked_corp_id,
                _narrow(sight, request.department_id),
                sight.viewer,
                after="" if position is None else str(position[0]),
                limit=size + 1,
            )
            page, next_page_token = self._page_tokens.cut(
                user_ids, size, request, lambda user_id: [user_id]
            )
            found = await _find_members(connection, sight, page)
        members = [to_linked_member(found[user_id]) for user_id in page if user_id in found]
        return linked_corp_service_pb2.ListLinkedMembersResponse(
            members=members, next_page_token=next_page_token
        )

    async def GetLinkedMember(
        self, request: linked_corp_service_pb2.GetLinkedMemberRequest, context: Context
    ) -> linked_corp_service_pb2.GetLinkedMemberResponse:
        """Return one shared member."""
        corp_id, link_id = _read_link(request)
        violations: dict[str, str] = {}
        check_user_id(request.user_id, "user_id", violations)
        raise_violations(violations)
        key = member_key(request.user_id)
        async with self._pool.acquire() as connection:
            sight = await self._look(connection, corp_id, link_id)
            found = await _find_members(connection, sight, [key])
        if key not in found:
            raise NotFoundError("USER_NOT_FOUND", "no such member", {"userId": request.user_id})
        return linked_corp_service_pb2.GetLinkedMemberResponse(member=to_linked_member(found[key]))

    async def _show(self, connection: Connection, link: LinkedCorp) -> LinkedCorp:
        """Return the link without the departments that its corp could not list by it."""
        named = link.share.department_ids
        if not named:
            return link
        shown: frozenset[int] = frozenset()
        if await corps.is_active(connection, link.linked_corp_id):
            viewer = await self._viewers.of_member(_NOBODY, link.linked_corp_id, connection)
            shown = frozenset(id_ for id_ in named if viewer.can_see_department(id_))
        return replace(link, share=replace(link.share, department_ids=shown))

    async def _look(self, connection: Connection, corp_id: str, link_id: str) -> _Sight:
        """Return what the corp sees by the link.

        Or raise NotFoundError LINK_NOT_FOUND, FailedPreconditionError LINKED_CORP_NOT_ACTIVE.
        """
        violations: dict[str, str] = {}
        check_text(link_id, "link_id", violations, minimum=1, maximum=_MAX_LINK_ID_CHARACTERS)
        raise_violations(violations)
        link = await linked_corps.find_link(connection, corp_id, link_id)
        if link is None:
            raise link_not_found_error(link_id)
        if not await corps.is_active(connection, link.linked_corp_id):
            raise linked_corp_not_active_error(link.linked_corp_id)
        viewer = await self._viewers.of_member(_NOBODY, link.linked_corp_id, connection)
        shared = await linked_corps.list_shared_department_ids(
            connection, link.linked_corp_id, link.share
        )
        return _Sight(link, [id_ for id_ in shared if viewer.can_see_department(id_)], viewer)


def _read_link(
    request: linked_corp_service_pb2.ListLinkedDepartmentsRequest
    | linked_corp_service_pb2.ListLinkedMembersRequest
    | linked_corp_service_pb2.GetLinkedMemberRequest,
) -> tuple[str, str]:
    """Return the corp that looks over a link, and the link.

    A linked app is in the corp that lets it in, and its own one is that which looks.
    """
    principal = current_principal()
    corp_id = principal.require_corp(request.corp_id)
    if principal.kind is not PrincipalKind.LINKED_APP:
        return corp_id, request.link_id
    if request.link_id not in ("", principal.link_id):
        raise link_not_found_error(request.link_id)
    return principal.home_corp_id, principal.link_id


def _may_read_contact_details(principal: Principal) -> bool:
    """People may. MANAGE_DIRECTORY is not enough for apps: it is about their own corp's members."""
    is_app = principal.kind in (PrincipalKind.APP, PrincipalKind.LINKED_APP)
    return not is_app or holds(principal, Right.READ_CONTACT_DETAILS)


async def _find_members(
    connection: Connection, sight: _Sight, user_ids: Sequence[str]
) -> dict[str, LinkedMember]:
    """Return those of the members who are seen, with those of their fields that are."""
    corp_id, viewer = sight.link.linked_corp_id, sight.viewer
    found = await linked_corps.find_members(
        connection, corp_id, sight.department_ids, viewer, user_ids
    )
    places = await list_departments_of(connection, corp_id, found.keys())
    return {
        user_id: hide_fields(
            member,
            sight.link.share,
            viewer.list_hidden_fields(user_id, places.get(user_id, ())),
            gets_contact_details=_may_read_contact_details(current_principal()),
        )
        for user_id, member in found.items()
    }


def _narrow(sight: _Sight, department_id: int) -> Sequence[int]:
    """Return the departments to list the members of; 0 stands for all that are shared."""
    if not department_id:
        return sight.department_ids
    if department_id not in sight.department_ids:
        raise NotFoundError(
            "DEPARTMENT_NOT_FOUND", "no such department", {"departmentId": str(department_id)}
        )
    return [department_id]
