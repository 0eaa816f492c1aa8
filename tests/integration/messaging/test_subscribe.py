import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TypeAlias

import grpc
import pytest

from engines import Database, build_settings
from fakes.eventually import eventually
from fakes.tokens import TestTokens
from integration.messaging.chat import TIMEOUT_S, Corp, Person, Stub
from tieline.api.messaging.v1 import messaging_service_pb2, messaging_service_pb2_grpc
from tieline.chassis.ids import new_customer_id
from tieline.embedded.nats import EmbeddedNats
from tieline.messaging.app import role
from tieline.messaging.settings import MessagingSettings

SubscribeCall: TypeAlias = (
    "grpc.aio.UnaryStreamCall["
    "messaging_service_pb2.SubscribeRequest, messaging_service_pb2.SubscribeResponse]"
)


async def test_subscribers_at_both_replicas_receive_everything_once_in_order(corp: Corp) -> None:
    people = [corp.member(f"user{n}", replica=n % 2) for n in range(4)]
    groups = [await people[0].create_group("user1", "user2", "user3") for _ in range(2)]
    async with people[2].subscribed() as here, people[3].subscribed() as there:
        await asyncio.gather(
            *(person.send(group) for _ in range(25) for person in people for group in groups)
        )

        for inbox in (here, there):
            for group in groups:
                await eventually(lambda i=inbox, g=group: len(i.sequences(g)) >= 100)

    for inbox in (here, there):
        for group in groups:
            assert inbox.sequences(group) == list(range(1, 101))


async def test_received_message_is_the_acknowledged_one(corp: Corp) -> None:
    li_wei, zhang_san = corp.member("li.wei"), corp.member("zhang.san", replica=1)
    group = await li_wei.create_group("zhang.san")
    async with zhang_san.subscribed() as inbox:
        sent = await li_wei.send(group, "你好")

        await eventually(lambda: inbox.messages(group))

    assert inbox.messages(group) == [sent]


async def test_what_was_stored_before_started_is_not_delivered(corp: Corp) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    for _ in range(3):
        await li_wei.send(group)
    async with li_wei.subscribed() as inbox:
        await li_wei.send(group)

        await eventually(lambda: inbox.messages(group))

    assert inbox.sequences(group) == [4]


async def test_nothing_is_missing_between_the_list_and_the_subscription(corp: Corp) -> None:
    sender, reader = corp.member("li.wei"), corp.member("zhang.san", replica=1)
    group = await sender.create_group("zhang.san")
    sending = asyncio.create_task(_send_many(sender, group, 200))

    for _ in range(5):
        async with reader.subscribed() as inbox:
            listed = await reader.list_messages(group)
            await eventually(
                lambda i=inbox, after=listed.last_sequence: (
                    ((numbers := i.sequences(group)) and numbers[-1] > after) or sending.done()
                )
            )
        received = [number for number in inbox.sequences(group) if number > listed.last_sequence]
        first = listed.last_sequence + 1
        assert received == list(range(first, first + len(received)))
    await sending


async def test_every_device_of_a_user_receives(corp: Corp) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    async with li_wei.subscribed() as phone, li_wei.subscribed() as desktop:
        await li_wei.send(group)

        await eventually(lambda: phone.messages(group) and desktop.messages(group))

    assert phone.messages(group) == desktop.messages(group)


async def test_joined_conversation_is_told_before_its_messages(corp: Corp) -> None:
    li_wei, zhang_san = corp.member("li.wei"), corp.member("zhang.san", replica=1)
    async with zhang_san.subscribed() as inbox:
        group = await li_wei.create_group("zhang.san", name="Later")
        await eventually(lambda: inbox.joined)
        await li_wei.send(group)
        await eventually(lambda: inbox.messages(group))

    [joined] = inbox.joined
    assert (joined.conversation_id, joined.name, joined.last_sequence) == (group, "Later", 0)
    assert joined.participant_count == 2
    assert inbox.sequences(group) == [1]


async def test_messages_of_the_moment_of_joining_follow_the_join(corp: Corp) -> None:
    li_wei, zhang_san = corp.member("li.wei"), corp.member("zhang.san", replica=1)
    async with zhang_san.subscribed() as inbox:
        groups = [await li_wei.create_group("zhang.san") for _ in range(10)]
        await asyncio.gather(*(li_wei.send(group) for _ in range(5) for group in groups))
        await eventually(lambda: len(inbox.joined) == 10)
        await asyncio.gather(*(li_wei.send(group) for group in groups))
        for group in groups:
            await eventually(lambda g=group: 6 in inbox.sequences(g))

    for joined in inbox.joined:
        numbers = inbox.sequences(joined.conversation_id)
        assert numbers == list(range(joined.last_sequence + 1, 7))


async def test_other_peoples_messages_are_not_delivered(
    corp: Corp, new_corp: Callable[[], Corp]
) -> None:
    li_wei, stranger = corp.member("li.wei"), corp.member("stranger")
    foreigner = new_corp().member("li.wei")
    group = await li_wei.create_group("zhang.san")
    async with (
        li_wei.subscribed() as inbox,
        stranger.subscribed() as of_stranger,
        foreigner.subscribed() as of_foreigner,
    ):
        await li_wei.send(group)
        await eventually(lambda: inbox.messages(group))
        own = await stranger.create_group("zhang.san")
        await stranger.send(own)
        await eventually(lambda: of_stranger.joined)

    assert not of_stranger.messages(group)
    assert len(of_foreigner.updates) == 1


async def test_customer_must_name_a_corp(corp: Corp) -> None:
    customer = corp.customer("wmsomebody")

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await customer.stub.Subscribe(
            messaging_service_pb2.SubscribeRequest(), metadata=customer.metadata, timeout=TIMEOUT_S
        ).read()

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_person_has_at_most_20_subscriptions_at_a_replica(
    corp: Corp, new_corp: Callable[[], Corp]
) -> None:
    li_wei = corp.member("li.wei")
    async with AsyncExitStack() as devices:
        first = await devices.enter_async_context(AsyncExitStack())
        await first.enter_async_context(li_wei.subscribed())
        for _ in range(19):
            await devices.enter_async_context(li_wei.subscribed())

        await _expect_too_many(li_wei)
        # A member of that id in another corp is another person.
        for other in (corp.member("zhang.san"), new_corp().member("li.wei")):
            async with other.subscribed():
                pass
        await first.aclose()
        await eventually(lambda: _can_subscribe(li_wei))


async def test_customer_is_one_person_in_all_corps(new_corp: Callable[[], Corp]) -> None:
    customer_id = new_customer_id()
    async with AsyncExitStack() as devices:
        for _ in range(20):
            customer = new_corp().customer(customer_id)
            await devices.enter_async_context(customer.subscribed())

        await _expect_too_many(new_corp().customer(customer_id))


async def test_client_that_does_not_read_is_told_to_catch_up(corp: Corp) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    lazy = corp.member("zhang.san")
    call = lazy.stub.Subscribe(
        messaging_service_pb2.SubscribeRequest(), metadata=lazy.metadata, timeout=60
    )
    await call.read()

    async with li_wei.subscribed() as inbox:
        # More than the queue and all buffers on the way hold: 2 KB each.
        for _ in range(15):
            await asyncio.gather(*(li_wei.send(group, "x" * 2048) for _ in range(200)))
        await eventually(lambda: len(inbox.updates) > 3000)
        assert len(inbox.messages(group)) == 3000

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _read_to_end(call)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "SUBSCRIBER_TOO_SLOW" in str(caught.value.trailing_metadata())


async def test_replica_that_shuts_down_sends_its_subscribers_away(
    replicas: list[Stub],
    messaging_database: Database,
    messaging_nats: EmbeddedNats,
    tokens: TestTokens,
) -> None:
    settings = build_settings("messaging", messaging_database, messaging_nats)
    assert isinstance(settings, MessagingSettings)
    async with (
        AsyncExitStack() as replica,
        grpc.aio.insecure_channel(f"127.0.0.1:{settings.grpc_port}") as channel,
    ):
        await replica.enter_async_context(role(settings))
        stub = messaging_service_pb2_grpc.MessagingServiceStub(channel)
        async with Corp([stub], tokens).member("li.wei").subscribed() as inbox:
            await replica.aclose()
            await eventually(lambda: inbox.error)

    assert inbox.error is not None
    assert inbox.error.code() is grpc.StatusCode.UNAVAILABLE


async def _send_many(person: Person, group: str, count: int) -> None:
    for _ in range(count):
        await person.send(group)


async def _expect_too_many(person: Person) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async with person.subscribed():
            pass
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "TOO_MANY_SUBSCRIPTIONS" in str(caught.value.trailing_metadata())


async def _can_subscribe(person: Person) -> bool:
    try:
        async with person.subscribed():
            return True
    except grpc.aio.AioRpcError:
        return False


async def _read_to_end(call: SubscribeCall) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass
