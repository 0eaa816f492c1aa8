"""What an app sends itself goes to whom it reaches, and no faster than what its jobs send."""

from collections.abc import AsyncIterator, Callable, Sequence

import grpc
import pytest
from google.rpc import code_pb2

from fakes.app_ranges import FakeAppRanges
from fakes.eventually import eventually
from fakes.members import FakeMembers
from fakes.tokens import TestTokens
from integration.messaging.chat import TIMEOUT_S, Corp, Person, new_id, text
from integration.messaging.groups import Groups, refused
from integration.messaging.test_app_messages import SENT, App, build_app
from tieline.api.common.v1 import principal_pb2
from tieline.api.messaging.v1 import (
    message_service_pb2,
    message_service_pb2_grpc,
    messaging_pb2,
    messaging_service_pb2,
)
from tieline.messaging.app_messages.rules import MAX_PER_MINUTE

AGENT_ID = 1000002

BuildAgent = Callable[..., Person]
Messages = message_service_pb2_grpc.MessageServiceStub


@pytest.fixture
def build_agent(corp: Corp, tokens: TestTokens) -> BuildAgent:
    def build(
        agent_id: int = AGENT_ID, *, rights: Sequence[str] = ("send_app_messages",)
    ) -> Person:
        token = tokens.app(corp.corp_id, str(agent_id), rights=rights)
        return Person(
            corp.member("li").stub,
            corp.corp_id,
            principal_pb2.PRINCIPAL_KIND_APP,
            str(agent_id),
            (("authorization", f"Bearer {token}"),),
        )

    return build


@pytest.fixture
def messages(
    replica_channels: list[grpc.aio.Channel],
) -> Messages:
    return message_service_pb2_grpc.MessageServiceStub(replica_channels[0])


async def _open(groups: Groups, agent: Person, user_id: str) -> str:
    opened = await groups.call(agent, "OpenAppConversation", user_id=user_id)
    conversation_id: str = opened.conversation.conversation_id
    return conversation_id


def _outgoing(*conversation_ids: str) -> list[messaging_pb2.OutgoingMessage]:
    return [
        messaging_pb2.OutgoingMessage(
            conversation_id=each, client_message_id=new_id(), content=text("news")
        )
        for each in conversation_ids
    ]


async def _send_batch(agent: Person, *conversation_ids: str) -> list[str]:
    """Send one message to each in a batch; return each one's reason, empty for one that is sent."""
    response = await agent.stub.BatchSendMessages(
        messaging_service_pb2.BatchSendMessagesRequest(messages=_outgoing(*conversation_ids)),
        metadata=agent.metadata,
        timeout=TIMEOUT_S,
    )
    return [each.error.reason for each in response.results]


async def _send_stream(agent: Person, *conversation_ids: str) -> list[str]:
    """The same on a stream."""

    async def requests() -> AsyncIterator[messaging_service_pb2.SendMessagesRequest]:
        yield messaging_service_pb2.SendMessagesRequest(messages=_outgoing(*conversation_ids))

    reasons: list[str] = []
    stream = agent.stub.SendMessages(requests(), metadata=agent.metadata, timeout=TIMEOUT_S)
    async for response in stream:
        reasons += [each.error.reason for each in response.results]
    return reasons


async def _forward(messages: Messages, agent: Person, source: str, target: str) -> list[str]:
    response = await messages.ForwardMessages(
        message_service_pb2.ForwardMessagesRequest(
            conversation_id=source,
            sequences=[1],
            to_conversation_ids=[target],
            client_message_id=new_id(),
        ),
        metadata=agent.metadata,
        timeout=TIMEOUT_S,
    )
    return [each.error.reason for each in response.results]


async def _edit(messages: Messages, agent: Person, conversation_id: str) -> None:
    await messages.EditMessage(
        message_service_pb2.EditMessageRequest(
            conversation_id=conversation_id, sequence=1, content=text("other news")
        ),
        metadata=agent.metadata,
        timeout=TIMEOUT_S,
    )


async def test_an_app_without_the_right_writes_to_nobody(
    build_agent: BuildAgent,
    groups: Groups,
    messages: Messages,
) -> None:
    agent = build_agent()
    conversation = await _open(groups, agent, "li")
    await agent.send(conversation)
    without = build_agent(rights=["read_directory"])

    await refused(_open(groups, without, "li"), "CALLER_NOT_ALLOWED")
    await refused(without.send(conversation), "CALLER_NOT_ALLOWED")
    await refused(_edit(messages, without, conversation), "CALLER_NOT_ALLOWED")

    assert await _send_batch(without, conversation) == ["CALLER_NOT_ALLOWED"]
    assert await _send_stream(without, conversation) == ["CALLER_NOT_ALLOWED"]
    assert await _forward(messages, without, conversation, conversation) == ["CALLER_NOT_ALLOWED"]
    assert (await agent.get(conversation)).last_sequence == 1


async def test_who_is_outside_of_the_range_can_not_be_told_from_nobody(
    build_agent: BuildAgent, corp: Corp, groups: Groups, members: FakeMembers
) -> None:
    members.out_of_range.add((corp.corp_id, str(AGENT_ID), "wu"))

    await refused(_open(groups, build_agent(), "wu"), "USER_NOT_FOUND")
    await _open(groups, build_agent(1000003), "wu")

    listed = await corp.member("wu").list_conversations()
    assert len(listed.conversations) == 1


async def test_who_left_the_range_is_written_to_no_more_and_nobody_in_a_disabled_apps_name(
    build_agent: BuildAgent,
    corp: Corp,
    groups: Groups,
    members: FakeMembers,
    app_ranges: FakeAppRanges,
    messages: Messages,
) -> None:
    agent, other = build_agent(), build_agent(1000003)
    to_li, to_wu = await _open(groups, agent, "li"), await _open(groups, agent, "wu")
    of_other = await _open(groups, other, "li")
    for sender, conversation in ((agent, to_li), (agent, to_wu), (other, of_other)):
        await sender.send(conversation)
    members.out_of_range.add((corp.corp_id, str(AGENT_ID), "wu"))
    app_ranges.disabled.add((corp.corp_id, 1000003))

    async def is_felt() -> bool:
        return await _send_batch(agent, to_wu) == ["RECIPIENT_OUT_OF_RANGE"]

    async def is_disabled_felt() -> bool:
        return await _send_batch(other, of_other) == ["APP_DISABLED"]

    # What was found out before holds for some seconds.
    await eventually(is_felt)
    await eventually(is_disabled_felt)
    last = (await agent.get(to_wu)).last_sequence
    await refused(agent.send(to_wu), "RECIPIENT_OUT_OF_RANGE")
    await refused(_edit(messages, agent, to_wu), "RECIPIENT_OUT_OF_RANGE")
    assert await _send_batch(agent, to_li, to_wu) == ["", "RECIPIENT_OUT_OF_RANGE"]
    assert await _send_stream(agent, to_wu, to_li) == ["RECIPIENT_OUT_OF_RANGE", ""]
    assert await _forward(messages, agent, to_li, to_wu) == ["RECIPIENT_OUT_OF_RANGE"]
    assert (await agent.get(to_wu)).last_sequence == last
    assert (await agent.get(to_li)).last_sequence == 3


async def test_what_an_app_may_is_asked_once_for_many_messages(
    build_agent: BuildAgent, corp: Corp, groups: Groups, app_ranges: FakeAppRanges
) -> None:
    agent = build_agent()
    conversation = await _open(groups, agent, "li")
    asked = app_ranges.asked

    for _ in range(3):
        assert await _send_batch(agent, *[conversation] * 3) == [""] * 3

    # Twice where the answer was no more to be trusted meanwhile.
    assert app_ranges.asked <= asked + 2


async def test_an_app_is_told_that_the_directory_is_away_and_its_stream_goes_on(
    build_agent: BuildAgent, corp: Corp, groups: Groups, members: FakeMembers
) -> None:
    agent = build_agent()
    conversation = await _open(groups, agent, "li")
    members.away_corp_ids.add(corp.corp_id)

    await refused(agent.send(conversation), "SERVICE_UNAVAILABLE")
    assert await _send_stream(agent, conversation, "nowhere") == [
        "SERVICE_UNAVAILABLE",
        "CONVERSATION_NOT_FOUND",
    ]

    members.away_corp_ids.remove(corp.corp_id)
    assert await _send_stream(agent, conversation) == [""]


async def test_a_member_gets_so_many_messages_of_an_app_however_they_are_sent(
    build_agent: BuildAgent,
    corp: Corp,
    groups: Groups,
    replica_channels: list[grpc.aio.Channel],
    tokens: TestTokens,
) -> None:
    agent = build_agent()
    jobs: App = build_app(corp, replica_channels[0], tokens)
    to_li, to_wu = await _open(groups, agent, "li"), await _open(groups, agent, "wu")
    await jobs.reach((await jobs.send("li")).job.job_id, SENT)
    first = await agent.send(to_li, client_message_id="first")
    reasons = await _send_batch(agent, *[to_li] * MAX_PER_MINUTE, to_wu)

    # One of the job, one that was sent alone, 28 of the batch.
    assert reasons == [""] * 28 + ["RECIPIENT_RATE_EXCEEDED"] * 2 + [""]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await agent.send(to_li)
    assert caught.value.code().value[0] == code_pb2.RESOURCE_EXHAUSTED
    assert "RetryInfo" in str(caught.value.trailing_metadata())
    assert await agent.send(to_li, client_message_id="first") == first
    job = await jobs.reach((await jobs.send("li", "wu")).job.job_id, SENT)
    assert await jobs.list_failed(job.job_id) == [("li", "RECIPIENT_RATE_EXCEEDED")]
    assert (await agent.get(to_li)).last_sequence == MAX_PER_MINUTE
    # Another app's messages are its own.
    other = build_agent(1000003)
    await other.send(await _open(groups, other, "li"))
