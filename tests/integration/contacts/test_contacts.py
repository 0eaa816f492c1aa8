"""Contact ways, contacts and their list."""

import asyncio

import grpc
import pytest

from calls import call, refusal
from integration.contacts.corp import Corp
from published_events import published_events
from tieline.api.contacts.v1 import contacts_pb2, contacts_service_pb2
from tieline.chassis.ids import new_corp_id, new_customer_id, new_uuid7
from tieline.embedded.nats import EmbeddedNats


async def test_code_leads_customers_to_its_member(corp: Corp) -> None:
    way = await corp.way("li.wei", state="shop 12")
    customer_id = new_customer_id()

    contact = await corp.add(way.code, corp.customer(customer_id, name="王芳"))

    assert len(way.code) == 32
    assert (way.user_id, way.state) == ("li.wei", "shop 12")
    assert (contact.user_id, contact.customer_id) == ("li.wei", customer_id)
    assert contact.customer_name == "王芳"
    assert contact.create_time.seconds > 0


async def test_mark_of_the_way_is_shown_to_the_member_and_not_to_the_customer(corp: Corp) -> None:
    way = await corp.way(state="shop 12")
    customer = corp.customer()

    added = [await corp.add(way.code, customer) for _ in range(2)]

    assert [contact.state for contact in added] == ["", ""]
    [listed] = (await corp.list_contacts()).contacts
    assert listed.state == "shop 12"
    listed.state = ""
    assert added == [listed, listed]


async def test_repeated_request_makes_one_code(corp: Corp) -> None:
    same_request = contacts_service_pb2.CreateContactWayRequest(request_id=new_uuid7())

    responses = await asyncio.gather(
        *(call(corp.contacts.CreateContactWay, same_request, corp.member()) for _ in range(4))
    )

    assert len({response.contact_way.code for response in responses}) == 1


async def test_code_under_a_used_request_id_is_refused(corp: Corp) -> None:
    request = contacts_service_pb2.CreateContactWayRequest(request_id=new_uuid7())
    await call(corp.contacts.CreateContactWay, request, corp.member())
    request.state = "another"

    error = await refusal(corp.contacts.CreateContactWay, request, corp.member())

    assert (error.code, error.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "REQUEST_ID_REUSED",
    )


async def test_same_request_id_of_another_member_is_another_request(corp: Corp) -> None:
    request = contacts_service_pb2.CreateContactWayRequest(request_id=new_uuid7())

    mine = await call(corp.contacts.CreateContactWay, request, corp.member("li.wei"))
    theirs = await call(corp.contacts.CreateContactWay, request, corp.member("zhang.min"))

    assert theirs.contact_way.user_id == "zhang.min"
    assert theirs.contact_way.code != mine.contact_way.code


async def test_long_state_is_refused(corp: Corp) -> None:
    request = contacts_service_pb2.CreateContactWayRequest(request_id=new_uuid7(), state="x" * 31)

    error = await refusal(corp.contacts.CreateContactWay, request, corp.member())

    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert set(error.violations) == {"state"}


async def test_adding_again_returns_the_contact_as_it_is(corp: Corp) -> None:
    way = await corp.way(state="shop")
    other_way = await corp.way(state="website")
    customer_id = new_customer_id()
    first = await corp.add(way.code, corp.customer(customer_id, name="王芳"))

    again = await corp.add(other_way.code, corp.customer(customer_id, name="Wang Fang"))

    assert again == first
    [listed] = (await corp.list_contacts()).contacts
    assert (listed.customer_name, listed.state) == ("王芳", "shop")


async def test_adding_several_times_at_once_makes_one_contact_and_one_event(
    corp: Corp, nats: EmbeddedNats
) -> None:
    way = await corp.way()
    customer_id = new_customer_id()
    customer = corp.customer(customer_id)

    contacts = await asyncio.gather(*(corp.add(way.code, customer) for _ in range(6)))
    # Whatever was published of the six is in the stream before this one's.
    last = await corp.add(way.code, corp.customer())

    assert contacts == [contacts[0]] * 6
    await published_events(nats, "CONTACTS", f"li.wei/{last.customer_id}", 1)
    events = await published_events(nats, "CONTACTS", f"li.wei/{customer_id}", 1)
    assert [subject for subject, _ in events] == ["tieline.contacts.v1.contact_added"]
    event = contacts_pb2.ContactAdded.FromString(events[0][1])
    assert (event.corp_id, event.contact) == (corp.corp_id, contacts[0])


@pytest.mark.parametrize(
    "code", ["", "x" * 32, "x" * 100_000, "\x00" * 32], ids=["empty", "no code", "very long", "NUL"]
)
async def test_unknown_code_is_not_found(corp: Corp, code: str) -> None:
    request = contacts_service_pb2.AddContactRequest(corp_id=corp.corp_id, code=code)

    error = await refusal(corp.contacts.AddContact, request, corp.customer())

    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "CODE_NOT_FOUND")


async def test_code_of_another_corp_is_not_found(corp: Corp) -> None:
    way = await corp.way()
    request = contacts_service_pb2.AddContactRequest(corp_id=new_corp_id(), code=way.code)

    error = await refusal(corp.contacts.AddContact, request, corp.customer())

    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "CODE_NOT_FOUND")


async def test_code_of_a_group_adds_no_contact(corp: Corp) -> None:
    join_way = await corp.join_way(await corp.group())
    request = contacts_service_pb2.AddContactRequest(corp_id=corp.corp_id, code=join_way.code)

    error = await refusal(corp.contacts.AddContact, request, corp.customer())

    assert error.reason == "CODE_NOT_FOUND"


async def test_members_see_their_own_customers_alone(corp: Corp) -> None:
    mine = await corp.way("li.wei")
    theirs = await corp.way("zhang.min")
    customer = corp.customer()
    contact = await corp.add(mine.code, customer)
    await corp.add(theirs.code, customer)
    await corp.add(theirs.code, corp.customer())

    assert list((await corp.list_contacts(user_id="li.wei")).contacts) == [contact]
    assert len((await corp.list_contacts(user_id="zhang.min")).contacts) == 2


async def test_same_user_id_in_another_corp_sees_nothing(corp: Corp) -> None:
    await corp.add((await corp.way("li.wei")).code, corp.customer())
    other = Corp(corp.contacts, corp.tokens, new_corp_id())

    assert list((await other.list_contacts(user_id="li.wei")).contacts) == []


async def test_pages_hold_every_customer_once_in_the_order_of_their_ids(corp: Corp) -> None:
    way = await corp.way()
    customer_ids = [new_customer_id() for _ in range(5)]
    for customer_id in customer_ids:
        await corp.add(way.code, corp.customer(customer_id))

    pages = [await corp.list_contacts(page_size=2)]
    while pages[-1].next_page_token:
        pages.append(await corp.list_contacts(page_size=2, page_token=pages[-1].next_page_token))

    assert [len(page.contacts) for page in pages] == [2, 2, 1]
    listed = [contact.customer_id for page in pages for contact in page.contacts]
    assert listed == sorted(customer_ids)


async def test_full_last_page_has_no_token(corp: Corp) -> None:
    way = await corp.way()
    for _ in range(2):
        await corp.add(way.code, corp.customer())

    page = await corp.list_contacts(page_size=2)

    assert len(page.contacts) == 2
    assert page.next_page_token == ""


async def test_forged_page_token_is_refused(corp: Corp) -> None:
    request = contacts_service_pb2.ListContactsRequest(page_token="bm90IG91cnM")

    error = await refusal(corp.contacts.ListContacts, request, corp.member())

    assert (error.code, error.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "PAGE_TOKEN_INVALID",
    )


async def test_negative_page_size_is_refused(corp: Corp) -> None:
    request = contacts_service_pb2.ListContactsRequest(page_size=-1)

    error = await refusal(corp.contacts.ListContacts, request, corp.member())

    assert error.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_members_of_other_corps_learn_nothing(corp: Corp) -> None:
    group = await corp.group()
    stranger = corp.tokens.member(new_corp_id(), "li.wei")
    corp_id = corp.corp_id
    group_id = group.customer_group_id

    for method, request in (
        (
            corp.contacts.CreateContactWay,
            contacts_service_pb2.CreateContactWayRequest(request_id=new_uuid7(), corp_id=corp_id),
        ),
        (corp.contacts.ListContacts, contacts_service_pb2.ListContactsRequest(corp_id=corp_id)),
        (
            corp.contacts.CreateCustomerGroup,
            contacts_service_pb2.CreateCustomerGroupRequest(
                request_id=new_uuid7(), name="VIP", corp_id=corp_id
            ),
        ),
        (
            corp.contacts.GetCustomerGroup,
            contacts_service_pb2.GetCustomerGroupRequest(
                customer_group_id=group_id, corp_id=corp_id
            ),
        ),
        (
            corp.contacts.CreateJoinWay,
            contacts_service_pb2.CreateJoinWayRequest(
                request_id=new_uuid7(), customer_group_id=group_id, corp_id=corp_id
            ),
        ),
    ):
        error = await refusal(method, request, stranger)
        assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "CORP_NOT_FOUND")


@pytest.mark.parametrize("corp_id", ["ww\x00", "w" * 100_000], ids=["NUL", "very long"])
async def test_what_can_not_be_a_corp_is_not_found(corp: Corp, corp_id: str) -> None:
    code = "x" * 32
    add = contacts_service_pb2.AddContactRequest(corp_id=corp_id, code=code)
    join = contacts_service_pb2.JoinCustomerGroupRequest(corp_id=corp_id, code=code)

    for method, request in (
        (corp.contacts.AddContact, add),
        (corp.contacts.JoinCustomerGroup, join),
    ):
        error = await refusal(method, request, corp.customer())
        assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "CORP_NOT_FOUND")
