"""Messages are found by what they say, by those who may read them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from nats.aio.client import Client

from fakes.eventually import eventually
from integration.messaging.chat import TIMEOUT_S, Corp, Person
from tieline.api.messaging.v1 import messaging_pb2, search_service_pb2, search_service_pb2_grpc
from tieline.chassis.postgres import Pool, transaction
from tieline.client.errors import TielineError
from tieline.messaging.announcer import Announcer
from tieline.messaging.conversation_log import ConversationLog, Note
from tieline.messaging.conversations import member

Search = Callable[..., Awaitable[search_service_pb2.SearchMessagesResponse]]


@pytest.fixture
def search(replica_channels: list[grpc.aio.Channel]) -> Search:
    stub = search_service_pb2_grpc.SearchServiceStub(replica_channels[1])

    async def call(
        person: Person, query: str, **fields: Any
    ) -> search_service_pb2.SearchMessagesResponse:
        request = search_service_pb2.SearchMessagesRequest(
            corp_id=person.corp_id, query=query, **fields
        )
        return await stub.SearchMessages(request, metadata=person.metadata, timeout=TIMEOUT_S)

    return call


def said(response: search_service_pb2.SearchMessagesResponse) -> list[str]:
    return [message.content.text.text for message in response.messages]


async def test_what_is_acknowledged_is_found_the_newest_first(corp: Corp, search: Search) -> None:
    li_wei = corp.member("li.wei")
    groups = [await li_wei.create_group("zhang.san") for _ in range(2)]
    for number in range(4):
        await li_wei.send(groups[number % 2], f"第{number}个项目进度 Report{number}")
    await li_wei.send(groups[0], "别的")

    for query in ("进", "项目进度", "rep", "report 项目"):
        found = await search(li_wei, query)
        assert [text[1] for text in said(found)] == ["3", "2", "1", "0"]
        assert not found.next_page_token
        assert not found.incomplete
    assert said(await search(li_wei, "report2")) == ["第2个项目进度 Report2"]
    assert not said(await search(li_wei, "目进 port"))


async def test_pages_have_every_message_once(corp: Corp, search: Search) -> None:
    li_wei = corp.member("li.wei")
    groups = [await li_wei.create_group("zhang.san") for _ in range(3)]
    for number in range(60):
        await li_wei.send(
            groups[number % 3], f"common {number}" if number % 7 else f"rare {number}"
        )

    for query in ("common", "rare"):
        found: list[str] = []
        token = ""
        while True:
            page = await search(li_wei, query, page_size=4, page_token=token)
            found += said(page)
            token = page.next_page_token
            if not token:
                break
        wanted = [n for n in reversed(range(60)) if bool(n % 7) == (query == "common")]
        assert found == [f"{query} {number}" for number in wanted]


async def test_only_own_conversations_are_searched(corp: Corp, search: Search) -> None:
    li_wei, stranger = corp.member("li.wei"), corp.member("stranger")
    group = await li_wei.create_group("zhang.san")
    await li_wei.send(group, "secret plan")

    assert said(await search(corp.member("zhang.san"), "secret")) == ["secret plan"]
    assert not said(await search(stranger, "secret"))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await search(stranger, "secret", conversation_id=group)
    assert TielineError.from_rpc_error(caught.value).reason == "CONVERSATION_NOT_FOUND"


async def test_what_was_said_before_somebody_came_is_not_found_where_it_is_not_shown(
    corp: Corp, search: Search, pool: Pool
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    await li_wei.send(group, "plan before")
    await li_wei.send(group, "plan after")
    async with pool.acquire() as connection:
        await connection.execute(
            "UPDATE messaging.participants SET visible_from_sequence = 1"
            " WHERE corp_id = $1 AND id = 'zhang.san'",
            corp.corp_id,
        )

    assert said(await search(corp.member("zhang.san"), "plan")) == ["plan after"]
    assert said(await search(li_wei, "plan")) == ["plan after", "plan before"]


async def test_edited_messages_are_found_by_what_they_say_now_and_recalled_ones_not(
    corp: Corp, search: Search, pool: Pool, messaging_broker: Client
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    for word in ("alpha", "beta"):
        await li_wei.send(group, word)
        assert said(await search(li_wei, word)) == [word]
    edited = messaging_pb2.MessageContent(text=messaging_pb2.TextContent(text="gamma"))
    notes = [messaging_pb2.MessageContent(), messaging_pb2.MessageContent()]
    notes[0].edit_note.sequence = 1
    notes[1].recall_note.sequence = 2
    async with transaction(pool) as connection:
        log = ConversationLog(connection, Announcer(pool, messaging_broker))
        key = (corp.corp_id, group)
        await log.lock([key])
        statement = (
            "UPDATE messaging.stored_messages SET content = $3, {} = now()"
            " WHERE corp_id = $1 AND conversation_id = $2 AND sequence = $4"
        )
        content = edited.SerializeToString()
        await connection.execute(statement.format("edit_time"), *key, content, 1)
        await connection.execute(statement.format("recall_time"), *key, b"", 2)
        await log.append([Note(key, member("li.wei"), each) for each in notes])

    assert said(await search(li_wei, "gamma")) == ["gamma"]
    assert not said(await search(li_wei, "alpha"))
    assert not said(await search(li_wei, "beta"))


async def test_filters_narrow_what_is_found(corp: Corp, search: Search) -> None:
    li_wei, zhang_san = corp.member("li.wei"), corp.member("zhang.san")
    groups = [await li_wei.create_group("zhang.san") for _ in range(2)]
    first = await li_wei.send(groups[0], "word one")
    await zhang_san.send(groups[0], "word two")
    last = await zhang_san.send(groups[1], "word three")

    assert said(await search(li_wei, "word", sender=li_wei.ref)) == ["word one"]
    assert said(await search(li_wei, "word", conversation_id=groups[1])) == ["word three"]
    assert said(await search(li_wei, "word", to_time=last.create_time)) == ["word two", "word one"]
    assert len(said(await search(li_wei, "word", from_time=first.create_time))) == 3
    assert not said(await search(li_wei, "word", kinds=["file"]))
    assert len(said(await search(li_wei, "word", kinds=["file", "text"]))) == 3


async def test_searches_at_the_same_time_index_each_message_once(
    corp: Corp, search: Search, pool: Pool
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    await asyncio.gather(*(li_wei.send(group, f"many {n}") for n in range(50)))

    await asyncio.gather(*(search(li_wei, "many") for _ in range(8)))

    async with pool.acquire() as connection:
        count = await connection.fetchval(
            "SELECT count(*) FROM messaging.searchable_messages WHERE corp_id = $1", corp.corp_id
        )
    assert count == 50


async def test_messages_become_searchable_without_a_search(corp: Corp, pool: Pool) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    await li_wei.send(group, "by itself")

    async def is_indexed() -> bool:
        async with pool.acquire() as connection:
            found = await connection.fetchval(
                "SELECT indexed_sequence FROM messaging.search_progress"
                " WHERE corp_id = $1 AND conversation_id = $2",
                corp.corp_id,
                group,
            )
        return found is not None and found >= 1

    await eventually(is_indexed)


@pytest.mark.parametrize(
    ("query", "fields", "field"),
    [
        pytest.param("", {}, "query", id="nothing"),
        pytest.param("x" * 129, {}, "query", id="one character too many"),
        pytest.param("x" * 10_000, {}, "query", id="10 KB"),
        pytest.param("?!", {}, "query", id="signs alone"),
        pytest.param("a\0b", {}, "query", id="U+0000"),
        pytest.param("a", {"kinds": ["nonsense"]}, "kinds", id="no kind"),
    ],
)
async def test_search_for_nothing_sensible_is_refused(
    corp: Corp, search: Search, query: str, fields: dict[str, Any], field: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await search(corp.member("li.wei"), query, **fields)

    error = TielineError.from_rpc_error(caught.value)
    assert error.reason == "INVALID_FIELD"
    assert field in error.violations


async def test_search_for_128_characters_is_answered(corp: Corp, search: Search) -> None:
    assert not said(await search(corp.member("li.wei"), "进" * 128))
