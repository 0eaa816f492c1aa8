"""Messages are found by what they say, by those who may read them."""

import asyncio
import datetime as dt
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import grpc
import pytest
from nats.aio.client import Client

from fakes.eventually import eventually
from integration.messaging.chat import TIMEOUT_S, Corp, Person, text
from integration.messaging.uploads import Uploading, say
from tieline.api.messaging.v1 import (
    media_service_pb2_grpc,
    message_content_pb2,
    messaging_pb2,
    search_service_pb2,
    search_service_pb2_grpc,
)
from tieline.chassis.postgres import Pool, transaction
from tieline.client.errors import TielineError
from tieline.messaging.conversations.log import ConversationLog, Note
from tieline.messaging.conversations.rules import member
from tieline.messaging.live.announcer import Announcer

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
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                found = await stub.SearchMessages(request, metadata=person.metadata)
                # A replica indexes in the background, and may be about to.
                if not found.incomplete:
                    return found

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


async def test_cards_are_found_by_their_buttons_and_options(corp: Corp, search: Search) -> None:
    """What is written on it and not what names it for its app."""
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    card = message_content_pb2.TemplateCardContent(
        kind=message_content_pb2.TEMPLATE_CARD_KIND_BUTTON_INTERACTION,
        task_id="task-1",
        title="Leave of Wu",
        buttons=[message_content_pb2.TemplateCardButton(text="同意请假", key="yes")],
        button_selection=message_content_pb2.TemplateCardSelection(
            key="days", options=[message_content_pb2.QuizOption(key="1", text="Tomorrow morning")]
        ),
    )
    await li_wei.send(group, "other")
    sent = await say(li_wei, group, messaging_pb2.MessageContent(template_card=card))

    for query in ("同意", "morn", "wu 请假 tomorrow"):
        found = await search(li_wei, query)
        assert [message.sequence for message in found.messages] == [sent.sequence], query
    assert not (await search(li_wei, "task")).messages


class Said(NamedTuple):
    """A message, in the order of results."""

    create_time: dt.datetime
    conversation_id: str
    sequence: int
    sender: str
    words: str


def make_up(conversation_id: str, count: int, chance: random.Random, hours: Sequence[int]) -> Any:
    noon = dt.datetime(2026, 2, 17, 12, tzinfo=dt.UTC)
    times = sorted(noon - dt.timedelta(hours=chance.choice(hours)) for _ in range(count))
    for number, time in enumerate(times, start=1):
        words = f"{chance.choice(['common', 'other'])} {'rare' if chance.random() < 0.03 else ''}"
        sender = "zhang.san" if chance.random() < 0.25 else "li.wei"
        yield Said(time, conversation_id, number, sender, words)


async def store(pool: Pool, corp: Corp, messages: Sequence[Said]) -> None:
    async with pool.acquire() as connection:
        await connection.executemany(
            "INSERT INTO messaging.stored_messages (corp_id, conversation_id, sequence,"
            " sender_kind, sender_id, client_message_id, content, create_time)"
            " VALUES ($1, $3, $4, 'member', $5, $4::bigint::text, $6, $2)",
            [(corp.corp_id, *each[:4], text(each.words).SerializeToString()) for each in messages],
        )
        await connection.execute(
            "UPDATE messaging.conversations SET last_sequence = newest.sequence,"
            " last_activity_time = newest.create_time"
            " FROM (SELECT conversation_id, max(sequence) AS sequence, max(create_time)"
            " AS create_time FROM messaging.stored_messages WHERE corp_id = $1 GROUP BY 1)"
            " AS newest WHERE corp_id = $1 AND conversations.conversation_id"
            " = newest.conversation_id",
            corp.corp_id,
        )


async def test_walk_through_years_finds_what_a_filter_over_all_messages_finds(
    corp: Corp, search: Search, pool: Pool
) -> None:
    li_wei = corp.member("li.wei")
    groups = [await li_wei.create_group("zhang.san") for _ in range(3)]
    chance = random.Random(7)
    # One that is busy for an hour, more than a window takes of it; two with moments and gaps.
    messages = [
        *make_up(groups[0], 400, chance, [0, 1]),
        *make_up(groups[1], 40, chance, [0, 1, 24, 25, 216, 217, 40_000]),
        *make_up(groups[2], 40, chance, [1, 24, 1944, 1945, 90_000]),
    ]
    await store(pool, corp, messages)
    async with pool.acquire() as connection:
        await connection.execute(
            "UPDATE messaging.participants SET visible_from_sequence = 11"
            " WHERE corp_id = $1 AND conversation_id = ANY ($2) AND id = 'li.wei'",
            corp.corp_id,
            groups[1:],
        )
    middle, early = messages[350].create_time, messages[445].create_time

    for word in ("common", "rare", "common rare"):
        for fields in (
            {},
            {"sender": corp.member("zhang.san").ref},
            {"from_time": early, "to_time": middle},
            {"conversation_id": groups[1]},
        ):
            # Of 333 of the busy one fewer than 100 pass: a window that is cut, and not full.
            size = 100 if "sender" in fields else 7
            of = [fields["conversation_id"]] if "conversation_id" in fields else groups
            wanted = [
                (each.conversation_id, each.sequence)
                for each in sorted(messages, reverse=True)
                if set(word.split()) <= set(each.words.split())
                and (each.conversation_id == groups[0] or each.sequence > 11)
                and ("sender" not in fields or each.sender == "zhang.san")
                and ("to_time" not in fields or early <= each.create_time < middle)
                and each.conversation_id in of
            ]
            found: list[tuple[str, int]] = []
            token, is_last = "", False
            while not is_last:
                page = await search(li_wei, word, page_size=size, page_token=token, **fields)
                assert len(page.messages) <= size
                found += [(each.conversation_id, each.sequence) for each in page.messages]
                token = page.next_page_token
                is_last = not token
            assert found == wanted, (word, fields)


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


async def test_files_cards_and_quizzes_are_found_by_their_kinds(
    corp: Corp, search: Search, media_stubs: list[media_service_pb2_grpc.MediaServiceStub]
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    medium = await Uploading(media_stubs[0], li_wei).upload()
    contents = {
        "text": text("budget"),
        "file": messaging_pb2.MessageContent(
            file=message_content_pb2.FileContent(media_id=medium.media_id, name="budget 预算.txt")
        ),
        "link_card": messaging_pb2.MessageContent(
            link_card=message_content_pb2.LinkCardContent(
                title="News", description="the budget", url="https://example.com/"
            )
        ),
        "quiz": messaging_pb2.MessageContent(
            quiz=message_content_pb2.QuizContent(
                question="What comes first?",
                options=[
                    message_content_pb2.QuizOption(key=key, text=key) for key in ("budget", "plan")
                ],
            )
        ),
    }
    for content in contents.values():
        await say(li_wei, group, content)

    everything = (await search(li_wei, "budget")).messages
    assert [each.content.WhichOneof("kind") for each in everything] == list(reversed(contents))
    for kind, content in contents.items():
        [found] = (await search(li_wei, "budget", kinds=[kind])).messages
        assert getattr(found.content, kind) == getattr(content, kind)
    # Of a name each word, in Chinese each character.
    for query in ("预", "预算", "txt"):
        assert len((await search(li_wei, query, kinds=["file", "quiz"])).messages) == 1
    assert len((await search(li_wei, "budget", kinds=["file", "quiz"])).messages) == 2
    assert not (await search(li_wei, "budget", kinds=["image"])).messages


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
