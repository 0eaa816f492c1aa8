"""What of a member a viewer gets: the fields that no rule hides. Pure."""

from collections.abc import Collection

from tieline.api.directory.v1 import directory_pb2
from tieline.directory.visibility import Viewer


def disclose(
    viewer: Viewer, member: directory_pb2.Member, department_ids: Collection[int]
) -> directory_pb2.Member:
    """Return the member, whom the viewer sees, without what is hidden from the viewer.

    ``department_ids`` are all of the member's. Of them those are left out that are not shown.
    """
    if viewer.is_unlimited:
        return member
    for name in viewer.list_hidden_fields(member.user_id, department_ids):
        if name in directory_pb2.Member.DESCRIPTOR.fields_by_name:
            member.ClearField(name)  # type: ignore[arg-type]  # the stub wants names as literals
    if not viewer.can_see_department(member.department_id):
        member.department_id = 0
    return member
