"""What a viewer gets of the members and departments that the viewer sees. Pure."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from tieline.directory.departments.rules import Department
from tieline.directory.members.cache import KeptMember
from tieline.directory.members.rules import Member
from tieline.directory.visibility.decision import Viewer

# What a hidden field holds.
_EMPTY = Member(user_id="")


def sees_member(viewer: Viewer, member: Member) -> bool:
    """Tell whether the viewer sees the member."""
    return viewer.is_unlimited or viewer.can_see(member.user_id, departments_of(member))


def gets_all(viewer: Viewer, member: KeptMember, leader: KeptMember | None) -> bool:
    """Tell whether a viewer who sees the member gets everything of it.

    ``leader`` is the direct leader, None where there is none.
    """
    if viewer.is_unlimited:
        return True
    departments = member.department_ids
    return (
        not viewer.list_hidden_fields(member.user_id, departments)
        and all(map(viewer.can_see_department, departments))
        and (leader is None or viewer.can_see(leader.user_id, leader.department_ids))
    )


def disclose_member(viewer: Viewer, member: Member, seen_leaders: Collection[str]) -> Member:
    """Return a member whom the viewer sees without what is hidden from the viewer.

    That are the fields that rules name, departments that are not shown, and a leader who is not
    among ``seen_leaders``, those whom the viewer sees.
    """
    if viewer.is_unlimited:
        return member
    departments = departments_of(member)
    hidden = viewer.list_hidden_fields(member.user_id, departments)
    changes: dict[str, Any] = {name: getattr(_EMPTY, name) for name in hidden}
    if member.direct_leader and member.direct_leader not in seen_leaders:
        changes["direct_leader"] = ""
    if not all(map(viewer.can_see_department, departments)):
        changes["departments"] = tuple(
            at for at in member.departments if viewer.can_see_department(at.department_id)
        )
        if not viewer.can_see_department(member.department_id):
            changes["department_id"] = 0
    return replace(member, **changes) if changes else member


def disclose_department(
    viewer: Viewer, department: Department, seen_leaders: Collection[str]
) -> Department:
    """Return a department that is shown, without leaders whom the viewer does not see.

    How many members it has would tell of those who are hidden, where anybody is.
    """
    if viewer.is_unlimited:
        return department
    leaders = tuple(user_id for user_id in department.leader_user_ids if user_id in seen_leaders)
    member_count = department.member_count if viewer.sees_everybody else 0
    return replace(department, leader_user_ids=leaders, member_count=member_count)


def departments_of(member: Member) -> list[int]:
    """Return the ids of all departments of the member."""
    return [at.department_id for at in member.departments]
