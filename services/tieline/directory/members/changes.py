"""What is done to members, each within one write to the corp."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from tieline.api.directory.v1 import directory_pb2
from tieline.chassis.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
)
from tieline.chassis.etags import check_etag
from tieline.directory.attributes.rules import check_kinds
from tieline.directory.corp_writes import CorpWrite
from tieline.directory.departments.changes import check_nodes
from tieline.directory.departments.rules import department_not_found_error
from tieline.directory.members.fields import change_member
from tieline.directory.members.rules import (
    MAIN_DEPARTMENT_RULE,
    Member,
    MemberDepartment,
    MemberState,
    member_left_error,
    plan_departments,
    state_when_enabled,
    user_not_found_error,
)
from tieline.directory.repositories import (
    attributes,
    department_writes,
    departments,
    departures,
    member_writes,
    members,
    schools,
    tags,
)

_UNIQUE_FIELDS = ("mobile", "email", "biz_email")


@dataclass(frozen=True, slots=True)
class MemberChange:
    """New values of one member."""

    user_id: str
    values: Mapping[str, Any]
    """By the names of ``Member``'s fields."""

    etag: str
    field: str
    """Path in the request of what is to change."""


class _Step(NamedTuple):
    """A member before and after a write."""

    before: Member | None
    after: Member
    field: str
    """Path in the request of what is to change."""

    department_ids: Collection[int]
    """Departments that the caller named."""

    leader: str
    """The direct leader whom the caller named; empty for nobody."""


async def create_member(write: CorpWrite, member: Member) -> Member:
    """Add a member, or bring one back who left."""
    found = await members.find_members(write.connection, write.corp_id, [member.user_id])
    before = found.get(member.user_id)
    if before is not None and before.state is not MemberState.LEFT:
        raise AlreadyExistsError(
            "USER_EXISTS", "the user id is another member's", {"userId": member.user_id}
        )
    named = [at.department_id for at in member.departments]
    [stored] = await _store(write, [_Step(None, member, "member", named, member.direct_leader)])
    write.audit("member.create", f"members/{member.user_id}")
    return stored


async def update_members(write: CorpWrite, changes: Sequence[MemberChange]) -> list[Member]:
    """Change members, all or none; return them as they are then, in the same order."""
    current = await find_current(write, [change.user_id for change in changes])
    steps: list[_Step] = []
    for change in changes:
        member = current[change.user_id]
        check_etag(change.etag, member.change_number)
        steps.append(_plan_step(write, member, change))
        write.audit(
            "member.update", f"members/{change.user_id}", fields=",".join(sorted(change.values))
        )
    return await _store(write, steps)


async def remove_members(write: CorpWrite, user_ids: Sequence[str], etag: str = "") -> None:
    """Have members leave, all or none; ``etag`` is that of a single one.

    Who is in departments that the caller is not shown as well stays in those alone: the caller may
    not decide over them, and to refuse it would tell of them.
    """
    current = await find_current(write, user_ids)
    ancestors = await _find_ancestors(write, current.values())
    for user_id in user_ids:
        member = current[user_id]
        # Out of all that is shown, so that each must be the caller's to manage.
        for at in _list_shown(write, member) or member.departments:
            write.require_member(user_id, ancestors[at.department_id])
        _check_is_not_owner(write, user_id)
        check_etag(etag, member.change_number)
    staying = {id_: member for id_, member in current.items() if _stays_unseen(write, member)}
    leaving = [user_id for user_id in user_ids if user_id not in staying]
    if leaving:
        await leave(write, leaving)
    for user_id in leaving:
        write.audit("member.delete", f"members/{user_id}")
    if staying:
        await _keep_in_unseen(write, staying.values())


def _list_shown(write: CorpWrite, member: Member) -> list[MemberDepartment]:
    return [at for at in member.departments if write.sees_department(at.department_id)]


def _stays_unseen(write: CorpWrite, member: Member) -> bool:
    """Tell whether the member is in departments over which the caller may not decide."""
    is_all_shown = len(_list_shown(write, member)) == len(member.departments)
    return not is_all_shown and not write.manages_anywhere(member.user_id)


async def _keep_in_unseen(write: CorpWrite, staying: Iterable[Member]) -> None:
    """Take the members out of every department that the caller is shown."""
    steps: list[_Step] = []
    for member in staying:
        nowhere = replace(member, department_id=0, departments=())
        after = _keep_unseen(write, member, nowhere, is_main_named=False)
        steps.append(_Step(member, after, "", (), ""))
        write.audit("member.update", f"members/{member.user_id}", fields="departments")
    await _store(write, steps)


async def leave(write: CorpWrite, user_ids: Sequence[str]) -> None:
    """Carry out that these members left, whoever decided it."""
    connection, corp_id = write.connection, write.corp_id
    untagged = await tags.untag_members(connection, corp_id, user_ids)
    await write.record_removals(
        "tag_member", [f"{tag_id}/{user_id}" for tag_id, user_id in untagged]
    )
    write.note_tags(tag_id for tag_id, _ in untagged)
    write.note_school_departments(
        await schools.delete_administrators(connection, corp_id, user_ids)
    )
    led = await departures.remove_leadership(connection, corp_id, user_ids)
    await _touch_departments(write, led)
    reports = await departures.find_reports(connection, corp_id, user_ids)
    if reports:
        await departures.clear_direct_leader(connection, corp_id, reports)
        await member_writes.touch_members(
            connection, corp_id, reports, await write.take_numbers(len(reports))
        )
    first = await write.take_numbers(len(user_ids))
    await departures.mark_left(connection, corp_id, user_ids, first)
    write.note_members([*reports, *user_ids])
    write.tell_of_members("member_left", directory_pb2.MemberLeft, user_ids)


async def disable_member(write: CorpWrite, user_id: str) -> Member:
    """Keep a member from signing in; who is disabled stays so."""
    member = await _find_manageable(write, user_id)
    _check_is_not_owner(write, user_id)
    if member.state is MemberState.DISABLED:
        return member
    write.tell_of_members("member_disabled", directory_pb2.MemberDisabled, [user_id])
    write.audit("member.disable", f"members/{user_id}")
    return await _set_state(write, member, MemberState.DISABLED)


async def enable_member(write: CorpWrite, user_id: str) -> Member:
    """Let a disabled member sign in again; anybody else stays as before."""
    member = await _find_manageable(write, user_id)
    if member.state is not MemberState.DISABLED:
        return member
    write.tell_of_members("member_enabled", directory_pb2.MemberEnabled, [user_id])
    write.audit("member.enable", f"members/{user_id}")
    return await _set_state(write, member, state_when_enabled(member.activate_time))


async def activate_member(write: CorpWrite, user_id: str) -> None:
    """Note that a member accepted an invitation; who is gone or active already stays so."""
    found = await members.find_members(write.connection, write.corp_id, [user_id])
    member = found.get(user_id)
    if member is None or member.state is MemberState.LEFT or member.activate_time is not None:
        return
    number = await write.take_numbers(1)
    await member_writes.activate(write.connection, write.corp_id, user_id, number)
    write.note_members([user_id])


async def find_current(write: CorpWrite, user_ids: Collection[str]) -> dict[str, Member]:
    """Return the members, or raise for one who is missing, unseen by the caller, or left."""
    found = await members.find_members(write.connection, write.corp_id, user_ids)
    for user_id in user_ids:
        if user_id not in found or not write.sees_member(found[user_id]):
            raise user_not_found_error(user_id)
        if found[user_id].state is MemberState.LEFT:
            raise member_left_error(user_id)
    return found


async def _find_manageable(write: CorpWrite, user_id: str) -> Member:
    found = await find_current(write, [user_id])
    ancestors = await _find_ancestors(write, found.values())
    write.require_member(user_id, (id_ for above in ancestors.values() for id_ in above))
    return found[user_id]


async def _set_state(write: CorpWrite, member: Member, state: MemberState) -> Member:
    number = await write.take_numbers(1)
    await member_writes.set_state(write.connection, write.corp_id, member.user_id, state, number)
    write.note_members([member.user_id])
    found = await members.find_members(write.connection, write.corp_id, [member.user_id])
    return found[member.user_id]


def _plan_step(write: CorpWrite, member: Member, change: MemberChange) -> _Step:
    values = dict(change.values)
    main_id = values.get("department_id", 0)
    try:
        # A member's own department that the caller is not shown is none of the member's.
        if main_id and "departments" not in values and not write.sees_department(main_id):
            raise ValueError(MAIN_DEPARTMENT_RULE)
        changed = change_member(member, values)
    except ValueError as error:
        raise InvalidArgumentError({f"{change.field}.department_id": str(error)}) from None
    named: list[int] = []
    if "departments" in values:
        named = [at.department_id for at in changed.departments]
        changed = _keep_unseen(write, member, changed, is_main_named=main_id != 0)
    leader = values.get("direct_leader", "")
    return _Step(member, changed, change.field, named, leader)


def _keep_unseen(write: CorpWrite, before: Member, after: Member, *, is_main_named: bool) -> Member:
    """Leave the member in the departments that the caller is not shown, and could not name.

    To take them away would be to the caller's surprise, and to refuse it would tell of them.
    """
    named = {at.department_id for at in after.departments}
    kept = tuple(
        at
        for at in before.departments
        if at.department_id not in named and not write.sees_department(at.department_id)
    )
    was_main = any(at.department_id == before.department_id for at in kept)
    main_id = before.department_id if was_main and not is_main_named else after.department_id
    main_id, departments = plan_departments((*after.departments, *kept), main_id)
    return replace(after, department_id=main_id, departments=departments)


async def _store(write: CorpWrite, steps: Sequence[_Step]) -> list[Member]:
    """Write members over what they were before; return them as they are then."""
    connection, corp_id = write.connection, write.corp_id
    changed = [step.after for step in steps]
    user_ids = [member.user_id for member in changed]
    await _check_departments(write, steps)
    await _check_references(write, steps)
    await _check_unique_values(write, changed)
    if len(changed) > 1:
        await member_writes.clear_unique_values(connection, corp_id, user_ids)
    first = await write.take_numbers(len(changed))
    await member_writes.upsert_members(connection, corp_id, changed, first)
    await member_writes.replace_departments(connection, corp_id, changed)
    await _touch_departments(
        write, await member_writes.replace_leadership(connection, corp_id, changed)
    )
    cycle = await members.find_leader_cycle(connection, corp_id, user_ids)
    if cycle is not None:
        raise FailedPreconditionError(
            "LEADER_CYCLE", "the member would report to himself or herself", {"userId": cycle}
        )
    write.note_members(user_ids)
    stored = await members.find_members(connection, corp_id, user_ids)
    return [stored[user_id] for user_id in user_ids]


async def _check_departments(write: CorpWrite, steps: Sequence[_Step]) -> None:
    """Refuse departments that are missing, full, or not the caller's to manage."""
    known = [member for step in steps for member in step[:2] if member is not None]
    ancestors = await _find_ancestors(write, known)
    joining: dict[int, int] = {}
    for before, after, _, named, _ in steps:
        old = set() if before is None else {at.department_id for at in before.departments}
        new = {at.department_id for at in after.departments}
        for department_id in sorted(new):
            is_missing = department_id not in ancestors
            if is_missing or (department_id in named and not write.sees_department(department_id)):
                raise department_not_found_error(department_id)
        _check_places(write, before, after, ancestors)
        for department_id in new - old:
            joining[department_id] = joining.get(department_id, 0) + 1
    for department_id, count in sorted(joining.items()):
        await check_nodes(write, department_id, count)


def _check_places(
    write: CorpWrite,
    before: Member | None,
    after: Member,
    ancestors: Mapping[int, tuple[int, ...]],
) -> None:
    """Refuse changes in departments that the caller does not manage: order and leadership too.

    The main department is both the old one's and the new one's. So it is for the rows of files.
    """
    held = () if before is None else before.departments
    if held:
        above = (id_ for at in held for id_ in ancestors[at.department_id])
        write.require_member(after.user_id, above)
    for at in sorted(set(held).symmetric_difference(after.departments)):
        write.require_range(ancestors[at.department_id])
    if held and held[0].department_id != after.department_id:
        mains = (held[0].department_id, after.department_id)
        write.require_range(id_ for main_id in mains for id_ in ancestors[main_id])


async def _check_references(write: CorpWrite, steps: Sequence[_Step]) -> None:
    """Refuse direct leaders and attributes that the corp does not have."""
    connection, corp_id = write.connection, write.corp_id
    leaders = sorted({step.leader for step in steps} - {""})
    if leaders:
        added = {step.after.user_id for step in steps if step.before is None}
        listed = await members.find_listed(connection, corp_id, leaders)
        seen = added.union(await write.find_seen(listed))
        for user_id in leaders:
            if user_id not in seen:
                raise user_not_found_error(user_id)
    if any(step.after.extended_attributes != "{}" for step in steps):
        known = {
            attribute.name: attribute
            for attribute in await attributes.list_attributes(connection, corp_id)
        }
        for step in steps:
            field = f"{step.field}.extended_attributes"
            check_kinds(step.after.extended_attributes, known, field)


async def _check_unique_values(write: CorpWrite, changed: Sequence[Member]) -> None:
    """Refuse numbers and addresses that others have, in the corp or in the same request."""
    taken = await members.find_taken(
        write.connection,
        write.corp_id,
        mobiles=[member.mobile for member in changed if member.mobile],
        emails=[member.email for member in changed if member.email],
        biz_emails=[member.biz_email for member in changed if member.biz_email],
        but_user_ids=[member.user_id for member in changed],
    )
    for member in changed:
        for name in _UNIQUE_FIELDS:
            value = getattr(member, name).lower()
            if value and (name, value) in taken:
                raise AlreadyExistsError(
                    "FIELD_TAKEN",
                    f"another member has this {name}",
                    {"field": name, "userId": member.user_id},
                )
            taken.add((name, value))


async def _find_ancestors(write: CorpWrite, of: Collection[Member]) -> dict[int, tuple[int, ...]]:
    department_ids = {at.department_id for member in of for at in member.departments}
    return await departments.find_ancestors(write.connection, write.corp_id, department_ids)


async def _touch_departments(write: CorpWrite, department_ids: Sequence[int]) -> None:
    if department_ids:
        first = await write.take_numbers(len(department_ids))
        await department_writes.touch_departments(
            write.connection, write.corp_id, department_ids, first
        )
        write.note_departments(department_ids)


def _check_is_not_owner(write: CorpWrite, user_id: str) -> None:
    if user_id == write.corp.owner_user_id:
        raise FailedPreconditionError(
            "OWNER_STAYS",
            "the corp's owner can be neither disabled nor deleted",
            {"userId": user_id},
        )
