"""Batches and streams through the public API."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import grpc
import pytest
from nats.aio.client import Client

from fakes.eventually import eventually
from integration.messaging.chat import TIMEOUT_S, Corp, Person, new_id, text
from tieline.api.messaging.v1 import (
    message_content_pb2,
    messaging_pb2,
    messaging_service_pb2,
)
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.messaging.conversations.rules import member
from tieline.messaging.groups.changes import GroupChange
from tieline.messaging.live.announcer import Announcer


def outgoing(
    conversation_id: str, said: str = "hello", *, client_message_id: str = ""
) -> messaging_pb2.OutgoingMessage:
    return messaging_pb2.OutgoingMessage(
        conversation_id=conversation_id,
        client_message_id=client_message_id or new_id(),
        content=text(said),
    )


async def send_batch(
    person: Person, messages: Sequence[messaging_pb2.OutgoingMessage]
) -> list[messaging_pb2.SendResult]:
    response = await person.stub.BatchSendMessages(
        messaging_service_pb2.BatchSendMessagesRequest(corp_id=person.corp_id, messages=messages),
        metadata=person.metadata,
        timeout=TIMEOUT_S,
    )
    return list(response.results)


async def send_stream(
    person: Person, *requests: Sequence[messaging_pb2.OutgoingMessage]
) -> list[messaging_pb2.SendResult]:
    async def feed() -> AsyncIterator[messaging_service_pb2.SendMessagesRequest]:
        for messages in requests:
            yield messaging_service_pb2.SendMessagesRequest(messages=messages)

    call = person.stub.SendMessages(feed(), metadata=person.metadata, timeout=TIMEOUT_S)
    return [result async for response in call for result in response.results]


SendMany = Callable[
    [Person, Sequence[messaging_pb2.OutgoingMessage]],
    "asyncio.Future[list[messaging_pb2.SendResult]]",
]


@pytest.mark.parametrize("send_many", [send_batch, send_stream], ids=["batch", "stream"])
async def test_each_message_is_stored_or_has_its_own_error(corp: Corp, send_many: SendMany) -> None:
    li_wei = corp.member("li.wei")
    group, other = await li_wei.create_group("zhang.san"), await li_wei.create_group("zhang.san")
    foreign = await corp.member("zhang.san").create_group("wang.fang")
    first = outgoing(group, "one")
    reused = outgoing(group, "other", client_message_id=first.client_message_id)

    results = await send_many(
        li_wei,
        [first, outgoing(foreign), outgoing(other), outgoing(group, ""), first, reused,
         outgoing(group)],
    )  # fmt: skip

    assert [result.message.sequence for result in results] == [1, 0, 1, 0, 1, 0, 2]
    assert results[4].message == results[0].message
    assert [
        (result.error.code, result.error.reason) for result in results if result.error.code
    ] == [
        (5, "CONVERSATION_NOT_FOUND"),
        (3, "INVALID_FIELD"),
        (9, "CLIENT_MESSAGE_ID_REUSED"),
    ]
    assert list(results[3].error.violations) == ["content.text.text"]
    assert dict(results[5].error.metadata) == {"sequence": "1"}
    listed = await li_wei.list_messages(group)
    assert [message.sequence for message in listed.messages] == [1, 2]


@pytest.mark.parametrize("send_many", [send_batch, send_stream], ids=["batch", "stream"])
async def test_what_a_role_or_a_kind_does_not_allow_is_refused_alone(
    corp: Corp, send_many: SendMany
) -> None:
    plain = corp.member("zhang.san")
    group = await corp.member("li.wei").create_group("zhang.san")
    direct = await plain.create_direct("li.wei")
    notice = outgoing(group)
    notice.content.notice.CopyFrom(message_content_pb2.NoticeContent(title="Outing", text="now"))
    everyone, to_one = outgoing(group), outgoing(direct)
    for message in (everyone, to_one):
        message.content.mentions.everyone = True

    results = await send_many(
        plain, [outgoing(group), notice, everyone, to_one, outgoing(direct), outgoing(group)]
    )

    assert [(each.message.sequence, each.error.reason) for each in results] == [
        (1, ""),
        (0, "ROLE_NOT_SUFFICIENT"),
        (2, ""),
        (0, "WRONG_CONVERSATION_KIND"),
        (1, ""),
        (3, ""),
    ]


async def test_repeated_batch_gives_the_first_results(corp: Corp) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    batch = [outgoing(group) for _ in range(200)]

    first, again = await send_batch(li_wei, batch), await send_batch(li_wei, batch)

    assert again == first
    assert [result.message.sequence for result in first] == list(range(1, 201))


@pytest.mark.parametrize("count", [0, 201])
async def test_batch_of_none_or_too_many_is_refused_as_a_whole(corp: Corp, count: int) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await send_batch(li_wei, [outgoing(group)] * count)

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (await li_wei.list_messages(group)).last_sequence == 0


async def test_streams_at_two_replicas_store_what_both_send_once_and_in_order(corp: Corp) -> None:
    here, there = (corp.member("li.wei", replica=replica) for replica in (0, 1))
    group = await here.create_group("zhang.san")
    requests = [[outgoing(group) for _ in range(10)] for _ in range(20)]

    one, other = await asyncio.gather(send_stream(here, *requests), send_stream(there, *requests))

    assert one == other
    assert sorted(result.message.sequence for result in one) == list(range(1, 201))
    assert (await here.list_messages(group)).last_sequence == 200


async def test_request_of_no_message_ends_the_stream_behind_its_results(corp: Corp) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await send_stream(li_wei, [outgoing(group)], [])

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (await li_wei.list_messages(group)).last_sequence == 1


async def dismiss(connection: Connection, change: GroupChange) -> None:
    await change.dismiss()


async def remove(connection: Connection, change: GroupChange) -> None:
    await change.remove([member("li.wei")])


async def delete(connection: Connection, change: GroupChange) -> None:
    for table in ("participants", "conversations"):
        await connection.execute(
            f"DELETE FROM messaging.{table} WHERE corp_id = $1 AND conversation_id = $2",
            *change.key,
        )


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (dismiss, "CONVERSATION_DISMISSED"),
        (remove, "CONVERSATION_NOT_FOUND"),
        (delete, "CONVERSATION_NOT_FOUND"),
    ],
)
async def test_conversation_that_ends_while_a_batch_waits_for_it_fails_its_own_messages_alone(
    corp: Corp,
    pool: Pool,
    messaging_broker: Client,
    end: Callable[[Connection, GroupChange], Awaitable[None]],
    reason: str,
) -> None:
    li_wei, boss = corp.member("li.wei"), corp.member("boss")
    ending, other = [await boss.create_group("li.wei") for _ in range(2)]
    async with transaction(pool) as connection:
        change = await GroupChange.begin(
            connection, Announcer(pool, messaging_broker), (corp.corp_id, ending), member("boss")
        )
        batch = [outgoing(other), outgoing(ending), outgoing(other), outgoing(ending)]
        sending = asyncio.create_task(send_batch(li_wei, batch))
        holder = await connection.fetchval("SELECT pg_backend_pid()")
        async with pool.acquire() as watching:
            await eventually(lambda: _blocks_somebody(watching, holder))
        await end(connection, change)
    results = await sending

    assert [result.error.reason for result in results] == ["", reason, "", reason]
    listed = (await li_wei.list_messages(other)).messages
    assert list(listed) == [results[0].message, results[2].message]
    async with pool.acquire() as connection:
        stored = await connection.fetchval(
            "SELECT count(*) FROM messaging.stored_messages"
            " WHERE corp_id = $1 AND conversation_id = $2 AND client_message_id <> ''",
            *(corp.corp_id, ending),
        )
    assert stored == 0


async def _blocks_somebody(connection: Connection, process_id: int) -> bool:
    count = await connection.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))", process_id
    )
    return bool(count)


@pytest.mark.parametrize(
    "last_sequence",
    [
        pytest.param(-5, id="a constraint refuses it"),
        pytest.param(2**63 - 1, id="there is no next number"),
    ],
)
async def test_message_that_cannot_be_written_fails_alone_and_is_no_fault_of_its_sender(
    corp: Corp, pool: Pool, last_sequence: int
) -> None:
    li_wei = corp.member("li.wei")
    broken, other = [await li_wei.create_group("zhang.san") for _ in range(2)]
    async with pool.acquire() as connection:
        await connection.execute(
            "UPDATE messaging.conversations SET last_sequence = $3"
            " WHERE corp_id = $1 AND conversation_id = $2",
            *(corp.corp_id, broken, last_sequence),
        )

    results = await send_batch(
        li_wei, [outgoing(other), outgoing(broken), outgoing(other), outgoing(broken)]
    )

    assert [result.error.code for result in results] == [0, 13, 0, 13]
    assert [result.message.sequence for result in results] == [1, 0, 2, 0]
    listed = (await li_wei.list_messages(other)).messages
    assert list(listed) == [results[0].message, results[2].message]
    # What the caller is told names the incident, and nothing of the tables.
    assert "constraint" not in str(results[1].error)
    assert "incident" in str(results[1].error)
