"""A feed against subscriptions that break at any moment."""

import asyncio
import datetime as dt
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest

from fakes.conversations import FakeConversations
from fakes.eventually import eventually
from fakes.platform import FakePlatform, Refusal
from tieline.api.identity.v1 import identity_pb2, identity_service_pb2
from tieline.api.messaging.v1 import messaging_service_pb2
from tieline.client import (
    Endpoints,
    HeldNumbersFile,
    MessageFeed,
    SessionTokens,
    Tieline,
    TielineError,
    connect,
)


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
def conversations(platform: FakePlatform) -> FakeConversations:
    return FakeConversations(platform)


async def take(feed: MessageFeed, count: int) -> list[tuple[str, int]]:
    """Read so many messages."""
    taken = []
    async with asyncio.timeout(15):
        async for message in feed:
            taken.append((message.conversation_id, message.sequence))
            if len(taken) == count:
                break
    return taken


async def test_feed_gives_what_was_stored_before_and_then_what_is_stored(
    tieline: Tieline, conversations: FakeConversations
) -> None:
    for number in range(7):
        conversations.store("c", f"before {number}")

    async with MessageFeed(tieline.messaging) as feed:
        before = await take(feed, 7)
        await feed.wait_live()
        conversations.store("c", "live")
        live = await take(feed, 1)

    assert before == [("c", number) for number in range(1, 8)]
    assert live == [("c", 8)]


async def test_feed_leaves_out_what_the_reader_holds(
    tieline: Tieline, conversations: FakeConversations
) -> None:
    for number in range(5):
        conversations.store("held", str(number))
        conversations.store("new", str(number))

    async with MessageFeed(tieline.messaging, held={"held": 4}) as feed:
        taken = await take(feed, 6)

    assert sorted(taken) == [("held", 5), *(("new", number) for number in range(1, 6))]
    assert feed.held == {"held": 5, "new": 5}


async def test_conversations_of_every_page_are_caught_up(
    tieline: Tieline, conversations: FakeConversations
) -> None:
    names = [f"c{number}" for number in range(8)]
    for name in names:
        conversations.store(name, "hello")

    async with MessageFeed(tieline.messaging) as feed:
        taken = await take(feed, 8)

    assert sorted(taken) == [(name, 1) for name in names]


async def test_conversation_that_is_joined_comes_with_its_past(
    tieline: Tieline, conversations: FakeConversations
) -> None:
    async with MessageFeed(tieline.messaging) as feed:
        await feed.wait_live()
        conversations.lose("c", "one")
        conversations.lose("c", "two")
        conversations.join("c")
        past = await take(feed, 2)
        conversations.store("c", "three")
        live = await take(feed, 1)

    assert (past, live) == ([("c", 1), ("c", 2)], [("c", 3)])


async def test_message_after_a_gap_brings_the_missing_ones_first(
    tieline: Tieline, conversations: FakeConversations
) -> None:
    async with MessageFeed(tieline.messaging) as feed:
        await feed.wait_live()
        conversations.lose("c", "lost on the way")
        conversations.store("c", "arrives")
        taken = await take(feed, 2)

    assert taken == [("c", 1), ("c", 2)]


@pytest.mark.parametrize("seed", range(5))
async def test_breaking_subscriptions_lose_repeat_and_reorder_nothing(
    tieline: Tieline, conversations: FakeConversations, seed: int
) -> None:
    chance = random.Random(seed)
    total = 200

    async def store_all() -> None:
        for number in range(total):
            conversations.store(chance.choice("abcd"), str(number))
            if chance.random() < 0.05:
                conversations.break_subscriptions()
            await asyncio.sleep(chance.choice((0, 0, 0, 0.001)))

    async with MessageFeed(tieline.messaging) as feed:
        storing = asyncio.create_task(store_all())
        taken = await take(feed, total)
        await storing

    by_conversation = defaultdict(list)
    for conversation_id, sequence in taken:
        by_conversation[conversation_id].append(sequence)
    assert {
        name: list(range(1, len(stored) + 1)) for name, stored in conversations.messages.items()
    } == by_conversation


async def test_feed_outlives_a_restart_of_the_service(
    platform: FakePlatform, conversations: FakeConversations
) -> None:
    # The fixture's server is not used: this one is stopped and started.
    restarted = FakePlatform(answers=platform.answers)
    async with restarted.serving():
        port = int(restarted.target.rpartition(":")[2])
    async with connect(Endpoints.single(restarted.target)) as tieline:
        async with restarted.serving(port):
            feed = await MessageFeed(tieline.messaging).__aenter__()
            conversations.store("c", "before")
            assert await take(feed, 1) == [("c", 1)]
        conversations.store("c", "meanwhile")
        async with restarted.serving(port):
            taken = await take(feed, 1)
            await feed.__aexit__(None, None, None)

    assert taken == [("c", 2)]
    assert feed.interruptions >= 1


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, "SESSION_ENDED"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_SUBSCRIPTIONS"),
    ],
)
async def test_error_that_stays_is_raised_to_the_reader_each_time(
    platform: FakePlatform, tieline: Tieline, code: grpc.StatusCode, reason: str
) -> None:
    async def subscribe(request: Any, metadata: Mapping[str, str]) -> AsyncIterator[Any]:
        for refusal in (Refusal(code, reason),):
            raise refusal
        yield

    platform.answers["Subscribe"] = subscribe

    async with MessageFeed(tieline.messaging) as feed:
        for _ in range(2):
            with pytest.raises(TielineError, match=reason):
                await asyncio.wait_for(anext(feed), timeout=10)


async def test_waiting_for_a_feed_that_has_ended_raises_its_error(
    platform: FakePlatform, tieline: Tieline, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The queue is full, so that the end can't be put into it.
    monkeypatch.setattr("tieline.client.feed.QUEUE_SIZE", 1)
    conversations = FakeConversations(platform)
    conversations.store("c", "never read")

    async def subscribe(request: Any, metadata: Mapping[str, str]) -> AsyncIterator[Any]:
        message = conversations.messages["c"][0]
        yield messaging_service_pb2.SubscribeResponse(message=message)
        raise Refusal(grpc.StatusCode.UNAUTHENTICATED, "SESSION_ENDED")

    platform.answers["Subscribe"] = subscribe

    async with MessageFeed(tieline.messaging) as feed:
        for _ in range(2):
            with pytest.raises(TielineError, match="SESSION_ENDED"):
                await asyncio.wait_for(feed.wait_live(), timeout=10)


async def test_connection_that_is_closed_under_a_feed_ends_it_with_an_error(
    platform: FakePlatform, conversations: FakeConversations
) -> None:
    async with connect(Endpoints.single(platform.target)) as tieline:
        feed = await MessageFeed(tieline.messaging).__aenter__()
        await feed.wait_live()
        reading = asyncio.create_task(anext(feed))

    with pytest.raises(TielineError) as caught:
        await asyncio.wait_for(reading, timeout=10)
    await feed.__aexit__(None, None, None)

    assert caught.value.code is grpc.StatusCode.CANCELLED


async def test_feeds_that_fill_one_connection_leave_another_one_and_calls_free() -> None:
    platform = FakePlatform()
    conversations = FakeConversations(platform)
    async with (
        platform.serving(max_streams=1),
        connect(Endpoints.single(platform.target)) as full,
        connect(Endpoints.single(platform.target)) as other,
        MessageFeed(full.messaging) as feed,
        MessageFeed(other.messaging) as other_feed,
    ):
        await feed.wait_live()
        await other_feed.wait_live()
        conversations.lose("c", "unheard")
        conversations.store("c", "hello")
        # Both read the range that they miss, while no place for a stream is free.
        assert await take(feed, 2) == await take(other_feed, 2) == [("c", 1), ("c", 2)]


async def test_error_that_no_service_sent_is_raised_to_the_reader(
    tieline: Tieline, conversations: FakeConversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    def accept(*_: object) -> bool:
        raise ValueError("a fault of the library")

    monkeypatch.setattr("tieline.client.merging.MessageMerge.accept", accept)
    conversations.store("c", "hello")

    async with MessageFeed(tieline.messaging) as feed:
        with pytest.raises(ValueError, match="a fault of the library"):
            await asyncio.wait_for(anext(feed), timeout=10)
        with pytest.raises(ValueError, match="a fault of the library"):
            await asyncio.wait_for(feed.wait_live(), timeout=10)


async def test_expired_token_is_refreshed_and_the_feed_goes_on(
    platform: FakePlatform, tieline: Tieline, conversations: FakeConversations
) -> None:
    subscribe = platform.answers["Subscribe"]

    async def subscribe_with_new_token(
        request: Any, metadata: Mapping[str, str]
    ) -> AsyncIterator[Any]:
        if metadata["authorization"] == "Bearer old":
            raise Refusal(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED")
        async for update in subscribe(request, metadata):
            yield update

    platform.answers["Subscribe"] = subscribe_with_new_token
    platform.answers["RefreshSession"] = lambda *_: identity_service_pb2.RefreshSessionResponse(
        session=identity_pb2.Session(access_token="new", refresh_token="r2")
    )
    conversations.store("c", "hello")
    in_an_hour = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    me = tieline.resume(SessionTokens("session", "old", in_an_hour, "r1", in_an_hour))

    async with me.watch_messages() as feed:
        taken = await take(feed, 1)

    assert taken == [("c", 1)]


async def test_range_that_is_behind_the_live_messages_leads_to_another_try(
    platform: FakePlatform, tieline: Tieline, conversations: FakeConversations
) -> None:
    list_messages = platform.answers["ListMessages"]
    is_behind = True

    def list_nothing_at_first(request: Any, metadata: Mapping[str, str]) -> Any:
        nonlocal is_behind
        if is_behind:
            is_behind = False
            return messaging_service_pb2.ListMessagesResponse()
        return list_messages(request, metadata)

    platform.answers["ListMessages"] = list_nothing_at_first

    async with MessageFeed(tieline.messaging) as feed:
        await feed.wait_live()
        conversations.lose("c", "lost on the way")
        conversations.store("c", "arrives")
        taken = await take(feed, 2)

    assert taken == [("c", 1), ("c", 2)]


async def test_leaving_the_feed_ends_its_subscription(
    tieline: Tieline, conversations: FakeConversations
) -> None:
    async with MessageFeed(tieline.messaging) as feed:
        await feed.wait_live()
        open_within = conversations.open_subscriptions

    assert open_within == 1
    await eventually(lambda: conversations.open_subscriptions == 0)


async def test_store_holds_what_was_dealt_with_and_the_rest_comes_again(
    tieline: Tieline, conversations: FakeConversations, tmp_path: Path
) -> None:
    for number in range(5):
        conversations.store("c", str(number))
    taken = []

    for _ in range(2):
        with closing(HeldNumbersFile(tmp_path / "held")) as store:
            async with MessageFeed(tieline.messaging, store=store) as feed:
                # The third is given to the reader, who does not come back for another.
                taken.append([number for _, number in await take(feed, 3)])

    assert taken == [[1, 2, 3], [3, 4, 5]]


async def test_conversation_that_was_left_begins_anew_when_it_is_joined_again(
    tieline: Tieline, conversations: FakeConversations
) -> None:
    conversations.store("stays", "hello")
    async with MessageFeed(tieline.messaging, held={"left": 4}) as feed:
        await take(feed, 1)
        await feed.wait_live()
        conversations.lose("left", "one")
        conversations.join("left")
        again = await take(feed, 1)

    assert again == [("left", 1)]


async def test_nothing_is_held_of_a_conversation_that_was_left_before_its_messages_were_read(
    tieline: Tieline, conversations: FakeConversations, tmp_path: Path
) -> None:
    conversations.store("left", "one")
    with closing(HeldNumbersFile(tmp_path / "held")) as store:
        async with MessageFeed(tieline.messaging, store=store) as feed:
            await feed.wait_live()
            conversations.store("left", "two")
            conversations.leave("left")
            conversations.store("stays", "hello")
            taken = await take(feed, 3)
            held = feed.held

        assert taken == [("left", 1), ("left", 2), ("stays", 1)]
        assert held == {"stays": 1}
        assert "left" not in store.load()


async def test_conversation_that_is_left_before_it_is_fetched_ends_no_feed(
    tieline: Tieline, conversations: FakeConversations
) -> None:
    async with MessageFeed(tieline.messaging) as feed:
        await feed.wait_live()
        conversations.lose("c", "one")
        conversations.gone.add("c")
        conversations.join("c")
        conversations.leave("c")
        conversations.store("stays", "hello")
        taken = await take(feed, 1)

    assert taken == [("stays", 1)]
    assert feed.interruptions == 0


async def test_what_is_held_of_a_platform_that_was_set_back_is_forgotten(
    tieline: Tieline, conversations: FakeConversations
) -> None:
    conversations.store("c", "one")

    async with MessageFeed(tieline.messaging, held={"c": 9}) as feed:
        taken = await take(feed, 1)

    assert taken == [("c", 1)]


async def test_slow_reader_gets_everything_in_the_end(
    tieline: Tieline, conversations: FakeConversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tieline.client.feed.QUEUE_SIZE", 2)

    async with MessageFeed(tieline.messaging) as feed:
        await feed.wait_live()
        for number in range(50):
            conversations.store("c", str(number))
        taken = await take(feed, 50)

    assert taken == [("c", number) for number in range(1, 51)]
