"""What corps' and directories' events do to conversations."""

import secrets
from collections.abc import AsyncIterator

import grpc
import pytest
from nats.aio.client import Client

from engines import connected
from fakes.eventually import eventually
from integration.messaging.chat import TIMEOUT_S, Corp, Person, new_id, publish, text
from integration.messaging.groups import ADMIN, OWNER, Groups, refused
from tieline.api.directory.v1 import directory_pb2
from tieline.api.identity.v1 import identity_pb2
from tieline.api.messaging.v1 import (
    conversation_note_pb2,
    message_service_pb2,
    message_service_pb2_grpc,
)
from tieline.chassis.postgres import Pool, transaction
from tieline.embedded.nats import EmbeddedNats
from tieline.messaging.conversations.opening import Opening
from tieline.messaging.conversations.rules import ConversationKind, customer, member
from tieline.messaging.corps_purge import purge
from tieline.messaging.groups.departures import take_out
from tieline.messaging.live.announcer import Announcer
from tieline.messaging.repositories.corps import PURGED_TABLES, CorpRepository

KEPT_TABLES = {
    "corps",
    "outbox",
    "handled_events",
    "dead_letters",
    # Their bytes go first: by their expiry.
    "media",
    "media_uploads",
}


@pytest.fixture(scope="module")
async def identity_broker(messaging_nats: EmbeddedNats) -> AsyncIterator[Client]:
    async with connected(messaging_nats, "identity") as broker:
        yield broker


async def is_in(person: Person, group: str) -> bool:
    return any(
        each.conversation_id == group for each in (await person.list_conversations()).conversations
    )


@pytest.mark.parametrize("name", ["member_left", "member_disabled"])
async def test_who_leaves_the_corp_leaves_all_its_groups(
    corp: Corp, groups: Groups, directory_broker: Client, name: str
) -> None:
    owner, admin = corp.member("li.wei"), corp.member("admin")
    owned = await owner.create_group("admin", "plain")
    await groups.set_role(owner, owned, "admin")
    joined = await admin.create_group("li.wei")
    direct = await owner.create_direct("admin")
    event_type = {
        "member_left": directory_pb2.MemberLeft,
        "member_disabled": directory_pb2.MemberDisabled,
    }[name]
    event = event_type(corp_id=corp.corp_id, user_ids=["li.wei"])
    event_id = new_id()
    async with owner.subscribed() as inbox:
        for _ in range(2):
            await publish(
                directory_broker, f"tieline.directory.v1.{name}", event, event_id=event_id
            )

        async def are_left() -> bool:
            return not await is_in(owner, owned) and not await is_in(owner, joined)

        await eventually(are_left)
        await admin.send(owned, "after")

    listed = await admin.list_participants(owned)
    assert [each.id for each in listed.participants] == ["admin", "plain"]
    assert listed.details[0].role == OWNER
    contents = [each.content for each in (await admin.list_messages(owned)).messages]
    assert [each.WhichOneof("kind") for each in contents] == [
        "roles_note",
        "participants_note",
        "roles_note",
        "text",
    ]
    assert contents[1].participants_note.change == (
        conversation_note_pb2.PARTICIPANTS_CHANGE_LEFT_CORP
    )
    assert "after" not in [each.content.text.text for each in inbox.messages(owned)]
    # What two said to each other stays with both.
    assert await is_in(owner, direct)


async def test_whoever_is_back_since_stays(
    corp: Corp, groups: Groups, pool: Pool, messaging_broker: Client
) -> None:
    owner = corp.member("li.wei")
    old, new = [await owner.create_group("back") for _ in range(2)]
    async with transaction(pool) as connection:
        await CorpRepository(connection).insert_departures(corp.corp_id, {"back"})
    await groups.remove(owner, new, "back")
    await groups.add(owner, new, "back")

    await take_out(pool, Announcer(pool, messaging_broker))

    async def is_settled() -> bool:
        return not await is_in(corp.member("back"), old)

    await eventually(is_settled)
    assert await is_in(corp.member("back"), new)


async def test_departures_are_locked_one_corp_at_a_time_and_by_one_replica(
    corp: Corp, pool: Pool
) -> None:
    gone = {corp.corp_id, f"{corp.corp_id}x"}
    async with transaction(pool) as connection:
        for corp_id in gone:
            await CorpRepository(connection).insert_departures(corp_id, {"a", "b"})

    async with transaction(pool) as one, transaction(pool) as other:
        taken = [
            {each.corp_id for each in await CorpRepository(connection).lock_departures(maximum=100)}
            for connection in (one, other)
        ]

    # Nothing where the service itself was faster.
    assert all(len(corps) <= 1 for corps in taken)
    assert taken[0].isdisjoint(taken[1])


async def test_many_leave_many_groups_a_bounded_number_at_a_time(
    corp: Corp, pool: Pool, messaging_broker: Client
) -> None:
    owner = corp.member("li.wei")
    names = [f"user{n:02}" for n in range(30)]
    made = [await owner.create_group(*names) for _ in range(10)]
    async with transaction(pool) as connection:
        await CorpRepository(connection).insert_departures(corp.corp_id, set(names))

    # Beside the replicas' own.
    while await take_out(pool, Announcer(pool, messaging_broker), maximum_places=7):
        pass

    async def are_all_left() -> bool:
        return all([(await owner.get(group)).participant_count == 1 for group in made])

    await eventually(are_all_left)
    for group in made:
        notes = [
            each.content.participants_note for each in (await owner.list_messages(group)).messages
        ]
        gone = [ref.id for note in notes for ref in note.participants]
        assert sorted(gone) == names


async def test_last_member_who_leaves_ends_the_group(
    corp: Corp, pool: Pool, messaging_broker: Client
) -> None:
    owner = corp.member("li.wei")
    guest = corp.customer("wm" + secrets.token_hex(12))
    group = "wr" + secrets.token_hex(12)
    async with transaction(pool) as connection:
        opening = Opening(connection, Announcer(pool, messaging_broker))
        key = (corp.corp_id, group)
        await opening.open_group(key, ConversationKind.CUSTOMER_GROUP, "Spring", member("li.wei"))
        await opening.let_in(key, customer(guest.id))
        await CorpRepository(connection).insert_departures(corp.corp_id, {"li.wei"})

    async def is_dismissed() -> bool:
        return (await guest.get(group)).HasField("dismiss_time")

    await eventually(is_dismissed)
    await refused(guest.send(group), "CONVERSATION_DISMISSED")
    assert not await is_in(owner, group)


async def test_outsiders_see_who_is_staff_and_of_which_body(
    corp: Corp, pool: Pool, messaging_broker: Client, identity_broker: Client
) -> None:
    guest = corp.customer("wm" + secrets.token_hex(12))
    async with transaction(pool) as connection:
        opening = Opening(connection, Announcer(pool, messaging_broker))
        direct = await opening.open_direct(corp.corp_id, (member("li.wei"), customer(guest.id)))
    label = "Baoji Education Bureau · government · verified"
    updated = identity_pb2.CorpUpdated(
        corp=identity_pb2.Corp(
            corp_id=corp.corp_id, verified_label=label, state=identity_pb2.CORP_STATE_ACTIVE
        )
    )
    await publish(identity_broker, "tieline.identity.v1.corp_updated", updated)

    async def labels() -> list[str]:
        listed = await guest.list_participants(direct)
        return [details.verified_label for details in listed.details]

    async def are_told() -> bool:
        return await labels() == ["", label]

    # Customers come first in the order of the list, and have no corp.
    await eventually(are_told)


async def test_nobody_says_anything_in_a_suspended_corp_until_it_is_resumed(
    corp: Corp,
    pool: Pool,
    messaging_broker: Client,
    identity_broker: Client,
    replica_channels: list[grpc.aio.Channel],
) -> None:
    guest = corp.customer("wm" + secrets.token_hex(12))
    async with transaction(pool) as connection:
        opening = Opening(connection, Announcer(pool, messaging_broker))
        direct = await opening.open_direct(corp.corp_id, (member("li.wei"), customer(guest.id)))
    await guest.send(direct)

    async def is_refused() -> bool:
        try:
            await guest.send(direct)
        except grpc.aio.AioRpcError as error:
            return "CORP_SUSPENDED" in str(error.trailing_metadata())
        return False

    async def is_let() -> bool:
        return not await is_refused()

    suspended = identity_pb2.Corp(corp_id=corp.corp_id, state=identity_pb2.CORP_STATE_SUSPENDED)
    await publish(
        identity_broker,
        "tieline.identity.v1.corp_suspended",
        identity_pb2.CorpSuspended(corp=suspended),
    )
    await eventually(is_refused)
    assert (await guest.list_messages(direct)).messages
    forward = message_service_pb2.ForwardMessagesRequest(
        corp_id=corp.corp_id,
        conversation_id=direct,
        sequences=[1],
        to_conversation_ids=[direct],
        client_message_id=new_id(),
    )
    stub = message_service_pb2_grpc.MessageServiceStub(replica_channels[0])
    await refused(
        stub.ForwardMessages(forward, metadata=guest.metadata, timeout=TIMEOUT_S), "CORP_SUSPENDED"
    )
    of_first = {"corp_id": corp.corp_id, "conversation_id": direct, "sequence": 1}
    for method, fields in (
        ("EditMessage", {"content": text("other words")}),
        ("SetReaction", {"reaction": "👍"}),
        ("SetPin", {}),
        ("AnswerMessage", {"choices": [message_service_pb2.AnswerChoice()]}),
    ):
        request = getattr(message_service_pb2, f"{method}Request")(**of_first, **fields)
        change = getattr(stub, method)(request, metadata=guest.metadata, timeout=TIMEOUT_S)
        await refused(change, "CORP_SUSPENDED")
    listed = (await guest.list_messages(direct)).messages
    assert [each.content for each in listed] == [text("hello")] * len(listed)

    resumed = identity_pb2.Corp(corp_id=corp.corp_id, state=identity_pb2.CORP_STATE_ACTIVE)
    await publish(
        identity_broker,
        "tieline.identity.v1.corp_resumed",
        identity_pb2.CorpResumed(corp=resumed),
    )
    await eventually(is_let)


async def test_group_of_colleagues_needs_no_labels(corp: Corp, groups: Groups) -> None:
    owner = corp.member("li.wei")
    group = await owner.create_group("admin")
    await groups.set_role(owner, group, "admin", ADMIN)

    listed = await owner.list_participants(group)

    assert {details.verified_label for details in listed.details} == {""}
    assert all(details.HasField("join_time") for details in listed.details)


async def test_nothing_is_left_of_a_corp_that_is_gone(
    corp: Corp, groups: Groups, pool: Pool, identity_broker: Client
) -> None:
    owner = corp.member("li.wei")
    group = await owner.create_group("zhang.san")
    for _ in range(30):
        await owner.send(group)
    await groups.call(owner, "CreateJoinCode", conversation_id=group, request_id=new_id())
    event = identity_pb2.CorpDeleted(corp_id=corp.corp_id)
    for _ in range(2):
        await publish(identity_broker, "tieline.identity.v1.corp_deleted", event)

    async def is_deleted() -> bool:
        async with pool.acquire() as connection:
            return await CorpRepository(connection).is_deleted(corp.corp_id)

    await eventually(is_deleted)

    async def is_purged() -> bool:
        # A corp that a replica is just purging is left to it.
        while await purge(pool, maximum_rows=7):
            pass
        async with pool.acquire() as connection:
            left = [
                await connection.fetchval(
                    f"SELECT count(*) FROM messaging.{table} WHERE corp_id = $1", corp.corp_id
                )
                for table in PURGED_TABLES
            ]
        return not any(left)

    await eventually(is_purged)
    with pytest.raises(grpc.aio.AioRpcError):
        await owner.send(group)


async def test_every_table_with_a_corps_rows_is_purged(pool: Pool) -> None:
    async with pool.acquire() as connection:
        rows = await connection.fetch(
            """
            SELECT attribute.attrelid::regclass::text AS name
              FROM pg_attribute AS attribute
              JOIN pg_class AS relation ON relation.oid = attribute.attrelid
             WHERE attribute.attname = 'corp_id'
               AND relation.relnamespace = 'messaging'::regnamespace
               AND relation.relkind IN ('r', 'p')
               AND NOT relation.relispartition
            """
        )
    names = {row["name"].removeprefix("messaging.") for row in rows}
    assert names == {*PURGED_TABLES, *KEPT_TABLES}
