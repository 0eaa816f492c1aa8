"""A sender against streams that break at any moment."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
import pytest

from fakes.eventually import eventually
from fakes.platform import FakePlatform, Refusal
from tieline.api.messaging.v1 import messaging_pb2, messaging_service_pb2
from tieline.client import Endpoints, MessageSender, Tieline, TielineError, connect


class FakeStream:
    """Stores messages once each by their ids, and breaks streams when told to."""

    def __init__(self, platform: FakePlatform) -> None:
        self.stored: list[str] = []
        self.breaks_left = 0
        self.is_silent = False
        self.refuses = 0
        """Messages that it refuses for overload before it takes any."""
        self.retry_delay_s = 0.3
        self.sizes: list[int] = []
        """How many messages each request had."""
        self.refusal: Refusal | None = None
        platform.answers["SendMessages"] = self._answer

    async def _answer(
        self,
        requests: AsyncIterator[messaging_service_pb2.SendMessagesRequest],
        _: Mapping[str, str],
    ) -> AsyncIterator[messaging_service_pb2.SendMessagesResponse]:
        if self.refusal is not None:
            raise self.refusal
        async for request in requests:
            self.sizes.append(len(request.messages))
            results = [self._store(message) for message in request.messages]
            if self.breaks_left:
                # Stored, and nobody hears of it.
                self.breaks_left -= 1
                raise Refusal(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
            if not self.is_silent:
                yield messaging_service_pb2.SendMessagesResponse(results=results)

    def _store(self, message: messaging_pb2.OutgoingMessage) -> messaging_pb2.SendResult:
        if message.conversation_id == "missing":
            error = messaging_pb2.SendError(code=5, reason="CONVERSATION_NOT_FOUND", text="none")
            error.violations["field"] = "rule"
            error.retry_delay.FromSeconds(3)
            return messaging_pb2.SendResult(error=error)
        if self.refuses:
            self.refuses -= 1
            error = messaging_pb2.SendError(code=14, reason="OVERLOADED", text="too much")
            error.retry_delay.FromMilliseconds(round(self.retry_delay_s * 1000))
            return messaging_pb2.SendResult(error=error)
        if message.client_message_id not in self.stored:
            self.stored.append(message.client_message_id)
        sequence = self.stored.index(message.client_message_id) + 1
        return messaging_pb2.SendResult(message=messaging_pb2.Message(sequence=sequence))


@pytest.fixture
async def platform() -> AsyncIterator[FakePlatform]:
    fake = FakePlatform()
    async with fake.serving():
        yield fake


@pytest.fixture
async def tieline(platform: FakePlatform) -> AsyncIterator[Tieline]:
    async with connect(Endpoints.single(platform.target)) as connection:
        yield connection


@pytest.fixture
def stream(platform: FakePlatform) -> FakeStream:
    return FakeStream(platform)


def content() -> messaging_pb2.MessageContent:
    return messaging_pb2.MessageContent(text=messaging_pb2.TextContent(text="hello"))


async def send_all(sender: MessageSender, count: int) -> list[Any]:
    """Send so many messages at the same time."""
    async with asyncio.timeout(15):
        return await asyncio.gather(
            *(sender.send("c", content(), client_message_id=f"m{n}") for n in range(count)),
            return_exceptions=True,
        )


async def test_messages_are_stored_once_and_in_order_whatever_breaks(
    tieline: Tieline, stream: FakeStream
) -> None:
    stream.breaks_left = 3

    async with MessageSender(tieline.messaging) as sender:
        messages = await send_all(sender, 500)

    assert [message.sequence for message in messages] == list(range(1, 501))
    assert stream.stored == [f"m{n}" for n in range(500)]
    assert sender.interruptions == 3


async def test_message_that_is_not_stored_raises_the_services_reason(
    tieline: Tieline, stream: FakeStream
) -> None:
    async with MessageSender(tieline.messaging) as sender:
        with pytest.raises(TielineError) as caught:
            await sender.send("missing", content())
        stored = await sender.send("c", content())

    assert caught.value.code is grpc.StatusCode.NOT_FOUND
    assert caught.value.reason == "CONVERSATION_NOT_FOUND"
    assert caught.value.violations == {"field": "rule"}
    assert caught.value.retry_after_s == 3
    assert stored.sequence == 1


async def test_what_follows_a_refused_message_waits_and_goes_out_one_at_a_time(
    tieline: Tieline, stream: FakeStream
) -> None:
    stream.refuses = 2
    async with MessageSender(tieline.messaging) as sender:
        with pytest.raises(TielineError, match="OVERLOADED"):
            await sender.send("c", content())
        begun_at = asyncio.get_running_loop().time()
        outcomes = await send_all(sender, 100)
        waited_s = asyncio.get_running_loop().time() - begun_at

    # Two times of at least 0.8 of what the service named: after the first, one found out.
    assert waited_s >= 2 * 0.8 * stream.retry_delay_s
    assert [isinstance(each, TielineError) for each in outcomes] == [True] + [False] * 99
    assert stream.sizes[:3] == [1, 1, 1]
    assert max(stream.sizes) > 1


async def test_what_another_stream_can_not_help_is_everybodys_error(
    tieline: Tieline, stream: FakeStream
) -> None:
    stream.refusal = Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_SEND_STREAMS")

    async with MessageSender(tieline.messaging) as sender:
        failed = [*await send_all(sender, 3), *await send_all(sender, 1)]

    assert [error.reason for error in failed] == ["TOO_MANY_SEND_STREAMS"] * 4


async def test_who_waits_when_the_sender_is_left_hears_of_it(
    tieline: Tieline, stream: FakeStream
) -> None:
    stream.is_silent = True
    async with MessageSender(tieline.messaging) as sender:
        sending = asyncio.create_task(sender.send("c", content()))
        await eventually(lambda: stream.stored)

    with pytest.raises(TielineError) as caught:
        await sending
    assert caught.value.code is grpc.StatusCode.CANCELLED


async def test_more_than_the_service_takes_waits_and_is_sent(
    tieline: Tieline, stream: FakeStream
) -> None:
    async with MessageSender(tieline.messaging) as sender:
        messages = await send_all(sender, 1000)

    assert len(messages) == 1000
    assert len(stream.stored) == 1000
