"""What is done to tags, each within one write to the corp."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tieline.chassis.calls import current_principal
from tieline.chassis.errors import AlreadyExistsError, InvalidArgumentError
from tieline.chassis.etags import check_etag
from tieline.chassis.fields import USER_ID_PATTERN
from tieline.chassis.postgres import Connection
from tieline.chassis.principals import PrincipalKind
from tieline.directory.corp_writes import CorpWrite
from tieline.directory.limits import check_limit
from tieline.directory.members.rules import member_key
from tieline.directory.new_ids import is_far_ahead, may_meet_given, pick_ids
from tieline.directory.repositories import corps, departments, members, tags
from tieline.directory.repositories.viewers import list_departments_of
from tieline.directory.tags.rules import (
    MAX_NODES,
    MAX_TAG_ID,
    MAX_TAGS,
    Tag,
    check_may_change,
    maker_of,
    tag_not_found_error,
)
from tieline.directory.writers import DirectoryWriter


@dataclass(frozen=True, slots=True)
class Nodes:
    """What a request names to be tagged or not."""

    user_ids: list[str]
    """Of members of the corp, each once."""

    department_ids: list[int]
    """Of departments of the corp, each once."""

    invalid_user_ids: list[str]
    """As they were given."""

    invalid_department_ids: list[int]


async def create_tag(write: CorpWrite, tag_id: int, name: str) -> Tag:
    """Add a tag; ``tag_id`` 0 has one made."""
    connection, corp_id = write.connection, write.corp_id
    _require_tags(write)
    is_made = not tag_id
    tag_id = tag_id or await _make_id(write)
    if await tags.find_tag(connection, corp_id, tag_id) is not None:
        raise _tag_exists_error(tag_id)
    await _check_name_is_free(write, name)
    check_limit(await tags.count_tags(connection, corp_id) + 1, "tags", MAX_TAGS)
    await tags.insert_tag(
        connection,
        corp_id,
        tag_id,
        name=name,
        app_id=maker_of(current_principal()),
        change_number=await write.take_numbers(1),
    )
    if is_made or not is_far_ahead(tag_id):
        await corps.raise_next_tag_id(connection, corp_id, tag_id)
    write.note_tags([tag_id])
    write.audit("tag.create", f"tags/{tag_id}")
    return await _get_tag(write, tag_id)


async def rename_tag(write: CorpWrite, tag_id: int, name: str, etag: str) -> Tag:
    """Give a tag another name."""
    tag = await _get_changeable(write, tag_id)
    check_etag(etag, tag.change_number)
    if name != tag.name:
        await _check_name_is_free(write, name)
    await tags.rename_tag(
        write.connection, write.corp_id, tag_id, name, await write.take_numbers(1)
    )
    write.note_tags([tag_id])
    write.audit("tag.update", f"tags/{tag_id}", fields="name")
    return await _get_tag(write, tag_id)


async def delete_tag(write: CorpWrite, tag_id: int, etag: str) -> None:
    """Delete a tag, whatever it is on: its tombstone stands for all of that."""
    tag = await _get_changeable(write, tag_id)
    check_etag(etag, tag.change_number)
    await tags.delete_tag(write.connection, write.corp_id, tag_id)
    await write.record_removals("tag", [str(tag_id)])
    write.note_tags([tag_id])
    write.audit("tag.delete", f"tags/{tag_id}")


async def release_tags_of_app(connection: Connection, corp_id: str, app_id: str) -> None:
    """Have the tags that a deleted app made be as an administrator's, or nobody could change them.

    All at once: MAX_TAGS rows take milliseconds. A repeat finds none, and those of a corp that is
    gone are left to the purge.
    """
    if not await corps.has_corp(connection, corp_id):
        return
    if not await tags.list_tags_of_app(connection, corp_id, app_id):
        return
    write = await CorpWrite.begin(connection, corp_id)
    tag_ids = await tags.list_tags_of_app(connection, corp_id, app_id)
    await tags.release_tags(connection, corp_id, tag_ids, await write.take_numbers(len(tag_ids)))
    write.note_tags(tag_ids)
    await write.finish()


async def add_nodes(
    write: CorpWrite, tag_id: int, user_ids: Sequence[str], department_ids: Sequence[int]
) -> Nodes:
    """Tag what of the given is of the corp; return what that was and what not."""
    connection, corp_id = write.connection, write.corp_id
    await _get_changeable(write, tag_id)
    nodes = await _sort_out(write, user_ids, department_ids)
    tagged = await tags.find_tagged(
        connection, corp_id, tag_id, nodes.user_ids, nodes.department_ids
    )
    new_members = [user_id for user_id in nodes.user_ids if user_id not in tagged[0]]
    new_departments = [id_ for id_ in nodes.department_ids if id_ not in tagged[1]]
    count = len(new_members) + len(new_departments)
    if count:
        stored = await tags.count_nodes(connection, corp_id, tag_id)
        check_limit(stored + count, "nodes_of_a_tag", MAX_NODES)
        first = await write.take_numbers(count)
        await tags.tag_members(connection, corp_id, tag_id, new_members, first)
        await tags.tag_departments(
            connection, corp_id, tag_id, new_departments, first + len(new_members)
        )
        write.note_tags([tag_id])
        _audit_nodes(write, "tag.add_members", tag_id, len(new_members), len(new_departments))
    return nodes


async def remove_nodes(
    write: CorpWrite, tag_id: int, user_ids: Sequence[str], department_ids: Sequence[int]
) -> Nodes:
    """Take the tag off what of the given has it; return what is of the corp and what not."""
    connection, corp_id = write.connection, write.corp_id
    await _get_changeable(write, tag_id)
    nodes = await _sort_out(write, user_ids, department_ids)
    gone_members = await tags.untag_members(connection, corp_id, nodes.user_ids, tag_id)
    gone_departments = await tags.untag_departments(
        connection, corp_id, nodes.department_ids, tag_id
    )
    await write.record_removals("tag_member", [f"{tag}/{id_}" for tag, id_ in gone_members])
    await write.record_removals("tag_department", [f"{tag}/{id_}" for tag, id_ in gone_departments])
    if gone_members or gone_departments:
        write.note_tags([tag_id])
        _audit_nodes(write, "tag.remove_members", tag_id, len(gone_members), len(gone_departments))
    return nodes


async def _make_id(write: CorpWrite) -> int:
    next_id = write.corp.next_tag_id
    given: Collection[int] = ()
    if may_meet_given(next_id, 1):
        given = await tags.list_ids_from(write.connection, write.corp_id, next_id)
    [tag_id] = pick_ids(next_id, 1, given, limit="tag_ids", maximum=MAX_TAG_ID)
    return tag_id


async def _sort_out(
    write: CorpWrite, user_ids: Sequence[str], department_ids: Sequence[int]
) -> Nodes:
    connection, corp_id = write.connection, write.corp_id
    keys = {user_id: member_key(user_id) for user_id in user_ids}
    # What can't be a user id is not asked about: some of it PostgreSQL refuses as text.
    askable = [key for key in keys.values() if USER_ID_PATTERN.fullmatch(key)]
    listed = await members.find_listed(connection, corp_id, askable)
    existing = await departments.find_ancestors(connection, corp_id, set(department_ids))
    if write.writer is not None and write.writer.is_limited:
        # What is out of an app's range is not there for it.
        listed = await _find_managed(write, write.writer, listed)
        existing = {
            id_: above for id_, above in existing.items() if write.writer.manages("", above)
        }
    nodes = Nodes(
        user_ids=list(dict.fromkeys(key for key in keys.values() if key in listed)),
        department_ids=[id_ for id_ in dict.fromkeys(department_ids) if id_ in existing],
        invalid_user_ids=[user_id for user_id in user_ids if keys[user_id] not in listed],
        invalid_department_ids=[id_ for id_ in department_ids if id_ not in existing],
    )
    if not nodes.user_ids and not nodes.department_ids:
        raise InvalidArgumentError(
            {"user_ids": "must name members, or department_ids departments, of the corp"},
            reason="TAG_NODES_INVALID",
        )
    return nodes


async def _find_managed(
    write: CorpWrite, writer: DirectoryWriter, user_ids: Collection[str]
) -> set[str]:
    places = await list_departments_of(write.connection, write.corp_id, user_ids)
    ids = {id_ for place in places.values() for id_ in place}
    above = await departments.find_ancestors(write.connection, write.corp_id, ids)
    return {
        user_id
        for user_id, place in places.items()
        if writer.manages(user_id, [id_ for each in place for id_ in above[each]])
    }


def _require_tags(write: CorpWrite) -> None:
    """Refuse who manages a part of the corp: a tag is the corp's, or the app's that made it."""
    if current_principal().kind is not PrincipalKind.APP:
        write.require_range(None)


async def _get_changeable(write: CorpWrite, tag_id: int) -> Tag:
    _require_tags(write)
    tag = await _get_tag(write, tag_id)
    check_may_change(tag, current_principal())
    return tag


async def _get_tag(write: CorpWrite, tag_id: int) -> Tag:
    tag = await tags.find_tag(write.connection, write.corp_id, tag_id)
    if tag is None:
        raise tag_not_found_error(tag_id)
    return tag


async def _check_name_is_free(write: CorpWrite, name: str) -> None:
    other_id = await tags.find_tag_id_by_name(write.connection, write.corp_id, name)
    if other_id is not None:
        raise _tag_exists_error(other_id)


def _tag_exists_error(tag_id: int) -> AlreadyExistsError:
    return AlreadyExistsError(
        "TAG_EXISTS", "the corp has a tag of this name or id", {"tagId": str(tag_id)}
    )


def _audit_nodes(
    write: CorpWrite, action: str, tag_id: int, member_count: int, department_count: int
) -> None:
    write.audit(
        action, f"tags/{tag_id}", members=str(member_count), departments=str(department_count)
    )
