"""Customer groups and the codes that lead into them."""

import asyncio

import asyncpg
import grpc
import pytest

from calls import call, refusal
from integration.contacts.corp import Corp
from published_events import published_events
from tieline.api.contacts.v1 import contacts_pb2, contacts_service_pb2
from tieline.chassis.ids import new_corp_id, new_customer_id, new_uuid7
from tieline.client.errors import TielineError
from tieline.embedded.nats import EmbeddedNats


async def fill_group(
    connection: asyncpg.Connection, corp: Corp, group: contacts_pb2.CustomerGroup, count: int
) -> None:
    """Put customers into a group until it has ``count`` members and customers, its owner too."""
    await connection.execute(
        """
        INSERT INTO contacts.customer_group_members (corp_id, customer_group_id, kind, id)
        SELECT $1, $2, 'customer', 'wmfill' || number FROM generate_series(2, $3) AS number
        """,
        corp.corp_id,
        group.customer_group_id,
        count,
    )


async def test_new_group_has_its_owner_in_it(corp: Corp) -> None:
    group = await corp.group("老客户")

    assert group.customer_group_id.startswith("wr")
    assert (group.name, group.owner_user_id, group.member_count) == ("老客户", "li.wei", 1)
    assert await corp.get_group(group, corp.member()) == group


async def test_repeated_request_makes_one_group(corp: Corp) -> None:
    same_request = contacts_service_pb2.CreateCustomerGroupRequest(
        request_id=new_uuid7(), name="VIP"
    )

    responses = await asyncio.gather(
        *(call(corp.contacts.CreateCustomerGroup, same_request, corp.member()) for _ in range(4))
    )

    assert len({response.group.customer_group_id for response in responses}) == 1


async def test_group_under_a_used_request_id_is_refused(corp: Corp) -> None:
    request = contacts_service_pb2.CreateCustomerGroupRequest(request_id=new_uuid7(), name="A")
    await call(corp.contacts.CreateCustomerGroup, request, corp.member())
    request.name = "B"

    error = await refusal(corp.contacts.CreateCustomerGroup, request, corp.member())

    assert error.reason == "REQUEST_ID_REUSED"


async def test_group_without_a_name_is_refused(corp: Corp) -> None:
    request = contacts_service_pb2.CreateCustomerGroupRequest(request_id=new_uuid7())

    error = await refusal(corp.contacts.CreateCustomerGroup, request, corp.member())

    assert (error.code, set(error.violations)) == (grpc.StatusCode.INVALID_ARGUMENT, {"name"})


async def test_code_leads_customers_into_the_group(corp: Corp) -> None:
    group = await corp.group()
    way = await corp.join_way(group)
    customer = corp.customer()

    joined = await corp.join(way.code, customer)

    assert way.customer_group_id == group.customer_group_id
    assert (joined.customer_group_id, joined.member_count) == (group.customer_group_id, 2)
    assert await corp.get_group(group, customer) == joined


async def test_joining_again_returns_the_group_as_it_is(corp: Corp) -> None:
    way = await corp.join_way(await corp.group())
    customer = corp.customer()
    await corp.join(way.code, customer)

    groups = await asyncio.gather(*(corp.join(way.code, customer) for _ in range(4)))

    assert [group.member_count for group in groups] == [2] * 4


async def test_customers_joining_at_once_are_all_in(corp: Corp) -> None:
    group = await corp.group()
    way = await corp.join_way(group)

    joined = await asyncio.gather(*(corp.join(way.code, corp.customer()) for _ in range(12)))

    assert sorted(group.member_count for group in joined) == list(range(2, 14))
    assert (await corp.get_group(group, corp.member())).member_count == 13


async def test_group_of_500_takes_nobody_more_even_at_once(
    corp: Corp, admin_connection: asyncpg.Connection
) -> None:
    group = await corp.group()
    way = await corp.join_way(group)
    await fill_group(admin_connection, corp, group, 497)

    results = await asyncio.gather(
        *(corp.join(way.code, corp.customer()) for _ in range(10)), return_exceptions=True
    )

    refused = [result for result in results if isinstance(result, TielineError)]
    assert len(refused) == 7
    for error in refused:
        assert (error.code, error.reason) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "CUSTOMER_GROUP_FULL",
        )
        assert error.metadata == {"customerGroupId": group.customer_group_id}
    assert (await corp.get_group(group, corp.member())).member_count == 500


async def test_customer_of_a_full_group_may_join_again(
    corp: Corp, admin_connection: asyncpg.Connection
) -> None:
    group = await corp.group()
    way = await corp.join_way(group)
    customer = corp.customer()
    await corp.join(way.code, customer)
    await fill_group(admin_connection, corp, group, 499)

    joined = await corp.join(way.code, customer)

    assert joined.member_count == 500


@pytest.mark.parametrize("code", ["", "x" * 32, "\x00" * 32], ids=["empty", "no code", "NUL"])
async def test_unknown_code_is_not_found(corp: Corp, code: str) -> None:
    request = contacts_service_pb2.JoinCustomerGroupRequest(corp_id=corp.corp_id, code=code)

    error = await refusal(corp.contacts.JoinCustomerGroup, request, corp.customer())

    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "CODE_NOT_FOUND")


async def test_code_of_another_corp_is_not_found(corp: Corp) -> None:
    way = await corp.join_way(await corp.group())
    request = contacts_service_pb2.JoinCustomerGroupRequest(corp_id=new_corp_id(), code=way.code)

    error = await refusal(corp.contacts.JoinCustomerGroup, request, corp.customer())

    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "CODE_NOT_FOUND")


async def test_who_is_not_in_a_group_does_not_learn_of_it(corp: Corp) -> None:
    group = await corp.group()
    request = contacts_service_pb2.GetCustomerGroupRequest(
        corp_id=corp.corp_id, customer_group_id=group.customer_group_id
    )

    for outsider in (corp.member("zhang.min"), corp.customer(), corp.customer("wmli.wei")):
        error = await refusal(corp.contacts.GetCustomerGroup, request, outsider)
        assert (error.code, error.reason) == (
            grpc.StatusCode.NOT_FOUND,
            "CUSTOMER_GROUP_NOT_FOUND",
        )
        assert error.metadata == {"customerGroupId": group.customer_group_id}


async def test_customer_called_like_a_member_is_somebody_else(corp: Corp) -> None:
    group = await corp.group(user_id="li.wei")
    request = contacts_service_pb2.GetCustomerGroupRequest(
        corp_id=corp.corp_id, customer_group_id=group.customer_group_id
    )

    error = await refusal(corp.contacts.GetCustomerGroup, request, corp.customer("li.wei"))

    assert error.reason == "CUSTOMER_GROUP_NOT_FOUND"


@pytest.mark.parametrize(
    "customer_group_id",
    ["", "\x00", "wr" * 50_000, "wr" + "0" * 24],
    ids=["empty", "NUL", "very long", "no group"],
)
async def test_unknown_group_is_not_found(corp: Corp, customer_group_id: str) -> None:
    request = contacts_service_pb2.GetCustomerGroupRequest(customer_group_id=customer_group_id)

    error = await refusal(corp.contacts.GetCustomerGroup, request, corp.member())

    assert (error.code, error.reason) == (
        grpc.StatusCode.NOT_FOUND,
        "CUSTOMER_GROUP_NOT_FOUND",
    )


async def test_only_the_owner_makes_codes_of_a_group(corp: Corp) -> None:
    group = await corp.group(user_id="li.wei")
    request = contacts_service_pb2.CreateJoinWayRequest(
        request_id=new_uuid7(), customer_group_id=group.customer_group_id
    )

    error = await refusal(corp.contacts.CreateJoinWay, request, corp.member("zhang.min"))

    assert (error.code, error.reason) == (
        grpc.StatusCode.NOT_FOUND,
        "CUSTOMER_GROUP_NOT_FOUND",
    )


async def test_repeated_request_makes_one_join_way(corp: Corp) -> None:
    group = await corp.group()
    same_request = contacts_service_pb2.CreateJoinWayRequest(
        request_id=new_uuid7(), customer_group_id=group.customer_group_id
    )

    responses = await asyncio.gather(
        *(call(corp.contacts.CreateJoinWay, same_request, corp.member()) for _ in range(4))
    )

    assert len({response.join_way.code for response in responses}) == 1


async def test_events_tell_of_the_group_and_then_of_each_customer_once(
    corp: Corp, nats: EmbeddedNats
) -> None:
    group = await corp.group()
    way = await corp.join_way(group)
    customer_ids = [new_customer_id() for _ in range(2)]
    for customer_id in [*customer_ids, customer_ids[0]]:
        await corp.join(way.code, corp.customer(customer_id))
    last_id = new_customer_id()
    await corp.join(way.code, corp.customer(last_id))

    events = await published_events(nats, "CONTACTS", group.customer_group_id, 4)

    assert [subject for subject, _ in events] == [
        "tieline.contacts.v1.customer_group_created",
        *["tieline.contacts.v1.customer_joined_group"] * 3,
    ]
    created = contacts_pb2.CustomerGroupCreated.FromString(events[0][1])
    assert (created.corp_id, created.group) == (corp.corp_id, group)
    joined = [contacts_pb2.CustomerJoinedGroup.FromString(data) for _, data in events[1:]]
    assert [event.customer_id for event in joined] == [*customer_ids, last_id]
    assert {event.customer_group_id for event in joined} == {group.customer_group_id}


async def test_customer_leaves_a_group_and_may_come_back(corp: Corp, nats: EmbeddedNats) -> None:
    group = await corp.group()
    way = await corp.join_way(group)
    customer_id = new_customer_id()
    customer = corp.customer(customer_id)
    await corp.join(way.code, customer)
    leave = contacts_service_pb2.LeaveCustomerGroupRequest(
        corp_id=corp.corp_id, customer_group_id=group.customer_group_id
    )

    await call(corp.contacts.LeaveCustomerGroup, leave, customer)
    error = await refusal(corp.contacts.LeaveCustomerGroup, leave, customer)

    assert error.reason == "CUSTOMER_GROUP_NOT_FOUND"
    assert (await corp.get_group(group, corp.member())).member_count == 1
    assert (await corp.join(way.code, customer)).member_count == 2
    events = await published_events(nats, "CONTACTS", group.customer_group_id, 4)
    assert [subject.rpartition(".")[2] for subject, _ in events] == [
        "customer_group_created",
        "customer_joined_group",
        "customer_left_group",
        "customer_joined_group",
    ]
    left = contacts_pb2.CustomerLeftGroup.FromString(events[2][1])
    assert (left.corp_id, left.customer_id) == (corp.corp_id, customer_id)
    changes = [contacts_pb2.CustomerLeftGroup.FromString(data) for _, data in events[1:]]
    assert [change.change_number for change in changes] == [1, 2, 3]
