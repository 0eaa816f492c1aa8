"""What happens when a customer shows a code, or leaves, within the caller's transaction."""

from dataclasses import replace

from tieline.chassis.outbox import insert_events
from tieline.chassis.postgres import Connection
from tieline.chassis.principals import Principal
from tieline.contacts.codes import code_not_found_error
from tieline.contacts.contacts import Contact
from tieline.contacts.customer_groups import (
    CustomerGroup,
    check_room,
    customer_group_not_found_error,
)
from tieline.contacts.messages import (
    build_added_event,
    build_joined_event,
    build_left_event,
)
from tieline.contacts.repositories import SCHEMA
from tieline.contacts.repositories.contacts import ContactsRepository


async def add_contact(
    connection: Connection, corp_id: str, code: str, customer: Principal
) -> Contact:
    """Make the customer a contact of the code's member; return the one that is there if there is.

    Raises NotFoundError CODE_NOT_FOUND.
    """
    repository = ContactsRepository(connection, corp_id)
    way = await repository.find_contact_way(code)
    if way is None:
        raise code_not_found_error()
    contact = await repository.claim_contact(way, customer.id, customer.display_name)
    if contact is not None:
        await insert_events(connection, SCHEMA, [build_added_event(corp_id, contact)])
        return contact
    contact = await repository.find_contact(way.user_id, customer.id)
    assert contact is not None, "the contact that the claim conflicted with is committed and stays"
    return contact


async def join_customer_group(
    connection: Connection, corp_id: str, code: str, customer: Principal
) -> CustomerGroup:
    """Bring the customer into the code's group, unless he or she is in it; return the group.

    Raises NotFoundError CODE_NOT_FOUND and FailedPreconditionError CUSTOMER_GROUP_FULL.
    """
    repository = ContactsRepository(connection, corp_id)
    way = await repository.find_join_way(code)
    if way is None:
        raise code_not_found_error()
    group_id = way.customer_group_id
    # Before the count: two customers at once must not both be the 500th.
    await repository.lock_customer_group(group_id)
    group = await repository.find_customer_group(group_id)
    assert group is not None, "a join way's group exists"
    if await repository.is_in_group(group_id, customer.kind, customer.id):
        return group
    check_room(group)
    await repository.insert_group_member(group_id, customer.kind, customer.id)
    number = await repository.count_member_change(group_id)
    event = build_joined_event(corp_id, group_id, customer.id, number)
    await insert_events(connection, SCHEMA, [event])
    return replace(group, member_count=group.member_count + 1)


async def leave_customer_group(
    connection: Connection, corp_id: str, customer_group_id: str, customer: Principal
) -> None:
    """Take the customer out of a group; raises NotFoundError CUSTOMER_GROUP_NOT_FOUND."""
    repository = ContactsRepository(connection, corp_id)
    await repository.lock_customer_group(customer_group_id)
    if not await repository.delete_group_member(customer_group_id, customer.kind, customer.id):
        raise customer_group_not_found_error(customer_group_id)
    number = await repository.count_member_change(customer_group_id)
    event = build_left_event(corp_id, customer_group_id, customer.id, number)
    await insert_events(connection, SCHEMA, [event])
