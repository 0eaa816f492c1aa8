import secrets

import pytest
from google.protobuf.message import Message
from nats.aio.client import Client

from fakes.eventually import eventually
from fakes.tokens import TestTokens
from integration.messaging.chat import Corp, new_id
from tieline.api.common.v1 import principal_pb2
from tieline.api.contacts.v1 import contacts_pb2
from tieline.api.messaging.v1 import messaging_pb2, messaging_requests_pb2
from tieline.chassis.message_headers import EVENT_ID_HEADER, MESSAGE_ID_HEADER
from tieline.chassis.postgres import Pool, transaction
from tieline.chassis.requests import ask
from tieline.messaging.conversations.opening import Opening
from tieline.messaging.conversations.rules import ConversationKind, member
from tieline.messaging.live.announcer import Announcer
from tieline.messaging.repositories.corps import CorpRepository
from tieline.messaging.repositories.groups import GroupRepository


def new_customer_id() -> str:
    return "wm" + secrets.token_hex(12)


def new_group_id() -> str:
    return "wr" + secrets.token_hex(12)


async def publish(broker: Client, name: str, event: Message, *, event_id: str = "") -> None:
    """Publish an event as contacts' relay would, under a new id unless one is given."""
    id_ = event_id or new_id()
    event.event_id = id_  # type: ignore[attr-defined]
    # A message id of its own: the stream must not hide a repeat from the consumer.
    headers = {MESSAGE_ID_HEADER: new_id(), EVENT_ID_HEADER: id_}
    await broker.jetstream().publish(
        f"tieline.contacts.v1.{name}", event.SerializeToString(), headers=headers
    )


def contact_added(corp: Corp, user_id: str, customer_id: str) -> contacts_pb2.ContactAdded:
    contact = contacts_pb2.Contact(user_id=user_id, customer_id=customer_id)
    return contacts_pb2.ContactAdded(corp_id=corp.corp_id, contact=contact)


def group_created(corp: Corp, group_id: str, owner: str) -> contacts_pb2.CustomerGroupCreated:
    group = contacts_pb2.CustomerGroup(
        customer_group_id=group_id, name="Spring", owner_user_id=owner
    )
    return contacts_pb2.CustomerGroupCreated(corp_id=corp.corp_id, group=group)


def joined_group(corp: Corp, group_id: str, customer_id: str) -> contacts_pb2.CustomerJoinedGroup:
    return contacts_pb2.CustomerJoinedGroup(
        corp_id=corp.corp_id, customer_group_id=group_id, customer_id=customer_id
    )


async def test_new_contact_and_member_can_talk(corp: Corp, contacts_broker: Client) -> None:
    customer = corp.customer(new_customer_id(), replica=1)
    li_wei = corp.member("li.wei")
    async with customer.subscribed() as inbox:
        await publish(contacts_broker, "contact_added", contact_added(corp, "Li.Wei", customer.id))

        await eventually(lambda: inbox.joined)
        direct = inbox.joined[0].conversation_id
        sent = await li_wei.send(direct, "欢迎")
        await eventually(lambda: inbox.messages(direct))

    assert inbox.messages(direct) == [sent]
    assert (await customer.send(direct)).sequence == 2
    assert inbox.joined[0].kind == messaging_pb2.CONVERSATION_KIND_DIRECT


async def test_contact_that_is_added_again_keeps_the_conversation(
    corp: Corp, contacts_broker: Client
) -> None:
    customer, other = corp.customer(new_customer_id()), corp.customer(new_customer_id())
    event_id = new_id()
    for _ in range(2):
        event = contact_added(corp, "li.wei", customer.id)
        await publish(contacts_broker, "contact_added", event, event_id=event_id)
        await publish(contacts_broker, "contact_added", event)
    # Events are handled in order: once this one is, the others were.
    await publish(contacts_broker, "contact_added", contact_added(corp, "li.wei", other.id))

    async def is_last_handled() -> bool:
        return bool((await other.list_conversations()).conversations)

    await eventually(is_last_handled)
    assert len((await customer.list_conversations()).conversations) == 1
    assert len((await corp.member("li.wei").list_conversations()).conversations) == 2


async def test_customers_come_into_the_groups_conversation(
    corp: Corp, contacts_broker: Client
) -> None:
    group_id, customer = new_group_id(), corp.customer(new_customer_id())
    owner = corp.member("li.wei")
    await publish(
        contacts_broker, "customer_group_created", group_created(corp, group_id, "li.wei")
    )
    for _ in range(2):
        joined = joined_group(corp, group_id, customer.id)
        await publish(contacts_broker, "customer_joined_group", joined)

    async def is_in_group() -> bool:
        return bool((await customer.list_conversations()).conversations)

    await eventually(is_in_group)
    conversation = await owner.get(group_id)
    assert conversation.kind == messaging_pb2.CONVERSATION_KIND_CUSTOMER_GROUP
    assert (conversation.name, conversation.participant_count) == ("Spring", 2)
    # Behind the one note that the customer came in.
    assert (await customer.send(group_id)).sequence == 2


async def test_customer_who_left_is_out_of_the_groups_conversation(
    corp: Corp, contacts_broker: Client
) -> None:
    group_id, customer = new_group_id(), corp.customer(new_customer_id())
    owner = corp.member("li.wei")
    left = contacts_pb2.CustomerLeftGroup(
        corp_id=corp.corp_id, customer_group_id=group_id, customer_id=customer.id
    )
    created = group_created(corp, group_id, "li.wei")
    await publish(contacts_broker, "customer_group_created", created)
    await publish(
        contacts_broker, "customer_joined_group", joined_group(corp, group_id, customer.id)
    )
    for _ in range(2):
        await publish(contacts_broker, "customer_left_group", left)

    async def is_left() -> bool:
        listed = (await owner.list_conversations()).conversations
        return bool(listed) and (await owner.list_messages(group_id)).last_sequence == 2

    await eventually(is_left)
    assert (await owner.get(group_id)).participant_count == 1
    assert not (await customer.list_conversations()).conversations


@pytest.mark.parametrize(
    ("changes", "is_in"),
    [
        pytest.param([("joined", 1), ("left", 2), ("joined", 1)], False, id="joined, sent again"),
        pytest.param([("left", 2), ("joined", 1)], False, id="joined, a dead letter at first"),
        pytest.param([("joined", 1), ("joined", 3), ("left", 2)], True, id="left, a dead letter"),
        pytest.param([("joined", 1), ("left", 2), ("joined", 3)], True, id="came back"),
        pytest.param([("joined", 0), ("left", 0), ("joined", 0)], True, id="of an older contacts"),
    ],
)
async def test_event_that_is_handled_late_does_not_undo_what_came_after_it(
    corp: Corp, contacts_broker: Client, pool: Pool, changes: list[tuple[str, int]], is_in: bool
) -> None:
    """A dead letter is sent again under its own id, which was not handled before."""
    group_id, customer, other = new_group_id(), corp.customer(new_customer_id()), new_customer_id()
    created = group_created(corp, group_id, "li.wei")
    await publish(contacts_broker, "customer_group_created", created)
    for name, number in changes:
        event = joined_group(corp, group_id, customer.id)
        if name == "left":
            event = contacts_pb2.CustomerLeftGroup.FromString(event.SerializeToString())  # type: ignore[assignment]
        event.change_number = number
        await publish(contacts_broker, f"customer_{name}_group", event)
    # Events are handled in order: once this one is, the others were.
    await publish(contacts_broker, "contact_added", contact_added(corp, "li.wei", other))
    await eventually(lambda: is_handled(pool, other))

    assert bool((await customer.list_conversations()).conversations) is is_in


@pytest.mark.parametrize(
    ("state", "has_pair", "in_group"),
    [
        pytest.param("active", True, True, id="of a corp as most are"),
        pytest.param("dismissed", True, False, id="of a group that is over"),
        pytest.param("suspended", True, True, id="of a suspended corp"),
        pytest.param("deleted", False, False, id="of a corp that is gone"),
    ],
)
async def test_customers_come_where_there_is_something_to_come_to(
    corp: Corp,
    contacts_broker: Client,
    pool: Pool,
    state: str,
    has_pair: bool,
    in_group: bool,
) -> None:
    """In a suspended corp nothing is said, and who came is there when it is resumed."""
    group_id, customer, other = new_group_id(), new_customer_id(), new_customer_id()
    await publish(
        contacts_broker, "customer_group_created", group_created(corp, group_id, "li.wei")
    )

    async def list_places(customer_id: str) -> set[str]:
        async with pool.acquire() as connection:
            rows = await connection.fetch(
                "SELECT conversation_id FROM messaging.participants WHERE corp_id = $1 AND id = $2",
                corp.corp_id,
                customer_id,
            )
        return {row["conversation_id"] for row in rows}

    await eventually(lambda: list_places("li.wei"))
    async with transaction(pool) as connection:
        if state == "dismissed":
            # As when its last member leaves the corp.
            await GroupRepository(connection).dismiss((corp.corp_id, group_id))
        corps = CorpRepository(connection)
        await corps.note_corp(corp.corp_id, "", is_suspended=state == "suspended")
        if state == "deleted":
            await corps.mark_deleted(corp.corp_id)

    await publish(contacts_broker, "contact_added", contact_added(corp, "li.wei", customer))
    await publish(contacts_broker, "customer_joined_group", joined_group(corp, group_id, customer))
    # Events are handled in order: once this one is, the others were.
    elsewhere = Corp([], TestTokens())
    await publish(contacts_broker, "contact_added", contact_added(elsewhere, "li.wei", other))
    await eventually(lambda: is_handled(pool, other))

    places = await list_places(customer)
    assert (group_id in places) is in_group
    assert len(places - {group_id}) == int(has_pair)


async def is_handled(pool: Pool, customer_id: str) -> bool:
    """Tell whether a new contact has a conversation."""
    async with pool.acquire() as connection:
        found: bool = await connection.fetchval(
            "SELECT EXISTS (SELECT FROM messaging.participants WHERE id = $1)", customer_id
        )
    return found


async def test_customer_who_joins_before_the_group_is_known_comes_in_later(
    corp: Corp, contacts_broker: Client, pool: Pool, messaging_broker: Client
) -> None:
    group_id, customer = new_group_id(), corp.customer(new_customer_id())
    await publish(
        contacts_broker, "customer_joined_group", joined_group(corp, group_id, customer.id)
    )
    owner = corp.member("li.wei")

    # What waits keeps the events behind it waiting, so the group is made without one.
    async with transaction(pool) as connection:
        opening = Opening(connection, Announcer(pool, messaging_broker))
        await opening.open_group(
            (corp.corp_id, group_id), ConversationKind.CUSTOMER_GROUP, "Spring", member("li.wei")
        )

    async def is_in_group() -> bool:
        return bool((await customer.list_conversations()).conversations)

    await eventually(is_in_group)
    assert (await owner.get(group_id)).participant_count == 2


@pytest.mark.parametrize(
    ("who", "is_participating"),
    [
        pytest.param(("member", "li.wei"), True, id="in it"),
        pytest.param(("member", "LI.WEI"), True, id="in whatever case"),
        pytest.param(("member", "stranger"), False, id="somebody else"),
        pytest.param(("customer", "li.wei"), False, id="a customer of that id"),
    ],
)
async def test_other_services_learn_who_is_in_a_conversation(
    corp: Corp, payments_broker: Client, who: tuple[str, str], is_participating: bool
) -> None:
    kinds = {
        "member": principal_pb2.PRINCIPAL_KIND_MEMBER,
        "customer": principal_pb2.PRINCIPAL_KIND_CUSTOMER,
    }
    group = await corp.member("li.wei").create_group("zhang.san")

    answers = [
        await ask(
            payments_broker,
            "messaging",
            "check_participant",
            messaging_requests_pb2.CheckParticipantRequest(
                corp_id=corp_id,
                conversation_id=conversation_id,
                participant=principal_pb2.PrincipalRef(kind=kinds[who[0]], id=who[1]),
            ),
            messaging_requests_pb2.CheckParticipantResponse,
        )
        for corp_id, conversation_id in [
            (corp.corp_id, group),
            ("wwother", group),
            (corp.corp_id, "none"),
        ]
    ]

    assert [answer.participating for answer in answers] == [is_participating, False, False]
