"""Cards of apps: answers give codes, and each code updates once."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from fakes.eventually import eventually
from fakes.tokens import TestTokens
from integration.messaging.chat import TIMEOUT_S, Corp, new_id
from integration.messaging.groups import refused
from integration.messaging.test_app_messages import AGENT_ID, RECALLED, SENT, App, build_app
from tieline.api.messaging.v1 import (
    app_message_service_pb2,
    message_content_pb2,
    message_service_pb2,
    message_service_pb2_grpc,
    messaging_pb2,
)
from tieline.chassis.postgres import Pool
from tieline.messaging.app_messages.card_responses import CARD_ANSWERED

Answer = Callable[..., Any]


def card(title: str = "Leave?", *keys: str, **fields: Any) -> Any:
    buttons = [
        message_content_pb2.TemplateCardButton(text=key, key=key) for key in keys or ("yes", "no")
    ]
    return message_content_pb2.TemplateCardContent(
        kind=message_content_pb2.TEMPLATE_CARD_KIND_BUTTON_INTERACTION,
        task_id="task-1",
        title=title,
        buttons=buttons,
        **fields,
    )


def content(*given: Any, **fields: Any) -> messaging_pb2.MessageContent:
    return messaging_pb2.MessageContent(template_card=card(*given, **fields))


@pytest.fixture
def app(corp: Corp, replica_channels: list[grpc.aio.Channel], tokens: TestTokens) -> App:
    return build_app(corp, replica_channels[0], tokens)


@pytest.fixture
def answer(app: App, replica_channels: list[grpc.aio.Channel]) -> Answer:
    """Have a member press a button of the first message that an app sent; return the code."""
    stub: Any = message_service_pb2_grpc.MessageServiceStub(replica_channels[1])

    async def press(user_id: str, key: str) -> app_message_service_pb2.CardResponse:
        person = app.corp.member(user_id)
        [message, *_] = await app.read(user_id)
        await stub.AnswerMessage(
            message_service_pb2.AnswerMessageRequest(
                conversation_id=message.conversation_id,
                sequence=message.sequence,
                choices=[message_service_pb2.AnswerChoice(option_keys=[key])],
            ),
            metadata=person.metadata,
            timeout=TIMEOUT_S,
        )
        listed = (await app.call("ListCardResponses")).responses
        [response] = [each for each in listed if each.user_id == user_id]
        assert isinstance(response, app_message_service_pb2.CardResponse)
        return response

    return press


async def send_card(app: App, *user_ids: str, **fields: Any) -> tuple[str, str]:
    """Return the job and its code, once everybody has the card."""
    response = await app.send(*user_ids, content=content(**fields))
    await app.reach(response.job.job_id, SENT)
    return response.job.job_id, response.response_code


async def shown(app: App, user_id: str) -> str:
    [message, *_] = await app.read(user_id)
    return message.content.template_card.title


async def test_an_answer_gives_a_code_that_updates_that_members_card_once(
    app: App, answer: Answer
) -> None:
    await send_card(app, "li", "wu")

    response = await answer("li", "yes")
    request_id = new_id()
    update = {"response_code": response.response_code, "card": card("Granted", "yes", "no")}
    first, repeat = await asyncio.gather(
        *(app.call("UpdateCard", request_id=request_id, **update) for _ in range(2))
    )

    assert (response.task_id, response.choices[0].option_keys) == ("task-1", ["yes"])
    assert response.expire_time.seconds - response.create_time.seconds == 72 * 3600
    assert first == repeat
    assert first.message.content.template_card.title == "Granted"
    assert [await shown(app, user_id) for user_id in ("li", "wu")] == ["Granted", "Leave?"]
    assert not (await app.call("ListCardResponses")).responses
    await refused(app.call("UpdateCard", request_id=new_id(), **update), "RESPONSE_CODE_NOT_FOUND")


async def test_what_is_pressed_in_a_cards_menu_is_told_to_its_app_beside_the_answer(
    app: App, answer: Answer, replica_channels: list[grpc.aio.Channel]
) -> None:
    stub: Any = message_service_pb2_grpc.MessageServiceStub(replica_channels[0])
    menu = [message_content_pb2.TemplateCardButton(text=key, key=key) for key in ("mute", "help")]
    await send_card(app, "li", menu=menu)
    [message] = await app.read("li")
    reader = app.corp.member("li")

    def press(menu_key: str, request_id: str, **more: Any) -> Any:
        request = message_service_pb2.AnswerMessageRequest(
            conversation_id=message.conversation_id,
            sequence=more.pop("sequence", message.sequence),
            menu_key=menu_key,
            request_id=request_id,
            **more,
        )
        return stub.AnswerMessage(request, metadata=reader.metadata, timeout=TIMEOUT_S)

    async def told() -> list[tuple[str, list[str], str]]:
        listed = (await app.call("ListCardResponses")).responses
        return [
            (each.menu_key, [key for choice in each.choices for key in choice.option_keys],
             each.response_code)
            for each in listed
        ]  # fmt: skip

    answered = await answer("li", "yes")
    request_id = new_id()
    await asyncio.gather(press("help", request_id), press("help", request_id))
    [of_answer, of_press] = await told()
    await press("help", new_id())
    [_, again] = await told()

    assert of_answer == ("", ["yes"], answered.response_code)
    assert of_press[:2] == again[:2] == ("help", [])
    assert of_press[2] != again[2]
    await refused(press("yes", new_id()), "INVALID_FIELD")
    await refused(press("help", "no uuid"), "INVALID_FIELD")
    await refused(press("mute", request_id), "REQUEST_ID_REUSED")
    choice = message_service_pb2.AnswerChoice(option_keys=["yes"])
    await refused(press("help", new_id(), choices=[choice]), "INVALID_FIELD")
    own = await reader.send(await reader.create_direct("wu"))
    await refused(
        stub.AnswerMessage(
            message_service_pb2.AnswerMessageRequest(
                conversation_id=own.conversation_id,
                sequence=own.sequence,
                menu_key="help",
                request_id=new_id(),
            ),
            metadata=reader.metadata,
            timeout=TIMEOUT_S,
        ),
        "WRONG_MESSAGE_KIND",
    )
    assert await told() == [of_answer, again]
    await app.call(
        "UpdateCard", request_id=new_id(), response_code=again[2], card=card("Muted", "yes", "no")
    )
    assert await shown(app, "li") == "Muted"


async def test_an_answer_is_told_by_an_event_with_its_code(
    app: App, answer: Answer, messaging_broker: Client
) -> None:
    told: list[app_message_service_pb2.CardAnswered] = []

    async def note(message: Msg) -> None:
        event = app_message_service_pb2.CardAnswered.FromString(message.data)
        if event.corp_id == app.corp.corp_id:
            told.append(event)

    subscription = await messaging_broker.subscribe(CARD_ANSWERED, cb=note)
    await messaging_broker.flush()
    await send_card(app, "li")
    response = await answer("li", "yes")
    await answer("li", "yes")
    await eventually(lambda: told)
    await subscription.unsubscribe()

    assert [(each.app.id, each.response) for each in told] == [(str(AGENT_ID), response)]


async def test_the_code_of_a_job_updates_everybodys_card_once(app: App) -> None:
    job_id, code = await send_card(app, "li", "wu")

    update = {"response_code": code, "card": card("Over", "yes")}
    outcomes = await asyncio.gather(
        *(app.call("UpdateCard", request_id=new_id(), **update) for _ in range(2)),
        return_exceptions=True,
    )
    job = await app.reach(job_id, SENT)

    [refusal] = [each for each in outcomes if isinstance(each, grpc.aio.AioRpcError)]
    assert "RESPONSE_CODE_NOT_FOUND" in str(refusal.trailing_metadata())
    assert job.content.template_card.title == "Over"
    assert [await shown(app, user_id) for user_id in ("li", "wu")] == ["Over", "Over"]


async def test_the_code_of_an_answer_updates_everybody_where_the_app_says_so(
    app: App, answer: Answer
) -> None:
    job_id, _ = await send_card(app, "li", "wu")

    response = await answer("li", "no")
    await app.call(
        "UpdateCard",
        request_id=new_id(),
        response_code=response.response_code,
        card=card("Taken"),
        everybody=True,
    )
    await app.reach(job_id, SENT)

    assert [await shown(app, user_id) for user_id in ("li", "wu")] == ["Taken", "Taken"]


async def test_a_code_is_good_for_its_app_in_its_corp_within_72_hours(
    app: App,
    new_corp: Callable[[], Corp],
    replica_channels: list[grpc.aio.Channel],
    tokens: TestTokens,
    pool: Pool,
    answer: Answer,
) -> None:
    await send_card(app, "li")
    response = await answer("li", "yes")
    update = {"response_code": response.response_code, "card": card("Mine")}

    for other in (
        build_app(app.corp, replica_channels[0], tokens, agent_id=1000003),
        build_app(new_corp(), replica_channels[0], tokens),
    ):
        await refused(
            other.call("UpdateCard", request_id=new_id(), **update), "RESPONSE_CODE_NOT_FOUND"
        )
        assert not (await other.call("ListCardResponses")).responses
    async with pool.acquire() as connection:
        await connection.execute(
            """
            UPDATE messaging.card_response_codes
               SET create_time = create_time - interval '72 hours'
             WHERE corp_id = $1
            """,
            app.corp.corp_id,
        )
    await refused(app.call("UpdateCard", request_id=new_id(), **update), "RESPONSE_CODE_NOT_FOUND")
    assert not (await app.call("ListCardResponses")).responses
    assert await shown(app, "li") == "Leave?"


async def test_a_refused_update_leaves_the_code_good(app: App, answer: Answer) -> None:
    await send_card(app, "li")
    code = (await answer("li", "yes")).response_code

    await refused(
        app.call("UpdateCard", request_id=new_id(), response_code=code, card=card("")), "card.title"
    )
    await app.call("UpdateCard", request_id=new_id(), response_code=code, card=card("Good"))

    assert await shown(app, "li") == "Good"


async def test_another_answer_has_another_code_and_a_new_question_forgets_the_answers(
    app: App, answer: Answer
) -> None:
    await send_card(app, "li", changeable=True)
    first = await answer("li", "yes")
    second = await answer("li", "no")

    update = {"request_id": new_id(), "card": card("Which?", "a", "b")}
    await refused(
        app.call("UpdateCard", response_code=first.response_code, **update),
        "RESPONSE_CODE_NOT_FOUND",
    )
    await app.call("UpdateCard", response_code=second.response_code, **update)
    third = await answer("li", "a")

    assert third.choices[0].option_keys == ["a"]


async def test_cards_that_are_recalled_are_updated_no_more(app: App, answer: Answer) -> None:
    job_id, code = await send_card(app, "li")
    answered = (await answer("li", "yes")).response_code
    await app.call("RecallAppMessage", job_id=job_id)
    await app.reach(job_id, RECALLED)

    for each in (code, answered):
        await refused(
            app.call("UpdateCard", request_id=new_id(), response_code=each, card=card("Back")),
            "MESSAGE_NOT_FOUND",
        )
    assert await shown(app, "li") == ""
