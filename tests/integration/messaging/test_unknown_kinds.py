"""A kind of message that this version does not know is kept as it came, wherever it goes."""

import json

import grpc
import pytest

from fakes.eventually import eventually
from fakes.tokens import TestTokens
from integration.messaging.chat import TIMEOUT_S, Corp, Inbox
from integration.messaging.groups import refused
from integration.messaging.test_archive import Auditor
from integration.messaging.test_messages_changed import Messages
from tieline.api.messaging.v1 import messaging_pb2, messaging_service_pb2


@pytest.fixture
def messages(replica_channels: list[grpc.aio.Channel]) -> Messages:
    return Messages(replica_channels[0])


def unknown_kind(said: bytes) -> messaging_pb2.MessageContent:
    """Return what a newer client sends: field 40 of a content, a message of its own."""
    return messaging_pb2.MessageContent.FromString(b"\xc2\x02" + bytes([len(said)]) + said)


# A field of a text, and one of a number, of a message that nobody here has a description of.
CONTENT = unknown_kind(b"\x0a\x05hello\x10\x2a")


def received(inbox: Inbox, group: str) -> list[bytes]:
    return [message.content.SerializeToString() for message in inbox.messages(group)]


async def test_unknown_kind_is_passed_on_as_it_came_on_every_way(
    corp: Corp,
    messages: Messages,
    replica_channels: list[grpc.aio.Channel],
    tokens: TestTokens,
) -> None:
    li_wei, zhang_san = corp.member("li.wei"), corp.member("zhang.san", replica=1)
    group, other = [await li_wei.create_group("zhang.san") for _ in range(2)]
    request = messaging_service_pb2.SendMessageRequest(
        conversation_id=group, client_message_id="newer", content=CONTENT
    )
    raw = CONTENT.SerializeToString()

    async with zhang_san.subscribed() as live:
        sent, repeated = [
            (
                await li_wei.stub.SendMessage(request, metadata=li_wei.metadata, timeout=TIMEOUT_S)
            ).message
            for _ in range(2)
        ]
        await eventually(lambda: live.messages(group))
    async with zhang_san.subscribed({group: 0}) as caught_up:
        await eventually(lambda: caught_up.messages(group))
    listed = (await zhang_san.list_messages(group)).messages
    forwarded = await messages.call(
        li_wei,
        "ForwardMessages",
        group,
        sequences=[1],
        to_conversation_ids=[other],
        client_message_id="forward",
    )
    auditor = Auditor(
        replica_channels[0], tokens.member(corp.corp_id, "auditor", roles=("auditor",))
    )
    entries, _ = await auditor.read_all()
    exported = await auditor.export()

    assert len(raw) > 10
    assert sent.content.SerializeToString() == raw
    assert repeated == sent
    assert received(live, group) == received(caught_up, group) == [raw]
    assert [message.content.SerializeToString() for message in listed] == [raw]
    [copy] = [result.message.content for result in forwarded.results]
    assert copy.forwarded_from.sender == li_wei.ref
    copy.ClearField("forwarded_from")
    assert copy.SerializeToString() == raw
    assert entries[0].message.content.SerializeToString() == raw
    assert json.dumps(exported[0])
    request.content.CopyFrom(unknown_kind(b"\x0a\x05other\x10\x2a"))
    await refused(
        li_wei.stub.SendMessage(request, metadata=li_wei.metadata, timeout=TIMEOUT_S),
        "CLIENT_MESSAGE_ID_REUSED",
    )
