import asyncio
from collections.abc import Callable

import grpc
import pytest
from nats.aio.client import Client

from fakes.eventually import eventually
from integration.messaging.chat import TIMEOUT_S, Corp, Person, new_id, text
from tieline.api.messaging.v1 import messaging_pb2, messaging_service_pb2
from tieline.chassis.postgres import Pool, transaction
from tieline.messaging.conversations.rules import member
from tieline.messaging.live.announcer import Announcer
from tieline.messaging.messages.rules import Send
from tieline.messaging.sending.batches import Sender


async def test_sent_message_is_numbered_stored_and_listed(corp: Corp) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")

    sent = [await li_wei.send(group, said) for said in ("one", "two")]

    assert [message.sequence for message in sent] == [1, 2]
    assert sent[0].sender == li_wei.ref
    assert sent[0].content.text.text == "one"
    listed = await corp.member("zhang.san").list_messages(group)
    assert list(listed.messages) == sent
    assert listed.last_sequence == 2


async def test_repeated_send_gives_the_first_answer_and_stores_nothing(corp: Corp) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    first = await li_wei.send(group, "hello", client_message_id="m1")
    await li_wei.send(group, "between")

    repeat = await li_wei.send(group, "hello", client_message_id="m1")

    assert repeat == first
    assert (await li_wei.list_messages(group)).last_sequence == 2


async def test_repeats_at_the_same_time_at_two_replicas_store_one_message(corp: Corp) -> None:
    here, there = (corp.member("li.wei", replica=replica) for replica in (0, 1))
    group = await here.create_group("zhang.san")

    answers = await asyncio.gather(
        *(
            person.send(group, "hello", client_message_id="m1")
            for _ in range(20)
            for person in (here, there)
        )
    )

    assert {answer.SerializeToString() for answer in answers} == {answers[0].SerializeToString()}
    assert (await here.list_messages(group)).last_sequence == 1


async def test_reused_client_message_id_is_refused_with_the_first_number(corp: Corp) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    await li_wei.send(group, "one")
    await li_wei.send(group, "hello", client_message_id="m1")

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await li_wei.send(group, "something else", client_message_id="m1")

    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "CLIENT_MESSAGE_ID_REUSED" in _details(caught.value)
    assert (await li_wei.list_messages(group)).last_sequence == 2


async def test_same_client_message_id_of_another_sender_is_another_message(corp: Corp) -> None:
    li_wei, zhang_san = corp.member("li.wei"), corp.member("zhang.san")
    group = await li_wei.create_group("zhang.san")

    await li_wei.send(group, "hello", client_message_id="m1")
    other = await zhang_san.send(group, "something else", client_message_id="m1")

    assert other.sequence == 2


async def test_concurrent_sends_at_two_replicas_are_numbered_without_gaps(corp: Corp) -> None:
    people = [corp.member(f"user{n}", replica=n % 2) for n in range(4)]
    groups = [await people[0].create_group("user1", "user2", "user3") for _ in range(3)]

    sent = await asyncio.gather(
        *(person.send(group) for _ in range(25) for person in people for group in groups)
    )

    for group in groups:
        numbers = sorted(message.sequence for message in sent if message.conversation_id == group)
        assert numbers == list(range(1, 101))
        listed = (await people[0].list_messages(group)).messages
        assert [message.sequence for message in listed] == list(range(1, 101))
        assert len({message.client_message_id for message in listed}) == 100


async def test_time_of_a_message_is_not_before_that_of_a_lower_number(
    corp: Corp, pool: Pool, messaging_broker: Client
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    content = text("late").SerializeToString()
    late = Send(corp.corp_id, group, member("li.wei"), "late", content)

    async with transaction(pool) as connection:
        await connection.execute("SELECT 1")
        # Begun later, committed earlier.
        await li_wei.send(group)
        await Sender(Announcer(pool, messaging_broker)).commit(connection, [late])

    first, second = (await li_wei.list_messages(group)).messages
    assert second.client_message_id == "late"
    assert first.create_time.ToNanoseconds() < second.create_time.ToNanoseconds()


async def test_who_is_not_in_the_conversation_is_told_that_there_is_none(
    corp: Corp, new_corp: Callable[[], Corp]
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    stranger = corp.member("stranger")
    foreigner = new_corp().member("li.wei")
    customer = corp.customer("wmstranger")

    for person in (stranger, foreigner, customer):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await person.send(group)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert "CONVERSATION_NOT_FOUND" in _details(caught.value)
    assert (await li_wei.list_messages(group)).last_sequence == 0


@pytest.mark.parametrize(
    "conversation_id",
    [
        pytest.param("", id="empty"),
        pytest.param("no such", id="not of the form"),
        pytest.param("x" * 100_000, id="long"),
        pytest.param("a\0b", id="NUL"),
        pytest.param("018f3d2e-7c1a-7b6e-9f00-3a5b8c2d1e4f", id="unknown"),
    ],
)
async def test_conversation_that_is_not_there_is_not_found(
    corp: Corp, conversation_id: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await corp.member("li.wei").send(conversation_id)

    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_bad_send_fails_alone_among_those_of_its_moment(corp: Corp) -> None:
    li_wei, stranger = corp.member("li.wei"), corp.member("stranger")
    group = await li_wei.create_group("zhang.san")

    outcomes = await asyncio.gather(
        *(person.send(group) for _ in range(20) for person in (li_wei, stranger)),
        return_exceptions=True,
    )

    assert sum(isinstance(outcome, grpc.aio.AioRpcError) for outcome in outcomes) == 20
    numbers = [each.sequence for each in outcomes if isinstance(each, messaging_pb2.Message)]
    assert sorted(numbers) == list(range(1, 21))


async def test_wrong_send_names_every_field_and_stores_nothing(corp: Corp) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _send_raw(li_wei, messaging_service_pb2.SendMessageRequest(conversation_id=group))

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "client_message_id" in _details(caught.value)
    assert "content" in _details(caught.value)
    assert (await li_wei.list_messages(group)).last_sequence == 0


async def test_large_field_of_another_version_is_refused_and_stores_nothing(corp: Corp) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    # Field 40, which this version does not know, of 17,000 bytes.
    content = text("hi").SerializeToString() + b"\xc2\x02\xe8\x84\x01" + b"x" * 17_000
    request = messaging_service_pb2.SendMessageRequest(
        conversation_id=group,
        client_message_id=new_id(),
        content=messaging_pb2.MessageContent.FromString(content),
    )

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _send_raw(li_wei, request)

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "must have at most 16384 bytes" in _details(caught.value)
    assert (await li_wei.list_messages(group)).last_sequence == 0


async def test_other_corps_id_is_no_corp_to_a_member(
    corp: Corp, new_corp: Callable[[], Corp]
) -> None:
    request = messaging_service_pb2.SendMessageRequest(
        corp_id=new_corp().corp_id, conversation_id=new_id()
    )

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _send_raw(corp.member("li.wei"), request)

    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert "CORP_NOT_FOUND" in _details(caught.value)


async def test_range_follows_a_number_and_says_where_the_end_is(corp: Corp) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    for _ in range(5):
        await li_wei.send(group)

    page = await li_wei.list_messages(group, after=1, page_size=2)

    assert [message.sequence for message in page.messages] == [2, 3]
    assert page.last_sequence == 5
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await li_wei.list_messages(group, after=-1)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_messages_are_told_as_events_in_order_of_their_numbers(
    corp: Corp, admin_broker: Client
) -> None:
    told: list[messaging_pb2.MessagesSent] = []

    async def note(message: object) -> None:
        sent = messaging_pb2.MessagesSent.FromString(message.data)  # type: ignore[attr-defined]
        if sent.messages[0].corp_id == corp.corp_id:
            told.append(sent)

    subscription = await admin_broker.subscribe("tieline.messaging.v1.messages_sent", cb=note)
    await admin_broker.flush()
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")

    await asyncio.gather(*(li_wei.send(group) for _ in range(30)))

    await eventually(lambda: sum(len(each.messages) for each in told) == 30)
    await subscription.unsubscribe()
    assert [m.sequence for each in told for m in each.messages] == list(range(1, 31))
    assert len({each.event_id for each in told}) == len(told)


async def _send_raw(person: Person, request: messaging_service_pb2.SendMessageRequest) -> None:
    await person.stub.SendMessage(request, metadata=person.metadata, timeout=TIMEOUT_S)


def _details(error: grpc.aio.AioRpcError) -> str:
    return f"{error.details()} {error.trailing_metadata()}"
