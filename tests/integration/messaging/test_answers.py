"""Quizzes and template cards are answered, and the answers told."""

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
import pytest

from fakes.eventually import eventually
from integration.messaging.chat import TIMEOUT_S, Corp, Person, new_id
from integration.messaging.groups import Groups, refused
from tieline.api.messaging.v1 import (
    message_content_pb2,
    message_service_pb2,
    message_service_pb2_grpc,
    messaging_pb2,
    messaging_service_pb2,
)
from tieline.chassis.fields import to_timestamp
from tieline.chassis.postgres import Pool, transaction

EVERYONE = message_content_pb2.ANSWER_VISIBILITY_EVERYONE
ANONYMOUS = message_content_pb2.ANSWER_VISIBILITY_ANONYMOUS


class Answers:
    """MessageService's answers at one replica."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: Any = message_service_pb2_grpc.MessageServiceStub(channel)

    async def answer(
        self, person: Person, group: str, *keys: str, sequence: int = 1, selection: str = ""
    ) -> None:
        choice = message_service_pb2.AnswerChoice(selection_key=selection, option_keys=keys)
        await self._stub.AnswerMessage(
            message_service_pb2.AnswerMessageRequest(
                corp_id=person.corp_id, conversation_id=group, sequence=sequence, choices=[choice]
            ),
            metadata=person.metadata,
            timeout=TIMEOUT_S,
        )

    async def get(
        self, person: Person, group: str, *, sequence: int = 1, **page: Any
    ) -> message_service_pb2.GetAnswersResponse:
        response = await self._stub.GetAnswers(
            message_service_pb2.GetAnswersRequest(
                corp_id=person.corp_id, conversation_id=group, sequence=sequence, **page
            ),
            metadata=person.metadata,
            timeout=TIMEOUT_S,
        )
        assert isinstance(response, message_service_pb2.GetAnswersResponse)
        return response

    async def recall(self, person: Person, group: str, sequence: int) -> None:
        await self._stub.RecallMessage(
            message_service_pb2.RecallMessageRequest(
                corp_id=person.corp_id, conversation_id=group, sequence=sequence
            ),
            metadata=person.metadata,
            timeout=TIMEOUT_S,
        )


@pytest.fixture(scope="session")
def answers(replica_channels: list[grpc.aio.Channel]) -> Answers:
    return Answers(replica_channels[0])


@pytest.fixture(scope="session")
def answers_elsewhere(replica_channels: list[grpc.aio.Channel]) -> Answers:
    return Answers(replica_channels[1])


def options(*keys: str) -> list[message_content_pb2.QuizOption]:
    return [message_content_pb2.QuizOption(key=key, text=key) for key in keys]


def quiz(**fields: Any) -> messaging_pb2.MessageContent:
    content = message_content_pb2.QuizContent(
        question="Where?", options=options("a", "b", "c"), **fields
    )
    return messaging_pb2.MessageContent(quiz=content)


async def ask(person: Person, group: str, content: messaging_pb2.MessageContent) -> int:
    response = await person.stub.SendMessage(
        messaging_service_pb2.SendMessageRequest(
            corp_id=person.corp_id,
            conversation_id=group,
            client_message_id=new_id(),
            content=content,
        ),
        metadata=person.metadata,
        timeout=TIMEOUT_S,
    )
    sequence: int = response.message.sequence
    return sequence


def counts(response: message_service_pb2.GetAnswersResponse) -> list[tuple[str, int]]:
    return [(each.option_key, each.count) for each in response.options]


def told(response: message_service_pb2.GetAnswersResponse) -> list[tuple[str, Sequence[str]]]:
    return [
        (each.participant.id, [key for choice in each.choices for key in choice.option_keys])
        for each in response.answers
    ]


async def close(pool: Pool, corp: Corp, group: str, asked: messaging_pb2.MessageContent) -> None:
    """Have the first message be this quiz, closed just now."""
    async with transaction(pool) as connection:
        asked.quiz.close_time.CopyFrom(to_timestamp(await connection.fetchval("SELECT now()")))
        await connection.execute(
            """
            UPDATE messaging.stored_messages SET content = $3
             WHERE corp_id = $1 AND conversation_id = $2 AND sequence = 1
            """,
            corp.corp_id,
            group,
            asked.SerializeToString(deterministic=True),
        )


async def test_answer_is_kept_told_and_uncounted(
    corp: Corp, answers: Answers, answers_elsewhere: Answers
) -> None:
    sender, reader = corp.member("li.wei"), corp.member("reader", replica=1)
    group = await sender.create_group("reader")
    await ask(sender, group, quiz(multiple=True, changeable=True))

    async with sender.subscribed() as inbox:
        for at in (answers, answers_elsewhere):
            await at.answer(reader, group, "c", "a")
        await answers.answer(reader, group, "a", "c")
        await answers.answer(reader, group, "b", "a")
        await eventually(lambda: len(inbox.messages(group)) == 2)

    notes = (await sender.list_messages(group)).messages[1:]
    assert [(each.sender, each.content.answer_note.sequence) for each in notes] == [
        (reader.ref, 1)
    ] * 2
    assert notes[-1].uncounted == 2
    for at in (answers, answers_elsewhere):
        seen = await at.get(sender, group)
        assert counts(seen) == [("a", 1), ("b", 1), ("c", 0)]
        assert (seen.people, told(seen)) == (1, [("reader", ["a", "b"])])
        assert not seen.own_choices
    own = await answers.get(reader, group)
    assert [list(each.option_keys) for each in own.own_choices] == [["a", "b"]]
    assert (own.people, told(own)) == (1, [])


async def test_answers_at_the_same_time_leave_one_of_each_person(
    corp: Corp, answers: Answers, answers_elsewhere: Answers
) -> None:
    people = [corp.member(f"m{number}") for number in range(4)]
    group = await people[0].create_group("m1", "m2", "m3")
    await ask(people[0], group, quiz())

    outcomes = await asyncio.gather(
        *(
            at.answer(person, group, key)
            for person in people
            for at in (answers, answers_elsewhere)
            for key in ("a", "b", "c")
        ),
        return_exceptions=True,
    )

    # Twice the same from each person, the other four are too late.
    refusals = [each for each in outcomes if isinstance(each, grpc.aio.AioRpcError)]
    assert len(refusals) == 4 * 4
    assert all("ALREADY_ANSWERED" in str(each.trailing_metadata()) for each in refusals)
    seen = await answers.get(people[0], group)
    assert (seen.people, sum(each.count for each in seen.options)) == (4, 4)
    assert [len(keys) for _, keys in told(seen)] == [1] * 4
    assert (await people[0].list_messages(group)).last_sequence == 1 + 4


async def test_nobody_is_told_who_gave_anonymous_answers(corp: Corp, answers: Answers) -> None:
    sender, reader = corp.member("li.wei"), corp.member("reader")
    group = await sender.create_group("reader")
    await ask(sender, group, quiz(answer_visibility=ANONYMOUS))

    await answers.answer(reader, group, "b")

    await refused(answers.answer(reader, group, "a"), "ALREADY_ANSWERED")
    assert (await sender.list_messages(group)).last_sequence == 1
    seen = await answers.get(sender, group)
    assert (counts(seen), seen.people, told(seen)) == ([("a", 0), ("b", 1), ("c", 0)], 1, [])


async def test_who_chose_what_is_told_to_everybody_page_by_page(
    corp: Corp, answers: Answers
) -> None:
    people = [corp.member(f"m{number}") for number in range(5)]
    group = await people[0].create_group(*(f"m{number}" for number in range(1, 5)))
    await ask(people[0], group, quiz(answer_visibility=EVERYONE))
    for person in people:
        await answers.answer(person, group, "a")

    pages: list[list[tuple[str, Sequence[str]]]] = []
    token = ""
    while not pages or token:
        page = await answers.get(people[4], group, page_size=2, page_token=token)
        pages.append(told(page))
        assert page.people == 5
        token = page.next_page_token

    assert pages == [
        [("m0", ["a"]), ("m1", ["a"])],
        [("m2", ["a"]), ("m3", ["a"])],
        [("m4", ["a"])],
    ]
    await refused(answers.get(people[4], group, page_token="x"), "PAGE_TOKEN_INVALID")
    await refused(answers.get(people[4], group, page_size=-1), "INVALID_FIELD")


async def test_closed_quiz_takes_nothing_but_the_answer_it_has(
    corp: Corp, answers: Answers, pool: Pool
) -> None:
    sender, reader = corp.member("li.wei"), corp.member("reader")
    group = await sender.create_group("reader")
    await ask(sender, group, quiz(changeable=True))
    await answers.answer(reader, group, "a")
    await close(pool, corp, group, quiz(changeable=True))

    await answers.answer(reader, group, "a")
    await refused(answers.answer(reader, group, "b"), "CLOSED")
    await refused(answers.answer(sender, group, "a"), "CLOSED")

    assert counts(await answers.get(sender, group)) == [("a", 1), ("b", 0), ("c", 0)]
    assert (await sender.list_messages(group)).last_sequence == 2


async def test_buttons_and_selections_of_cards_are_answered(corp: Corp, answers: Answers) -> None:
    sender, customer = corp.member("li.wei"), corp.member("zhang.san")
    group = await sender.create_group("zhang.san")
    card: dict[str, Any] = {"task_id": "t", "title": "Lunch"}
    button = message_content_pb2.TemplateCardButton(text="Yes", key="yes")
    pressed = message_content_pb2.TemplateCardContent(
        kind=message_content_pb2.TEMPLATE_CARD_KIND_BUTTON_INTERACTION, buttons=[button], **card
    )
    selection = message_content_pb2.TemplateCardSelection(key="dish", options=options("x", "y"))
    voted = message_content_pb2.TemplateCardContent(
        kind=message_content_pb2.TEMPLATE_CARD_KIND_VOTE_INTERACTION,
        selections=[selection],
        submit_text="Send",
        **card,
    )
    for content in (pressed, voted):
        await ask(sender, group, messaging_pb2.MessageContent(template_card=content))

    for _ in range(2):
        await answers.answer(customer, group, "yes")
        await answers.answer(customer, group, "y", sequence=2, selection="dish")

    assert counts(await answers.get(sender, group)) == [("yes", 1)]
    voted_for = await answers.get(sender, group, sequence=2)
    assert counts(voted_for) == [("x", 0), ("y", 1)]
    assert voted_for.answers[0].choices[0].selection_key == "dish"
    assert (await sender.list_messages(group)).last_sequence == 4


async def test_what_somebody_does_not_see_or_is_taken_back_is_not_answered(
    corp: Corp, answers: Answers, groups: Groups, pool: Pool
) -> None:
    sender, reader, newcomer = (corp.member(name) for name in ("li.wei", "reader", "newcomer"))
    group = await sender.create_group("reader")
    await ask(sender, group, quiz(changeable=True))
    await answers.answer(reader, group, "a")
    await groups.change(sender, group, history_visible=False, paths=["history_visible"])
    await groups.add(sender, group, "newcomer")
    await sender.send(group)
    reached = (await sender.list_messages(group)).last_sequence

    for call in (answers.answer(newcomer, group, "a"), answers.get(newcomer, group)):
        await refused(call, "MESSAGE_NOT_FOUND")
    outsider = corp.member("x")
    for call in (answers.answer(outsider, group, "a"), answers.get(outsider, group)):
        await refused(call, "CONVERSATION_NOT_FOUND")
    await refused(answers.answer(reader, group, "d"), "INVALID_FIELD")
    for sequence in (2, reached + 1):
        await refused(answers.answer(reader, group, "a", sequence=sequence), "MESSAGE_NOT_FOUND")
    for call in (
        answers.answer(reader, group, "a", sequence=reached),
        answers.get(reader, group, sequence=reached),
    ):
        await refused(call, "WRONG_MESSAGE_KIND")
    assert (await sender.list_messages(group)).last_sequence == reached

    await answers.recall(sender, group, 1)

    for call in (answers.answer(reader, group, "b"), answers.get(sender, group)):
        await refused(call, "MESSAGE_NOT_FOUND")
    async with pool.acquire() as connection:
        left = await connection.fetchval(
            "SELECT count(*) FROM messaging.answer_choices WHERE corp_id = $1", corp.corp_id
        )
    assert left == 0


async def test_answers_end_with_the_group(corp: Corp, answers: Answers, groups: Groups) -> None:
    sender, reader = corp.member("li.wei"), corp.member("reader")
    group = await sender.create_group("reader")
    await ask(sender, group, quiz())
    await groups.call(sender, "DismissConversation", conversation_id=group)

    await refused(answers.answer(reader, group, "a"), "CONVERSATION_DISMISSED")

    assert (await answers.get(reader, group)).people == 0
