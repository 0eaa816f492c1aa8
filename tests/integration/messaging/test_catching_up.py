"""After a break: the rest of what is held, then live, with nothing missing and nothing twice."""

import asyncio
import time
from typing import TypeAlias

import grpc
import pytest

from fakes.eventually import eventually
from integration.messaging.chat import Corp, Inbox, Person
from tieline.api.messaging.v1 import messaging_service_pb2, messaging_service_pb2_grpc
from tieline.client.errors import TielineError
from tieline.messaging.live.catching_up import MAX_BEHIND

SubscribeCall: TypeAlias = (
    "grpc.aio.UnaryStreamCall["
    "messaging_service_pb2.SubscribeRequest, messaging_service_pb2.SubscribeResponse]"
)


async def send_many(person: Person, conversation_id: str, count: int) -> None:
    for begin in range(0, count, 50):
        await asyncio.gather(*(person.send(conversation_id) for _ in range(min(50, count - begin))))


async def caught_up(inbox: Inbox) -> None:
    await eventually(lambda: inbox.is_caught_up)


async def test_rest_of_what_is_held_comes_in_order_and_then_what_is_new(corp: Corp) -> None:
    li_wei, zhang_san = corp.member("li.wei"), corp.member("zhang.san", replica=1)
    groups = [await li_wei.create_group("zhang.san") for _ in range(3)]
    for group in groups:
        await send_many(li_wei, group, 7)

    held = dict(zip(groups, (0, 4, 7), strict=True))
    async with zhang_san.subscribed(held) as inbox:
        await caught_up(inbox)
        before = {group: inbox.sequences(group) for group in groups}
        for group in groups:
            await li_wei.send(group)
            await eventually(lambda g=group: 8 in inbox.sequences(g))

    assert list(before.values()) == [[1, 2, 3, 4, 5, 6, 7], [5, 6, 7], []]
    assert [inbox.sequences(group) for group in groups] == [
        list(range(number + 1, 9)) for number in held.values()
    ]
    assert not inbox.to_fetch


async def test_rest_comes_in_batches_to_who_asks_for_them(corp: Corp) -> None:
    li_wei, zhang_san = corp.member("li.wei"), corp.member("zhang.san", replica=1)
    groups = [await li_wei.create_group("zhang.san") for _ in range(3)]
    for group in groups:
        await send_many(li_wei, group, 50)

    async with zhang_san.subscribed(dict.fromkeys(groups, 0), batches=True) as inbox:
        await caught_up(inbox)
        batches = [each.messages.messages for each in inbox.updates if each.HasField("messages")]
        await li_wei.send(groups[0])
        await eventually(lambda: inbox.sequences(groups[0]) == [51])

    assert [len(batch) for batch in batches] == [100, 50]
    rest = [(each.conversation_id, each.sequence) for batch in batches for each in batch]
    assert rest == [(group, number) for group in groups for number in range(1, 51)]


async def test_nothing_is_missing_or_twice_between_the_rest_and_what_is_new(corp: Corp) -> None:
    sender, reader = corp.member("li.wei"), corp.member("zhang.san", replica=1)
    group = await sender.create_group("zhang.san")
    sending = asyncio.create_task(send_many(sender, group, 400))
    received: list[int] = []

    while len(received) < 400:
        async with reader.subscribed({group: len(received)}) as inbox:
            await eventually(lambda i=inbox: len(i.sequences(group)) >= 20 or sending.done())
            if sending.done():
                await caught_up(inbox)
        received += inbox.sequences(group)

    await sending
    assert received == list(range(1, 401))


async def test_what_is_not_held_or_too_far_behind_is_told_to_be_fetched(corp: Corp) -> None:
    li_wei, zhang_san = corp.member("li.wei"), corp.member("zhang.san", replica=1)
    behind, unknown = [await li_wei.create_group("zhang.san") for _ in range(2)]
    await send_many(li_wei, behind, MAX_BEHIND + 2)
    await send_many(li_wei, unknown, 2)

    async with zhang_san.subscribed({behind: 1}) as inbox:
        await caught_up(inbox)
        await li_wei.send(behind)
        await eventually(lambda: inbox.messages(behind))

    assert {
        each.conversation_id: (each.after_sequence, each.last_sequence) for each in inbox.to_fetch
    } == {behind: (1, MAX_BEHIND + 2), unknown: (0, 2)}
    assert inbox.sequences(behind) == [MAX_BEHIND + 3]


async def test_conversation_that_the_caller_is_not_in_is_told_as_left(
    corp: Corp,
) -> None:
    li_wei, stranger = corp.member("li.wei"), corp.member("stranger")
    group = await li_wei.create_group("zhang.san")
    await li_wei.send(group)

    async with stranger.subscribed({group: 0, "no-such": 3}) as inbox:
        await caught_up(inbox)

    assert inbox.left == [group, "no-such"]
    assert not inbox.messages(group)


async def test_client_that_holds_what_does_not_exist_is_refused(corp: Corp) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    await li_wei.send(group)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async with li_wei.subscribed({group: 2}):
            pass

    error = TielineError.from_rpc_error(caught.value)
    assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "HELD_AHEAD")
    assert error.metadata == {"conversationId": group, "lastSequence": "1"}


async def test_list_of_a_hundred_thousand_conversations_is_refused(corp: Corp) -> None:
    li_wei = corp.member("li.wei")

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async with li_wei.subscribed({f"c{number}": 1 for number in range(100_000)}):
            pass

    assert TielineError.from_rpc_error(caught.value).reason == "INVALID_FIELD"


async def test_client_that_never_reads_its_rest_slows_nobody_and_ends(
    corp: Corp, replica_targets: list[str]
) -> None:
    li_wei, zhang_san = corp.member("li.wei"), corp.member("zhang.san")
    group = await li_wei.create_group("zhang.san")
    await send_large(li_wei, group, 900)
    request = messaging_service_pb2.SubscribeRequest(catch_up=True)
    request.held.add(conversation_id=group, sequence=0)

    async with (
        grpc.aio.insecure_channel(replica_targets[0]) as lazy,
        li_wei.subscribed({group: 900}) as inbox,
    ):
        await caught_up(inbox)
        alone_s = await time_of(li_wei, group, inbox, 30)
        subscribe = messaging_service_pb2_grpc.MessagingServiceStub(lazy).Subscribe
        calls = [subscribe(request, metadata=zhang_san.metadata, timeout=60) for _ in range(5)]
        # Nothing is read of these behind `started`: their rest fills the window of the connection.
        for call in calls:
            await call.read()
        beside_s = await time_of(li_wei, group, inbox, 30)
        # More than their queues and all buffers on the way hold.
        await send_large(li_wei, group, 2500)
        await eventually(lambda: len(inbox.sequences(group)) == 2560)

        for call in calls:
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await read_to_end(call)
            error = TielineError.from_rpc_error(ended.value)
            assert error.reason == "SUBSCRIBER_TOO_SLOW"

    assert inbox.sequences(group) == list(range(901, 3461))
    # Whoever waits for one of them waits for ever: a second is the machine's.
    assert beside_s < 5 * alone_s + 1


async def read_to_end(call: SubscribeCall) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


async def time_of(person: Person, conversation_id: str, inbox: Inbox, count: int) -> float:
    """Return the seconds until so many messages, one behind the other, are received."""
    received = len(inbox.sequences(conversation_id))
    start = time.monotonic()
    for number in range(1, count + 1):
        await person.send(conversation_id)
        await eventually(lambda n=number: len(inbox.sequences(conversation_id)) == received + n)
    return time.monotonic() - start


async def test_messages_are_listed_both_ways(corp: Corp) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    await send_many(li_wei, group, 230)

    backwards: list[int] = []
    before = 0
    while not backwards or backwards[0] > 1:
        page = await li_wei.list_messages(group, before=before or 231, page_size=110)
        backwards = [message.sequence for message in page.messages] + backwards
        before = backwards[0]
    between = await li_wei.list_messages(group, after=100, before=203)

    assert backwards == list(range(1, 231))
    assert [message.sequence for message in between.messages] == list(range(101, 203))
    assert between.last_sequence == 230


async def test_ranges_of_many_conversations_come_in_one_call(corp: Corp) -> None:
    li_wei, stranger = corp.member("li.wei"), corp.member("stranger")
    groups = [await li_wei.create_group("zhang.san") for _ in range(3)]
    foreign = await stranger.create_group("zhang.san")
    for group in groups:
        await send_many(li_wei, group, 5)
    ranges = [
        messaging_service_pb2.MessageRangeRequest(conversation_id=groups[0], after_sequence=3),
        messaging_service_pb2.MessageRangeRequest(conversation_id=foreign),
        messaging_service_pb2.MessageRangeRequest(
            conversation_id=groups[1], before_sequence=5, page_size=2
        ),
        messaging_service_pb2.MessageRangeRequest(conversation_id=groups[2], after_sequence=5),
    ]

    found = await li_wei.list_batch(*ranges)

    # Nothing of the conversation that the caller is not in.
    assert [each.conversation_id for each in found] == groups
    assert [[message.sequence for message in each.messages] for each in found] == [
        [4, 5],
        [3, 4],
        [],
    ]
    assert all(each.complete for each in found)


async def test_batch_that_is_too_large_is_cut_and_told_so(corp: Corp) -> None:
    li_wei = corp.member("li.wei")
    groups = [await li_wei.create_group("zhang.san") for _ in range(3)]
    await asyncio.gather(*(send_large(li_wei, group, 150) for group in groups))
    asked = dict.fromkeys(groups, 0)
    received: dict[str, list[int]] = {group: [] for group in groups}
    calls = 0

    while asked:
        calls += 1
        found = await li_wei.list_batch(
            *(
                messaging_service_pb2.MessageRangeRequest(
                    conversation_id=group, after_sequence=after, page_size=1000
                )
                for group, after in asked.items()
            )
        )
        for each in found:
            received[each.conversation_id] += [message.sequence for message in each.messages]
        asked = {
            each.conversation_id: max(received[each.conversation_id], default=0)
            for each in found
            if not each.complete
        }

    assert calls > 1
    assert all(numbers == list(range(1, 151)) for numbers in received.values())


async def send_large(person: Person, conversation_id: str, count: int) -> None:
    for begin in range(0, count, 50):
        sends = range(min(50, count - begin))
        await asyncio.gather(*(person.send(conversation_id, "x" * 2000) for _ in sends))
