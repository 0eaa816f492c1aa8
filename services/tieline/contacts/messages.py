"""Contacts' values as protobuf messages and events.

Each event's key names the row that its transaction has inserted or locked.
"""

from tieline.api.contacts.v1 import contacts_pb2
from tieline.chassis.fields import to_timestamp
from tieline.chassis.outbox import Event, build_event
from tieline.contacts.contacts import Contact, ContactWay
from tieline.contacts.customer_groups import CustomerGroup, JoinWay

CONTACT_ADDED = "tieline.contacts.v1.contact_added"
CUSTOMER_GROUP_CREATED = "tieline.contacts.v1.customer_group_created"
CUSTOMER_JOINED_GROUP = "tieline.contacts.v1.customer_joined_group"
CUSTOMER_LEFT_GROUP = "tieline.contacts.v1.customer_left_group"


def to_contact_way(way: ContactWay) -> contacts_pb2.ContactWay:
    """Return a contact way."""
    return contacts_pb2.ContactWay(
        code=way.code,
        user_id=way.user_id,
        state=way.state,
        create_time=to_timestamp(way.create_time),
    )


def to_contact(contact: Contact) -> contacts_pb2.Contact:
    """Return a contact."""
    return contacts_pb2.Contact(
        user_id=contact.user_id,
        customer_id=contact.customer_id,
        customer_name=contact.customer_name,
        state=contact.state,
        create_time=to_timestamp(contact.create_time),
    )


def to_customer_group(group: CustomerGroup) -> contacts_pb2.CustomerGroup:
    """Return a customer group."""
    return contacts_pb2.CustomerGroup(
        customer_group_id=group.customer_group_id,
        name=group.name,
        owner_user_id=group.owner_user_id,
        member_count=group.member_count,
        create_time=to_timestamp(group.create_time),
    )


def to_join_way(way: JoinWay) -> contacts_pb2.JoinWay:
    """Return a join way."""
    return contacts_pb2.JoinWay(
        code=way.code,
        customer_group_id=way.customer_group_id,
        create_time=to_timestamp(way.create_time),
    )


def build_added_event(corp_id: str, contact: Contact) -> Event:
    """Build the event of a new contact."""
    message = contacts_pb2.ContactAdded(corp_id=corp_id, contact=to_contact(contact))
    key = f"{contact.user_id}/{contact.customer_id}"
    return build_event(CONTACT_ADDED, corp_id, key, message)


def build_created_event(corp_id: str, group: CustomerGroup) -> Event:
    """Build the event of a new group."""
    message = contacts_pb2.CustomerGroupCreated(corp_id=corp_id, group=to_customer_group(group))
    return build_event(CUSTOMER_GROUP_CREATED, corp_id, group.customer_group_id, message)


def build_joined_event(
    corp_id: str, customer_group_id: str, customer_id: str, change_number: int
) -> Event:
    """Build the event of a customer who came into a group."""
    message = contacts_pb2.CustomerJoinedGroup(
        corp_id=corp_id,
        customer_group_id=customer_group_id,
        customer_id=customer_id,
        change_number=change_number,
    )
    return build_event(CUSTOMER_JOINED_GROUP, corp_id, customer_group_id, message)


def build_left_event(
    corp_id: str, customer_group_id: str, customer_id: str, change_number: int
) -> Event:
    """Build the event of a customer who left a group."""
    message = contacts_pb2.CustomerLeftGroup(
        corp_id=corp_id,
        customer_group_id=customer_group_id,
        customer_id=customer_id,
        change_number=change_number,
    )
    return build_event(CUSTOMER_LEFT_GROUP, corp_id, customer_group_id, message)
