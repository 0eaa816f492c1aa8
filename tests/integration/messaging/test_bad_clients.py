"""Clients that send what is none, or too slowly, or never read: nothing stored, nobody slowed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc
import pytest

from fakes.eventually import eventually
from fakes.network import network_to
from fakes.tokens import TestTokens
from integration.messaging.chat import TIMEOUT_S, Corp, new_id, text
from integration.messaging.groups import refused
from integration.messaging.test_archive import Auditor
from integration.messaging.uploads import FILE, Uploading
from tieline.api.messaging.v1 import (
    media_service_pb2,
    media_service_pb2_grpc,
    messaging_pb2,
    messaging_service_pb2,
    messaging_service_pb2_grpc,
)

# More than a replica's pool has connections.
EXPORTS = 12
# As many streams of media as one person may have.
DOWNLOADS = 8

# Of one message while others do their worst. On two cores and for themselves a few milliseconds.
NEIGHBOUR_BOUND_S = 5.0


@asynccontextmanager
async def neighbours_are_served(new_corp: Callable[[], Corp]) -> AsyncIterator[None]:
    """Have somebody of another corp send, one by one, for as long as the block lasts."""
    neighbour = new_corp().member("neighbour")
    group = await neighbour.create_group("friend")
    slowest_s = 0.0
    count = 0

    async def send_on() -> None:
        nonlocal slowest_s, count
        clock = asyncio.get_running_loop().time
        while True:
            begun = clock()
            await neighbour.send(group)
            slowest_s = max(slowest_s, clock() - begun)
            count += 1

    sending = asyncio.create_task(send_on())
    try:
        await eventually(lambda: count >= 5 or sending.done())
        yield
        seen = count
        await eventually(lambda: count >= seen + 20 or sending.done())
    finally:
        sending.cancel()
        [outcome] = await asyncio.gather(sending, return_exceptions=True)
    assert isinstance(outcome, asyncio.CancelledError), outcome
    assert slowest_s < NEIGHBOUR_BOUND_S


def raw_send(conversation_id: str, said: bytes) -> bytes:
    """Return a SendMessageRequest with these bytes in the place of its text."""
    content = messaging_pb2.MessageContent(text=messaging_pb2.TextContent(text="?" * len(said)))
    request = messaging_service_pb2.SendMessageRequest(
        conversation_id=conversation_id, client_message_id=new_id(), content=content
    )
    return request.SerializeToString().replace(b"?" * len(said), said)


@pytest.mark.parametrize("said", [b"\xff\xfe", b"\xed\xa0\x80", b"ab\xc0\x80", b"cut \xe4\xb8"])
async def test_text_that_is_no_utf8_is_the_callers_fault_and_not_stored(
    corp: Corp, replica_channels: list[grpc.aio.Channel], said: bytes
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    method = "/tieline.api.messaging.v1.MessagingService/SendMessage"
    send: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = replica_channels[0].unary_unary(method)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await send(raw_send(group, said), metadata=li_wei.metadata, timeout=TIMEOUT_S)

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "INVALID_FIELD" in str(caught.value.trailing_metadata())
    assert (await li_wei.list_messages(group)).last_sequence == 0


async def test_ten_thousand_mentions_are_refused_and_nothing_is_stored(
    corp: Corp, new_corp: Callable[[], Corp]
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    content = text("hello")
    content.mentions.participants.extend([corp.member("zhang.san").ref] * 10_000)
    request = messaging_service_pb2.SendMessageRequest(
        conversation_id=group, client_message_id=new_id(), content=content
    )

    async with neighbours_are_served(new_corp):
        for _ in range(20):
            await refused(
                li_wei.stub.SendMessage(request, metadata=li_wei.metadata, timeout=TIMEOUT_S),
                "must have at most 16384 bytes",
            )
    assert (await li_wei.list_messages(group)).last_sequence == 0


async def test_stream_whose_bytes_trickle_holds_up_nobody_and_is_stored_when_it_is_whole(
    corp: Corp, new_corp: Callable[[], Corp], replica_targets: list[str]
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    port = int(replica_targets[0].rpartition(":")[2])
    async with (
        network_to(port) as network,
        grpc.aio.insecure_channel(f"127.0.0.1:{network.port}") as channel,
    ):
        stub = messaging_service_pb2_grpc.MessagingServiceStub(channel)
        call = stub.SendMessages(metadata=li_wei.metadata, timeout=TIMEOUT_S)
        await call.write(_request(group, 1))
        first = await call.read()
        network.trickle(1.0)
        await call.write(_request(group, 2))
        async with neighbours_are_served(new_corp):
            assert (await li_wei.list_messages(group)).last_sequence == 1
        network.trickle(0)
        second = await call.read()
        call.cancel()

    assert isinstance(first, messaging_service_pb2.SendMessagesResponse)
    assert isinstance(second, messaging_service_pb2.SendMessagesResponse)
    numbers = [result.message.sequence for each in (first, second) for result in each.results]
    assert numbers == [1, 2, 3]


async def test_stream_that_never_reads_its_results_is_held_up_and_loses_none(
    corp: Corp, new_corp: Callable[[], Corp]
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    call = li_wei.stub.SendMessages(metadata=li_wei.metadata, timeout=60)
    written = 0
    is_over = False

    async def write_on() -> None:
        nonlocal written
        while not is_over:
            await call.write(_request(group, 32))
            written += 32
        await call.done_writing()

    writing = asyncio.create_task(write_on())
    other = await li_wei.create_group("zhang.san")

    async def is_held_up() -> bool:
        before = written
        for _ in range(20):
            await li_wei.send(other)
        return written == before > 0

    async with neighbours_are_served(new_corp):
        await eventually(is_held_up)
        stored = (await li_wei.list_messages(group, page_size=1)).last_sequence
    assert 0 < stored <= written
    is_over = True
    numbers = [result.message.sequence async for each in call for result in each.results]

    await writing
    assert numbers == list(range(1, written + 1))


async def test_exports_and_downloads_that_are_never_read_hold_up_nobody(
    corp: Corp,
    new_corp: Callable[[], Corp],
    replica_channels: list[grpc.aio.Channel],
    media_stubs: list[media_service_pb2_grpc.MediaServiceStub],
    tokens: TestTokens,
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    # What waits at a client that does not read is less than either.
    await asyncio.gather(*(li_wei.send(group, "x" * 2048) for _ in range(500)))
    medium = await Uploading(media_stubs[0], li_wei).upload(FILE)
    auditor = Auditor(
        replica_channels[0], tokens.member(corp.corp_id, "auditor", roles=("auditor",))
    )
    await auditor.read_all()
    exports = [auditor.begin_export() for _ in range(EXPORTS)]
    request = media_service_pb2.DownloadMediaRequest(media_id=medium.media_id)
    downloads = [
        media_stubs[0].DownloadMedia(request, metadata=li_wei.metadata, timeout=60)
        for _ in range(DOWNLOADS)
    ]

    async with neighbours_are_served(new_corp):
        await asyncio.gather(*(call.initial_metadata() for call in exports))
        await asyncio.gather(*(call.initial_metadata() for call in downloads))
        for _ in range(20):
            await li_wei.send(group)

    assert not any(call.done() for call in exports)
    assert not any(call.done() for call in downloads)
    for download in downloads:
        assert b"".join([response.chunk async for response in download]) == FILE
    exported = [b"".join([response.chunk async for response in export]) for export in exports]
    assert all(content.count(b"\n") >= 500 for content in exported)


def _request(group: str, count: int) -> messaging_service_pb2.SendMessagesRequest:
    return messaging_service_pb2.SendMessagesRequest(
        messages=[
            messaging_pb2.OutgoingMessage(
                conversation_id=group, client_message_id=new_id(), content=text("x" * 2000)
            )
            for _ in range(count)
        ]
    )
