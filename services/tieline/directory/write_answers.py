"""What a write answers: what it stored, as its caller gets it in a read."""

from collections.abc import Sequence

from tieline.directory.corp_writes import CorpWrite
from tieline.directory.departments.rules import Department
from tieline.directory.members.rules import Member
from tieline.directory.reads import show_departments, show_members
from tieline.directory.visibility.decision import Viewer
from tieline.directory.visibility.viewers import Viewers


async def answer_members(
    write: CorpWrite, viewers: Viewers, stored: Sequence[Member]
) -> list[Member]:
    """Return the members, in the same order, without what their writer does not see.

    Of whom the write itself put out of sight the id is left, and what the next write needs.
    """
    viewer = await _find_viewer(write, viewers)
    shown = await show_members(write.connection, viewer, stored)
    by_user_id = {member.user_id: member for member in shown}
    return [
        by_user_id.get(member.user_id, Member(member.user_id, change_number=member.change_number))
        for member in stored
    ]


async def answer_department(write: CorpWrite, viewers: Viewers, stored: Department) -> Department:
    """Return the department without what its writer does not see."""
    viewer = await _find_viewer(write, viewers)
    # Whoever manages a department is shown it: the list has one.
    [shown] = await show_departments(write.connection, viewer, [stored])
    return shown


async def _find_viewer(write: CorpWrite, viewers: Viewers) -> Viewer:
    writer = write.writer
    assert writer is not None, "only callers are answered"
    return await viewers.of_writer(
        writer.principal, write.corp_id, write.connection, app_range=writer.visible_range
    )
