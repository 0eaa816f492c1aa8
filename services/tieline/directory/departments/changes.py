"""What is done to departments, each within one write to the corp."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tieline.chassis.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from tieline.chassis.etags import check_etag
from tieline.directory.corp_writes import CorpWrite
from tieline.directory.departments.rules import (
    MAX_DEPARTMENT_ID,
    MAX_DEPARTMENTS,
    MAX_NODES,
    ROOT_DEPARTMENT_ID,
    ROOT_PATH,
    Department,
    department_not_found_error,
)
from tieline.directory.departments.tree import LEAF, Extent, Place, plan_place
from tieline.directory.limits import check_limit
from tieline.directory.new_ids import is_far_ahead, may_meet_given, pick_ids
from tieline.directory.repositories import (
    corps,
    department_writes,
    departments,
    member_writes,
    members,
    tags,
)


@dataclass(frozen=True, slots=True)
class DepartmentChanges:
    """New values of a department; None for what stays."""

    name: str | None = None
    name_en: str | None = None
    order: int | None = None
    parent_department_id: int | None = None
    leader_user_ids: Sequence[str] | None = None

    @property
    def moves(self) -> bool:
        """Whether the department gets another parent or place among its siblings."""
        return self.parent_department_id is not None or self.order is not None

    @property
    def names(self) -> list[str]:
        """The fields that are changed."""
        return [name for name in self.__slots__ if getattr(self, name) is not None]


async def get_department(write: CorpWrite, department_id: int) -> Department:
    """Return the department, or raise NotFoundError: what the caller is not shown is not there."""
    found = await departments.find_departments(write.connection, write.corp_id, [department_id])
    if department_id not in found or not write.sees_department(department_id):
        raise department_not_found_error(department_id)
    return found[department_id]


async def _get_stored(write: CorpWrite, department_id: int) -> Department:
    """Return the department as the write has left it, in whoever's sight that is."""
    found = await departments.find_departments(write.connection, write.corp_id, [department_id])
    return found[department_id]


async def create_department(
    write: CorpWrite, department_id: int, parent_id: int, *, name: str, name_en: str, order: int
) -> Department:
    """Add a department; ``department_id`` 0 has one made."""
    connection, corp_id = write.connection, write.corp_id
    parent = await get_department(write, parent_id)
    write.require_range(parent.ancestor_ids)
    if department_id and await departments.has_department(connection, corp_id, department_id):
        raise AlreadyExistsError(
            "DEPARTMENT_ID_TAKEN",
            "the id is another department's",
            {"departmentId": str(department_id)},
        )
    is_made = not department_id
    if is_made:
        [department_id] = await make_ids(write, 1)
    place = plan_place(department_id, name, _place_of(parent))
    await _check_name_is_free(write, place.path)
    count = await departments.count_departments(connection, corp_id)
    check_limit(count + 1, "departments", MAX_DEPARTMENTS)
    await check_nodes(write, parent_id)
    await department_writes.insert_department(
        connection,
        corp_id,
        department_id,
        place,
        name=name,
        name_en=name_en,
        order=order,
        change_number=await write.take_numbers(1),
    )
    if is_made or not is_far_ahead(department_id):
        await corps.raise_next_department_id(connection, corp_id, department_id)
    write.note_departments([department_id])
    write.audit("department.create", f"departments/{department_id}")
    return await _get_stored(write, department_id)


async def update_department(
    write: CorpWrite, department_id: int, changes: DepartmentChanges, etag: str
) -> Department:
    """Change a department; under another parent it takes all below it along."""
    current = await get_department(write, department_id)
    write.require_range(current.ancestor_ids)
    check_etag(etag, current.change_number)
    if department_id == ROOT_DEPARTMENT_ID and changes.moves:
        raise root_department_error("be moved or ordered")
    name = current.name if changes.name is None else changes.name
    new_place = await _plan_move(write, current, changes)
    await department_writes.update_department(
        write.connection,
        write.corp_id,
        department_id,
        name=name,
        name_en=current.name_en if changes.name_en is None else changes.name_en,
        order=current.order if changes.order is None else changes.order,
        change_number=await write.take_numbers(1),
    )
    if new_place != _place_of(current):
        await _move(write, department_id, _place_of(current), new_place)
    if changes.leader_user_ids is not None:
        await _check_leaders(write, department_id, changes.leader_user_ids)
        await set_leaders(write, {department_id: changes.leader_user_ids})
    write.note_departments([department_id])
    write.audit("department.update", f"departments/{department_id}", fields=",".join(changes.names))
    return await _get_stored(write, department_id)


async def delete_department(write: CorpWrite, department_id: int, etag: str) -> None:
    """Delete a department that nothing is in."""
    connection, corp_id = write.connection, write.corp_id
    current = await get_department(write, department_id)
    write.require_range(current.ancestor_ids)
    check_etag(etag, current.change_number)
    if department_id == ROOT_DEPARTMENT_ID:
        raise root_department_error("be deleted")
    if await departments.has_children(connection, corp_id, department_id):
        raise FailedPreconditionError(
            "DEPARTMENT_HAS_CHILDREN", "delete or move the departments below it first"
        )
    if await departments.has_members(connection, corp_id, department_id):
        raise FailedPreconditionError("DEPARTMENT_HAS_MEMBERS", "move its members first")
    untagged = await tags.untag_departments(connection, corp_id, [department_id])
    await write.record_removals(
        "tag_department", [f"{tag_id}/{department_id}" for tag_id, _ in untagged]
    )
    await department_writes.delete_department(connection, corp_id, department_id)
    await write.record_removals("department", [str(department_id)])
    write.note_tags(tag_id for tag_id, _ in untagged)
    write.note_departments([department_id])
    write.audit("department.delete", f"departments/{department_id}")


async def make_ids(write: CorpWrite, number: int) -> list[int]:
    """Return the ids of so many new departments, the smallest first."""
    next_id = write.corp.next_department_id
    given: Collection[int] = ()
    if may_meet_given(next_id, number):
        given = await departments.list_ids_from(write.connection, write.corp_id, next_id)
    return pick_ids(next_id, number, given, limit="department_ids", maximum=MAX_DEPARTMENT_ID)


async def check_nodes(write: CorpWrite, department_id: int, added: int = 1) -> None:
    """Refuse more children and members together than a department may have."""
    count = await departments.count_nodes(write.connection, write.corp_id, department_id)
    check_limit(count + added, "nodes_of_a_department", MAX_NODES)


def root_department_error(what: str) -> FailedPreconditionError:
    """Return the error of what can't be done to the root."""
    return FailedPreconditionError("ROOT_DEPARTMENT", f"the root department can't {what}")


async def _plan_move(write: CorpWrite, current: Department, changes: DepartmentChanges) -> Place:
    """Return where the department is after the changes, once nothing speaks against it."""
    old_place = _place_of(current)
    parent_id = changes.parent_department_id or current.parent_department_id
    name = current.name if changes.name is None else changes.name
    if current.department_id == ROOT_DEPARTMENT_ID or (
        (parent_id, name) == (current.parent_department_id, current.name)
    ):
        return old_place
    parent = await get_department(write, parent_id)
    if parent_id != current.parent_department_id:
        # Who manages the old place alone could otherwise put things where others manage.
        write.require_range(parent.ancestor_ids)
        write.require_range(current.ancestor_ids[:-1])
        await check_nodes(write, parent_id)
    extent = await _read_extent(write, current)
    place = plan_place(current.department_id, name, _place_of(parent), extent)
    await _check_name_is_free(write, place.path)
    return place


async def _read_extent(write: CorpWrite, current: Department) -> Extent:
    if not await departments.has_children(write.connection, write.corp_id, current.department_id):
        return LEAF
    return await departments.read_extent(
        write.connection, write.corp_id, current.department_id, _place_of(current)
    )


async def _move(write: CorpWrite, department_id: int, old: Place, new: Place) -> None:
    connection, corp_id = write.connection, write.corp_id
    moved = [
        department_id,
        *await departments.list_below(connection, corp_id, department_id),
    ]
    first = await write.take_numbers(len(moved))
    await department_writes.move_subtree(connection, corp_id, moved, old, new, first)
    write.note_departments(moved)


async def set_leaders(write: CorpWrite, leaders: Mapping[int, Sequence[str]]) -> None:
    """Have these members, each in the department, lead the departments in this order."""
    connection, corp_id = write.connection, write.corp_id
    changed = await department_writes.replace_leaders(connection, corp_id, leaders)
    if changed:
        first = await write.take_numbers(len(changed))
        await member_writes.touch_members(connection, corp_id, changed, first)
        write.note_members(changed)


async def _check_leaders(write: CorpWrite, department_id: int, user_ids: Sequence[str]) -> None:
    connection, corp_id = write.connection, write.corp_id
    present = await members.find_in_department(connection, corp_id, department_id, user_ids)
    for index, user_id in enumerate(user_ids):
        if user_id in present:
            continue
        listed = await members.find_present(connection, corp_id, [user_id])
        if user_id not in await write.find_seen(listed):
            raise NotFoundError("USER_NOT_FOUND", "no such member", {"userId": user_id})
        raise InvalidArgumentError(
            {f"department.leader_user_ids[{index}]": "must be a member of the department"}
        )


async def _check_name_is_free(write: CorpWrite, path: str) -> None:
    sibling_id = await departments.find_sibling_by_name(write.connection, write.corp_id, path)
    if sibling_id is not None:
        raise AlreadyExistsError(
            "DEPARTMENT_EXISTS",
            "another department has this name there",
            {"departmentId": str(sibling_id)},
        )


def _place_of(department: Department) -> Place:
    if department.department_id == ROOT_DEPARTMENT_ID:
        return Place(ROOT_PATH, (ROOT_DEPARTMENT_ID,))
    return Place(department.path, department.ancestor_ids)
