"""What is done to a corp's attributes."""

from tieline.chassis.errors import AlreadyExistsError
from tieline.chassis.postgres import Pool, transaction
from tieline.directory.attributes.rules import (
    MAX_ATTRIBUTES,
    Attribute,
    attribute_not_found_error,
)
from tieline.directory.corp_writes import CorpWrite
from tieline.directory.limits import check_limit
from tieline.directory.repositories import attributes, member_writes
from tieline.directory.writers import DirectoryWriter

# About 100 ms under the corp's lock.
_CLEARED_AT_ONCE = 2000


async def create_attribute(write: CorpWrite, attribute: Attribute) -> Attribute:
    """Add an attribute."""
    write.require_range(None)
    known = await attributes.list_attributes(write.connection, write.corp_id)
    if any(other.name == attribute.name for other in known):
        raise AlreadyExistsError(
            "ATTRIBUTE_EXISTS", "the corp has an attribute of this name", {"name": attribute.name}
        )
    check_limit(len(known) + 1, "attributes", MAX_ATTRIBUTES)
    await attributes.upsert_attribute(write.connection, write.corp_id, attribute)
    write.audit("attribute.create", f"attributes/{attribute.name}")
    return attribute


async def update_attribute(
    write: CorpWrite, name: str, *, order: int | None, is_external: bool | None
) -> Attribute:
    """Change an attribute's order or who sees it; None for what stays."""
    current = await _get_attribute(write, name)
    changed = Attribute(
        name,
        current.kind,
        current.order if order is None else order,
        current.is_external if is_external is None else is_external,
    )
    await attributes.upsert_attribute(write.connection, write.corp_id, changed)
    write.audit("attribute.update", f"attributes/{name}")
    return changed


async def delete_attribute(pool: Pool, corp_id: str, name: str, writer: DirectoryWriter) -> None:
    """Clear the attribute's values, some members at a time, and then delete it.

    The corp's other writers get in between; the last transaction finds nobody with a value.
    """
    is_done = False
    while not is_done:
        async with transaction(pool) as connection:
            write = await CorpWrite.begin(connection, corp_id, writer)
            await _get_attribute(write, name)
            is_done = await _clear_some(write, name)
            if is_done:
                await attributes.delete_attribute(connection, corp_id, name)
                write.audit("attribute.delete", f"attributes/{name}")
            await write.finish()


async def _clear_some(write: CorpWrite, name: str) -> bool:
    """Clear values of some members; return whether those were all."""
    connection, corp_id = write.connection, write.corp_id
    holders = await attributes.list_holders(connection, corp_id, name, _CLEARED_AT_ONCE)
    if holders:
        first = await write.take_numbers(len(holders))
        await attributes.clear_values(connection, corp_id, name, holders)
        await member_writes.touch_members(connection, corp_id, holders, first)
        write.note_members(holders)
    return len(holders) < _CLEARED_AT_ONCE


async def _get_attribute(write: CorpWrite, name: str) -> Attribute:
    write.require_range(None)
    attribute = await attributes.find_attribute(write.connection, write.corp_id, name)
    if attribute is None:
        raise attribute_not_found_error(name)
    return attribute
