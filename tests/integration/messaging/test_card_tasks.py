"""A task id names one card of an app: whoever sends another under it is told so."""

import asyncio
import datetime as dt
from collections.abc import Awaitable
from typing import Any

import grpc
import pytest

from fakes.tokens import TestTokens
from integration.messaging.chat import TIMEOUT_S, Corp, Person, new_id, text
from integration.messaging.groups import Groups, refused
from integration.messaging.test_app_messages import App, build_app
from integration.messaging.test_app_sends import BuildAgent, build_agent
from integration.messaging.test_card_updates import Answer, answer, card, content, shown
from integration.messaging.test_card_updates import send_card as send_job_card
from integration.messaging.test_messages_changed import Messages, messages
from tieline.api.messaging.v1 import messaging_pb2, messaging_service_pb2
from tieline.chassis.postgres import Pool
from tieline.messaging.upkeep import TASK_ID_WINDOW, keep_up

__all__ = ["answer", "build_agent", "messages"]

Send = messaging_pb2.OutgoingMessage


@pytest.fixture
def agent(build_agent: BuildAgent) -> Person:
    """An app as it sends into its conversations."""
    return build_agent()


@pytest.fixture
def app(corp: Corp, replica_channels: list[grpc.aio.Channel], tokens: TestTokens) -> App:
    """The same app as it sends to many."""
    return build_app(corp, replica_channels[0], tokens)


async def open_with(groups: Groups, agent: Person, user_id: str) -> str:
    """Return the app's conversation with a member."""
    opened = await groups.call(agent, "OpenAppConversation", user_id=user_id)
    conversation_id: str = opened.conversation.conversation_id
    return conversation_id


async def send_card(
    sender: Person, conversation_id: str, client_message_id: str = ""
) -> messaging_pb2.Message:
    """Send a card of task-1."""
    response = await sender.stub.SendMessage(
        messaging_service_pb2.SendMessageRequest(
            corp_id=sender.corp_id,
            conversation_id=conversation_id,
            client_message_id=client_message_id or new_id(),
            content=content(),
        ),
        metadata=sender.metadata,
        timeout=TIMEOUT_S,
    )
    return response.message


async def test_second_card_of_a_task_id_is_refused_and_a_repeat_is_the_first(
    groups: Groups, agent: Person
) -> None:
    """Whoever it is for; another app has task ids of its own."""
    li, wu = [await open_with(groups, agent, user_id) for user_id in ("li", "wu")]
    repeated = new_id()
    first = await send_card(agent, li, repeated)

    await refused(send_card(agent, li), "TASK_ID_USED")
    await refused(send_card(agent, wu), "TASK_ID_USED")

    assert await send_card(agent, li, repeated) == first
    assert (await agent.list_messages(li)).last_sequence == 1
    assert (await agent.list_messages(wu)).last_sequence == 0


async def test_other_apps_and_members_have_task_ids_of_their_own(
    groups: Groups, agent: Person, build_agent: BuildAgent, corp: Corp
) -> None:
    other, member = build_agent(1000003), corp.member("li")
    await send_card(agent, await open_with(groups, agent, "li"))

    await send_card(other, await open_with(groups, other, "li"))

    group = await member.create_group("wu")
    for _ in range(2):
        await send_card(member, group)


async def test_jobs_and_single_messages_share_their_apps_task_ids(
    groups: Groups, agent: Person, app: App
) -> None:
    """A job claims it once for all whom it reaches; what was refused has claimed nothing."""
    request_id = new_id()
    await refused(app.send(content=content()), "INVALID_FIELD")
    job = (await app.send("li", "wu", content=content(), request_id=request_id)).job

    repeat = await app.send("li", "wu", content=content(), request_id=request_id)
    await refused(app.send("li", content=content()), "TASK_ID_USED")
    await refused(send_card(agent, await open_with(groups, agent, "li")), "TASK_ID_USED")

    assert repeat.job.job_id == job.job_id


async def test_of_cards_that_are_sent_at_once_one_has_the_task_id(
    groups: Groups, agent: Person, app: App
) -> None:
    """In one batch and in several, and beside a job."""
    places = [await open_with(groups, agent, f"user{number}") for number in range(4)]
    batch = messaging_service_pb2.BatchSendMessagesRequest(
        messages=[
            Send(conversation_id=place, client_message_id=new_id(), content=said)
            for place in places
            for said in (content(), text("and"))
        ]
    )
    sent = agent.stub.BatchSendMessages(batch, metadata=agent.metadata, timeout=TIMEOUT_S)
    outcomes = await asyncio.gather(
        app.send("li", content=content()),
        *(send_card(agent, place) for place in places),
        return_exceptions=True,
    )
    reasons = [each.error.reason for each in (await sent).results]

    assert set(reasons[1::2]) == {""}
    assert set(reasons[::2]) <= {"", "TASK_ID_USED"}
    refusals = [each for each in outcomes if isinstance(each, grpc.aio.AioRpcError)]
    assert {each.code() for each in refusals} == {grpc.StatusCode.ALREADY_EXISTS}
    assert len(outcomes) - len(refusals) + reasons[::2].count("") == 1


async def test_update_that_brings_another_task_id_takes_it_for_good(
    app: App, answer: Answer
) -> None:
    """The card's own is no other one; a repeat is the first answer."""
    await send_job_card(app, "li", changeable=True)
    same, other = card("Same", changeable=True), card("Other", "a")
    other.task_id = "task-2"
    code = (await answer("li", "yes")).response_code
    await app.call("UpdateCard", request_id=new_id(), response_code=code, card=same)
    code = (await answer("li", "no")).response_code
    update = {"request_id": new_id(), "response_code": code, "card": other}

    first = await app.call("UpdateCard", **update)
    repeat = await app.call("UpdateCard", **update)

    assert first == repeat
    assert first.message.content.template_card == other
    for task_id in ("task-1", "task-2"):
        used = content()
        used.template_card.task_id = task_id
        await refused(app.send("wu", content=used), "TASK_ID_USED")


async def test_update_that_brings_a_used_task_id_is_refused_and_leaves_its_code_good(
    app: App, answer: Answer
) -> None:
    """For one member and for everybody, in turn and at once."""
    used = content()
    used.template_card.task_id = "used"
    await app.send("other", content=used)
    _, of_job = await send_job_card(app, "li", "wu")
    of_li, of_wu = [(await answer(each, "yes")).response_code for each in ("li", "wu")]

    def update(code: str, task_id: str) -> Awaitable[Any]:
        changed = card("Changed", "yes", "no")
        changed.task_id = task_id
        return app.call("UpdateCard", request_id=new_id(), response_code=code, card=changed)

    for code in (of_li, of_job):
        await refused(update(code, "used"), "TASK_ID_USED")
    assert [await shown(app, each) for each in ("li", "wu")] == ["Leave?", "Leave?"]
    outcomes = await asyncio.gather(
        *(update(code, "task-2") for code in (of_li, of_wu)), return_exceptions=True
    )

    [refusal] = [each for each in outcomes if isinstance(each, grpc.aio.AioRpcError)]
    assert refusal.code() is grpc.StatusCode.ALREADY_EXISTS
    await refused(update(of_job, "task-2"), "TASK_ID_USED")
    await update((of_li, of_wu)[outcomes.index(refusal)], "free-1")
    await update(of_job, "free-2")


async def test_card_that_is_passed_on_by_its_app_is_another_card_and_by_people_is_theirs(
    groups: Groups,
    agent: Person,
    corp: Corp,
    messages: Messages,
) -> None:
    """An app can't have the same card answered twice by forwarding it."""
    member = corp.member("li")
    to_li, to_wu = [await open_with(groups, agent, user_id) for user_id in ("li", "wu")]
    await send_card(agent, to_li)
    group = await member.create_group("wu")

    async def forward(sender: Person, target: str) -> str:
        fields = {"sequences": [1], "to_conversation_ids": [target], "client_message_id": new_id()}
        [result] = (await messages.call(sender, "ForwardMessages", to_li, **fields)).results
        reason: str = result.error.reason
        return reason

    reasons = [await forward(agent, to_wu), *[await forward(member, group) for _ in range(2)]]

    assert reasons == ["TASK_ID_USED", "", ""]
    assert (await agent.list_messages(to_wu)).last_sequence == 0


async def test_task_id_is_good_again_after_its_time_and_not_before(
    groups: Groups, agent: Person, build_agent: BuildAgent, pool: Pool
) -> None:
    """Otherwise the ids of all cards would be kept for as long as the corp."""
    other = build_agent(1000003)
    margin = dt.timedelta(minutes=5)
    for sender, age in ((agent, TASK_ID_WINDOW + margin), (other, TASK_ID_WINDOW - margin)):
        await send_card(sender, await open_with(groups, sender, "li"))
        async with pool.acquire() as connection:
            await connection.execute(
                "UPDATE messaging.card_tasks SET create_time = now() - $3::interval"
                " WHERE corp_id = $1 AND app_id = $2",
                sender.corp_id,
                sender.id,
                age,
            )

    await keep_up(pool)

    await send_card(agent, await open_with(groups, agent, "li"))
    await refused(send_card(other, await open_with(groups, other, "li")), "TASK_ID_USED")
