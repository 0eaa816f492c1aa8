"""Reads of members and departments: each result passes the viewer here on its way out."""

from collections.abc import Collection, Iterable, Sequence

from tieline.api.directory.v1 import directory_service_pb2
from tieline.chassis.calls import current_principal
from tieline.chassis.postgres import Connection
from tieline.chassis.principals import PrincipalKind
from tieline.directory.departments.rules import Department, department_not_found_error
from tieline.directory.members.cache import KeptMember
from tieline.directory.members.messages import to_member
from tieline.directory.members.reader import MemberReader
from tieline.directory.members.rules import Member, member_key, user_not_found_error
from tieline.directory.repositories import departments, members
from tieline.directory.repositories.viewers import list_departments_of
from tieline.directory.visibility.decision import Viewer
from tieline.directory.visibility.disclosure import (
    disclose_department,
    disclose_member,
    gets_all,
    sees_member,
)
from tieline.directory.visibility.viewers import Viewers


async def get_member(
    reader: MemberReader, viewers: Viewers, corp_id: str, user_id: str
) -> directory_service_pb2.GetMemberResponse:
    """Return the member; who is not seen is not there."""
    found, numbers = await reader.find(corp_id, member_key(user_id))
    if found is None:
        raise user_not_found_error(user_id)
    principal = current_principal()
    if principal.kind is PrincipalKind.MEMBER:
        viewer = viewers.recall(principal, corp_id, numbers)
        if viewer is not None and await _gets_all(reader, viewer, found, user_id):
            return directory_service_pb2.GetMemberResponse.FromString(found.message)
    [member] = await get_members(viewers, corp_id, [user_id])
    return directory_service_pb2.GetMemberResponse(member=to_member(member))


async def _gets_all(reader: MemberReader, viewer: Viewer, found: KeptMember, user_id: str) -> bool:
    """Tell whether the viewer gets the member whole; NotFoundError where not at all."""
    if viewer.is_unlimited:
        return True
    if not viewer.can_see(found.user_id, found.department_ids):
        raise user_not_found_error(user_id)
    leader = None
    if found.direct_leader:
        leader, _ = await reader.find(viewer.corp_id, found.direct_leader)
        if leader is None:
            return False
    return gets_all(viewer, found, leader)


async def get_members(viewers: Viewers, corp_id: str, user_ids: Sequence[str]) -> list[Member]:
    """Return the members in the order asked for; who is not seen is not there."""
    keys = [member_key(user_id) for user_id in user_ids]
    async with viewers.reading(current_principal(), corp_id) as (connection, viewer):
        found = await members.find_members(connection, corp_id, keys)
        shown = await show_members(connection, viewer, found.values())
    by_key = {member.user_id: member for member in shown}
    for user_id, key in zip(user_ids, keys, strict=True):
        if key not in by_key:
            raise user_not_found_error(user_id)
    return [by_key[key] for key in keys]


async def show_members(
    connection: Connection, viewer: Viewer, found: Iterable[Member]
) -> list[Member]:
    """Return those members whom the viewer sees, as the viewer gets them."""
    seen = [member for member in found if sees_member(viewer, member)]
    if viewer.is_unlimited:
        return seen
    leaders = await find_seen(
        connection, viewer, {member.direct_leader for member in seen if member.direct_leader}
    )
    return [disclose_member(viewer, member, leaders) for member in seen]


async def get_departments(
    viewers: Viewers, corp_id: str, department_ids: Sequence[int]
) -> list[Department]:
    """Return the departments in the order asked for; what is not shown is not there."""
    async with viewers.reading(current_principal(), corp_id) as (connection, viewer):
        found = await departments.find_departments(connection, corp_id, department_ids)
        shown = await show_departments(connection, viewer, list(found.values()))
    by_id = {department.department_id: department for department in shown}
    for department_id in department_ids:
        if department_id not in by_id:
            raise department_not_found_error(department_id)
    return [by_id[department_id] for department_id in department_ids]


async def show_departments(
    connection: Connection, viewer: Viewer, found: Sequence[Department]
) -> list[Department]:
    """Return those departments that are shown to the viewer, as the viewer gets them."""
    if viewer.is_unlimited:
        return list(found)
    shown = [each for each in found if viewer.can_see_department(each.department_id)]
    leaders = await find_seen(
        connection, viewer, {user_id for each in shown for user_id in each.leader_user_ids}
    )
    return [disclose_department(viewer, each, leaders) for each in shown]


async def find_seen(
    connection: Connection, viewer: Viewer, user_ids: Collection[str]
) -> Collection[str]:
    """Return which of the members the viewer sees."""
    if viewer.is_unlimited or not user_ids:
        return user_ids
    places = await list_departments_of(connection, viewer.corp_id, user_ids)
    return {user_id for user_id, place in places.items() if viewer.can_see(user_id, place)}
