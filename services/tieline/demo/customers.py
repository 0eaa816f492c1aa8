"""Act four: customers add staff, join a customer group and get a notice."""

from collections.abc import Sequence
from dataclasses import dataclass

from tieline.api.contacts.v1 import contacts_service_pb2
from tieline.api.messaging.v1 import messaging_service_pb2
from tieline.client import SignedInCustomer, pages
from tieline.demo.channel import Channel
from tieline.demo.conversations import read_lines, send_text
from tieline.demo.onboarding import Colleague, Corp
from tieline.demo.stage import Stage, find, together, wait_until

# Members who show a code in their store.
COUNTERS = 8

NOTICE = "金玉会员们:明早十点店庆,群里发红包,先到先得。"


@dataclass(frozen=True, slots=True)
class Club:
    """A customer group and the customers in it."""

    conversation_id: str
    customers: Sequence[SignedInCustomer]


async def receive_customers(stage: Stage, corp: Corp, colleagues: Sequence[Colleague]) -> Club:
    """Bring customers in, up to the notice that all of them hold."""
    customers = await _sign_in(stage)
    await _add_contacts(stage, corp, colleagues[:COUNTERS], customers)
    club = await _join_group(stage, corp, customers)
    await _give_notice(stage, corp, club)
    return club


async def _sign_in(stage: Stage) -> list[SignedInCustomer]:
    with stage.journal.step("customers signed in through a channel") as step:
        channel = await Channel.open(stage.administrator, "金玉会员小程序")
        customers = await together(
            channel.sign_in(stage.tieline, f"openid-{number}", name)
            for number, name in enumerate(stage.material.customer_names)
        )
        step.count = len(customers)
    return customers


async def _add_contacts(
    stage: Stage, corp: Corp, members: Sequence[Colleague], customers: Sequence[SignedInCustomer]
) -> None:
    """Have each customer scan the code of one member, and each member find them all."""
    with stage.journal.step("contacts added by code") as step:
        ways = await together(
            member.me.contacts.CreateContactWay(
                contacts_service_pb2.CreateContactWayRequest(state="柜台")
            )
            for member in members
        )
        codes = [way.contact_way.code for way in ways]
        await together(
            customer.contacts.AddContact(
                contacts_service_pb2.AddContactRequest(
                    corp_id=corp.corp_id, code=codes[number % len(codes)]
                )
            )
            for number, customer in enumerate(customers)
        )
        listed = await together(_list_contacts(member) for member in members)
        step.count = sum(len(contacts) for contacts in listed)
    expected = {customer.customer_id for customer in customers}
    missing = len(expected - set().union(*listed))
    stage.promise(
        "members know their customers",
        f"{missing} contacts are missing" if missing else "",
        f"{len(expected)} customers of {len(members)} members",
    )


async def _list_contacts(member: Colleague) -> set[str]:
    request = contacts_service_pb2.ListContactsRequest()
    return {
        contact.customer_id async for contact in pages(member.me.contacts.ListContacts, request)
    }


async def _join_group(stage: Stage, corp: Corp, customers: Sequence[SignedInCustomer]) -> Club:
    """Make a group; every customer joins by its code and sees its conversation."""
    contacts = corp.owner.contacts
    with stage.journal.step("customers joined a customer group") as step:
        created = await contacts.CreateCustomerGroup(
            contacts_service_pb2.CreateCustomerGroupRequest(name="金玉会员群")
        )
        group_id = created.group.customer_group_id
        way = await contacts.CreateJoinWay(
            contacts_service_pb2.CreateJoinWayRequest(customer_group_id=group_id)
        )
        request = contacts_service_pb2.JoinCustomerGroupRequest(
            corp_id=corp.corp_id, code=way.join_way.code
        )
        await together(customer.contacts.JoinCustomerGroup(request) for customer in customers)
        await _wait_for_participants(corp, group_id, len(customers) + 1)
        step.count = len(customers)
    return Club(group_id, customers)


async def _wait_for_participants(corp: Corp, group_id: str, expected: int) -> None:
    """Return once messaging has heard of everybody in the group."""
    request = messaging_service_pb2.GetConversationRequest(conversation_id=group_id)

    async def are_in() -> bool:
        response = await find(corp.owner.messaging.GetConversation(request))
        return response is not None and response.conversation.participant_count >= expected

    await wait_until(f"{expected} people were in the group's conversation", are_in)


async def _give_notice(stage: Stage, corp: Corp, club: Club) -> None:
    with stage.journal.step("customers who hold the notice") as step:
        notice = await send_text(corp.owner, club.conversation_id, NOTICE)
        held = await together(
            read_lines(customer, club.conversation_id, corp_id=corp.corp_id)
            for customer in club.customers
        )
        step.count = sum(notice in lines for lines in held)
    missing = len(club.customers) - step.count
    stage.promise(
        "the notice reaches everybody",
        f"{missing} customers do not have it" if missing else "",
        f"{step.count} customers",
    )
