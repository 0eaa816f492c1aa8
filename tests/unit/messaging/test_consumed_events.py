"""What messaging does about each event of contacts, or why it does nothing."""

import re
from typing import cast

from tieline.api.contacts.v1 import contacts_pb2
from tieline.chassis.streams import durables_of
from tieline.messaging.consumer import ContactsEvents
from tieline.messaging.live.announcer import Announcer

# What for; each has a test in integration/messaging/test_contacts_events.
HANDLED = {
    "contact_added": "the member and the customer get their conversation",
    "customer_group_created": "the group gets its conversation, with its owner in it",
    "customer_joined_group": "the customer comes into the group's conversation, unless it is over",
    "customer_left_group": "the customer is out of the group's conversation",
}

# contacts tells of no customer who is deleted and of no member who takes over: it has neither. That
# a member leaves, or a corp is suspended or deleted, messaging hears of directory and identity.
IGNORED = {
    "audit_recorded": "it is identity's, which keeps the log; contacts records no acts so far",
}


def list_published() -> set[str]:
    """Return the events of contacts' protos: payloads begin with the id of the event."""
    return {
        re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
        for name, message in contacts_pb2.DESCRIPTOR.message_types_by_name.items()
        if "event_id" in message.fields_by_name
    }


def test_every_event_of_contacts_is_handled_or_ignored_for_a_reason() -> None:
    assert list_published() <= HANDLED.keys() | IGNORED.keys()
    assert HANDLED.keys() <= list_published()


def test_what_is_handled_is_what_the_durable_brings() -> None:
    """No handler waits for what never comes, and nothing comes that no handler takes."""
    handlers = ContactsEvents(cast("Announcer", None)).handlers()
    [durable] = [each for each in durables_of("messaging") if each.stream == "CONTACTS"]

    assert set(durable.subjects) == handlers.keys()
    assert handlers.keys() == {f"tieline.contacts.v1.{name}" for name in HANDLED}
