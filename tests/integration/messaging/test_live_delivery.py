"""Delivery over a broker that loses, repeats and reorders what it carries."""

import asyncio
import random
from contextlib import AsyncExitStack, aclosing

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from fakes.eventually import eventually
from integration.messaging.chat import Corp, Inbox
from integration.messaging.groups import Groups
from integration.messaging.unreliable import UnreliableBroker, decode, receiving
from tieline.api.messaging.v1.messaging_pb2 import Message
from tieline.chassis.errors import ResourceExhaustedError, UnavailableError
from tieline.chassis.postgres import Pool
from tieline.messaging.conversations.rules import member
from tieline.messaging.live.subjects import JOINS
from tieline.messaging.live.subscriber import MAX_QUEUED_UPDATES, Update
from tieline.messaging.live.subscribers import MAX_SUBSCRIPTIONS, LiveHub


def newest(inbox: Inbox, conversation_id: str) -> int:
    """Return the number up to which the inbox has everything, or needs nothing."""
    starts = [j.last_sequence for j in inbox.joined if j.conversation_id == conversation_id]
    return max([0, *starts, *inbox.sequences(conversation_id)])


@pytest.mark.parametrize("seed", range(3))
async def test_delivery_is_whole_over_an_unreliable_broker(
    corp: Corp, pool: Pool, messaging_broker: Client, seed: int
) -> None:
    people = [corp.member(f"user{n}", replica=n % 2) for n in range(2)]
    groups = [await people[0].create_group("user1", "reader") for _ in range(2)]
    broker = UnreliableBroker(messaging_broker, random.Random(seed))
    async with (
        LiveHub(pool, broker, compare_interval_s=0) as hub,
        receiving(hub, corp, "reader") as inbox,
        receiving(hub, corp, "reader") as second_inbox,
    ):
        later = await people[0].create_group("user1", "reader")
        await asyncio.gather(
            *(
                person.send(group)
                for _ in range(50)
                for person in people
                for group in [*groups, later]
            )
        )

        for each in (inbox, second_inbox):
            for group in [*groups, later]:
                await eventually(lambda i=each, g=group: newest(i, g) == 100)

    assert broker.lost > 0
    for each in (inbox, second_inbox):
        for group in groups:
            assert each.sequences(group) == list(range(1, 101))
        [joined] = each.joined
        assert each.sequences(later) == list(range(joined.last_sequence + 1, 101))


async def test_what_was_missed_while_nats_was_away_comes_after_the_reconnect(
    corp: Corp, pool: Pool, messaging_broker: Client
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("reader")
    broker = UnreliableBroker(messaging_broker)
    async with (
        LiveHub(pool, broker, compare_interval_s=3600) as hub,
        receiving(hub, corp, "reader") as inbox,
    ):
        broker.is_deaf = True
        for _ in range(5):
            await li_wei.send(group)
        joined = await li_wei.create_group("reader")
        broker.is_deaf = False
        broker.reconnects += 1

        await eventually(lambda: len(inbox.sequences(group)) == 5 and inbox.joined)

    assert inbox.sequences(group) == [1, 2, 3, 4, 5]
    assert [each.conversation_id for each in inbox.joined] == [joined]


async def test_message_to_a_large_group_is_published_once_and_encoded_once(
    corp: Corp, pool: Pool, messaging_broker: Client
) -> None:
    """However many are in it, and however many devices of theirs are connected."""
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group(*(f"user{number}" for number in range(100)))
    published: list[Msg] = []

    async def note(message: Msg) -> None:
        # That the group was made is told behind the answer.
        if message.subject != JOINS and corp.corp_id.encode() in message.data:
            published.append(message)

    subscription = await messaging_broker.subscribe("live.>", cb=note)
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(LiveHub(pool, messaging_broker))
        inboxes, streams = [], []
        for number in range(12):
            person = corp.member(f"user{number % 6}", replica=number % 2)
            inboxes.append(await stack.enter_async_context(person.subscribed()))
            stream = hub.subscribe((corp.corp_id, member(person.id)))
            await anext(stream)
            streams.append(await stack.enter_async_context(aclosing(stream)))
        sent = [await li_wei.send(group) for _ in range(3)]
        expected = [Update(message=message).SerializeToString() for message in sent]

        at_the_hub = [[await anext(stream) for _ in sent] for stream in streams]
        await eventually(lambda: all(len(each.messages(group)) == 3 for each in inboxes))
        await eventually(lambda: len(published) >= 3)
        await messaging_broker.flush()
    await subscription.unsubscribe()

    assert [Message.FromString(each.data).sequence for each in published] == [1, 2, 3]
    assert at_the_hub == [expected] * 12
    # Not only the same bytes: the same object.
    assert all(len({id(each[number]) for each in at_the_hub}) == 1 for number in range(3))
    assert all(inbox.messages(group) == sent for inbox in inboxes)


async def test_lost_message_comes_with_the_next_one(
    corp: Corp, pool: Pool, messaging_broker: Client
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("reader")
    broker = UnreliableBroker(messaging_broker)
    async with (
        LiveHub(pool, broker, compare_interval_s=3600) as hub,
        receiving(hub, corp, "reader") as inbox,
    ):
        broker.is_deaf = True
        await li_wei.send(group)
        await eventually(lambda: broker.lost == 1)
        broker.is_deaf = False
        await li_wei.send(group)

        await eventually(lambda: len(inbox.sequences(group)) == 2)

    assert inbox.sequences(group) == [1, 2]


async def test_what_is_stored_while_the_feeds_come_into_force_is_not_delivered(
    corp: Corp, pool: Pool, messaging_broker: Client
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("reader")
    broker = UnreliableBroker(messaging_broker)

    async def send_unheard() -> None:
        broker.is_deaf = True
        await li_wei.send(group)
        await eventually(lambda: broker.lost == 1)
        broker.is_deaf = False
        broker.before_flush = None

    async with LiveHub(pool, broker, compare_interval_s=3600) as hub:
        broker.before_flush = send_unheard
        async with receiving(hub, corp, "reader") as inbox:
            await li_wei.send(group)

            await eventually(lambda: inbox.messages(group))

    assert inbox.sequences(group) == [2]


@pytest.mark.parametrize("comes_back", [False, True])
async def test_device_that_begins_while_its_owner_leaves_is_told_what_became_of_it(
    corp: Corp, pool: Pool, messaging_broker: Client, groups: Groups, *, comes_back: bool
) -> None:
    """The feed is given up before the note of the leaving comes, and the owner may be back."""
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("reader", "other")
    await li_wei.send(group)
    broker = UnreliableBroker(messaging_broker)

    async def leave_unheard() -> None:
        broker.is_deaf = True
        broker.before_flush = None
        await groups.remove(li_wei, group, "reader")
        await eventually(lambda: broker.lost)
        # The hub flushes once more before it looks whether the owner is back.
        broker.before_flush = come_back if comes_back else None

    async def come_back() -> None:
        broker.before_flush = None
        await groups.add(li_wei, group, "reader")

    # With a device of the owner's already there nothing is read between the look and the plan.
    async with (
        LiveHub(pool, broker, compare_interval_s=3600) as hub,
        receiving(hub, corp, "reader"),
    ):
        broker.before_flush = leave_unheard
        told = []
        async with asyncio.timeout(20):
            async for update in hub.subscribe((corp.corp_id, member("reader")), {group: 1}):
                told.append(decode(update).WhichOneof("update"))
                if told[-1] in ("left", "joined"):
                    break

    assert told == ["started", "caught_up", "joined" if comes_back else "left"]


async def test_nobody_begins_to_receive_while_nats_is_away(
    corp: Corp, pool: Pool, messaging_broker: Client
) -> None:
    await corp.member("li.wei").create_group("reader")
    broker = UnreliableBroker(messaging_broker)
    async with LiveHub(pool, broker) as hub:
        broker.is_connected = False

        with pytest.raises(UnavailableError) as caught:
            await anext(hub.subscribe((corp.corp_id, member("reader"))))

    assert caught.value.reason == "BROKER_UNAVAILABLE"


async def test_quiet_subscriber_hears_a_heartbeat(
    corp: Corp, pool: Pool, messaging_broker: Client
) -> None:
    broker = UnreliableBroker(messaging_broker)
    async with (
        LiveHub(pool, broker, heartbeat_interval_s=0) as hub,
        receiving(hub, corp, "reader") as inbox,
    ):
        await eventually(lambda: len(inbox.updates) == 2)

    assert inbox.updates[1].HasField("heartbeat")


async def test_busy_subscriber_hears_no_heartbeat(
    corp: Corp, pool: Pool, messaging_broker: Client
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("reader")
    broker = UnreliableBroker(messaging_broker)
    async with (
        LiveHub(pool, broker, heartbeat_interval_s=3600, compare_interval_s=0) as hub,
        receiving(hub, corp, "reader") as inbox,
    ):
        # Missed, so it comes by the comparison: a tick, which also sends heartbeats, has passed.
        broker.is_deaf = True
        await li_wei.send(group)
        await eventually(lambda: inbox.messages(group))

    assert len(inbox.updates) == 2


async def test_feeds_end_with_their_last_subscriber(
    corp: Corp, pool: Pool, messaging_broker: Client
) -> None:
    await corp.member("li.wei").create_group("reader")
    subscriptions = messaging_broker._subs
    async with LiveHub(pool, UnreliableBroker(messaging_broker)) as hub:
        before = len(subscriptions)
        async with receiving(hub, corp, "reader"), receiving(hub, corp, "reader"):
            during = len(subscriptions)
        await eventually(lambda: len(subscriptions) == before)

    assert during == before + 1


async def test_calls_that_hang_in_a_write_are_counted_until_they_are_over(
    corp: Corp, pool: Pool, messaging_broker: Client
) -> None:
    """As gRPC waits for a client that never reads: the subscriber ends, and its call does not."""
    user = (corp.corp_id, member("zhang.san"))
    never = asyncio.Event()
    async with LiveHub(pool, UnreliableBroker(messaging_broker)) as hub:

        async def hang() -> None:
            async for _ in hub.subscribe(user):
                await never.wait()

        calls = [asyncio.create_task(hang()) for _ in range(MAX_SUBSCRIPTIONS)]
        await eventually(lambda: len(hub._subscribers.get(user, ())) == MAX_SUBSCRIPTIONS)
        for subscriber in list(hub._subscribers[user]):
            for _ in range(MAX_QUEUED_UPDATES + 1):
                subscriber.push(Update())
        await eventually(lambda: user not in hub._subscribers)

        with pytest.raises(ResourceExhaustedError) as refused:
            await anext(hub.subscribe(user))
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

        assert refused.value.reason == "TOO_MANY_SUBSCRIPTIONS"
        async with receiving(hub, corp, "zhang.san") as inbox:
            assert inbox.is_started
