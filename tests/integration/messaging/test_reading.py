"""What people have read, keep and do not want to be told of, at two replicas."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from nats.aio.client import Client

from fakes.eventually import eventually
from integration.messaging.chat import TIMEOUT_S, Corp, Inbox, Person, new_id, text
from integration.messaging.groups import Groups
from integration.messaging.unreliable import UnreliableBroker, receiving
from tieline.api.messaging.v1 import (
    live_signal_pb2,
    message_content_pb2,
    message_service_pb2,
    message_service_pb2_grpc,
    messaging_pb2,
    messaging_service_pb2,
    reading_pb2,
    reading_service_pb2,
    reading_service_pb2_grpc,
)
from tieline.chassis.postgres import Pool
from tieline.client.errors import TielineError
from tieline.messaging.conversations.rules import member
from tieline.messaging.live.subjects import build_person_subject
from tieline.messaging.live.subscribers import LiveHub


@dataclass(frozen=True)
class Reading:
    """The reading service as one person calls it."""

    stub: reading_service_pb2_grpc.ReadingServiceStub
    person: Person

    async def call(self, method: str, **fields: Any) -> Any:
        request_type = getattr(reading_service_pb2, f"{method}Request")
        request = request_type(corp_id=self.person.corp_id, **fields)
        return await getattr(self.stub, method)(
            request, metadata=self.person.metadata, timeout=TIMEOUT_S
        )

    async def mark(
        self, conversation_id: str, read: int, delivered: int = 0
    ) -> reading_pb2.ReadingState:
        response = await self.call(
            "MarkRead",
            conversation_id=conversation_id,
            read_sequence=read,
            delivered_sequence=delivered,
        )
        state: reading_pb2.ReadingState = response.state
        return state


As = Callable[[Person, int], Reading]


@pytest.fixture
def as_reader(replica_channels: list[grpc.aio.Channel]) -> As:
    return lambda person, replica: Reading(
        reading_service_pb2_grpc.ReadingServiceStub(replica_channels[replica]), person
    )


def states(inbox: Inbox) -> list[reading_pb2.ReadingState]:
    return [each.state for each in inbox.updates if each.HasField("state")]


async def overview(person: Person, conversation_id: str) -> reading_pb2.ConversationOverview:
    response = await person.list_conversations()
    [found] = [c for c in response.conversations if c.conversation_id == conversation_id]
    return found.overview


async def test_marks_are_told_to_ones_other_devices_and_to_nobody_else(
    corp: Corp, as_reader: As
) -> None:
    li_wei, phone = corp.member("li.wei"), corp.member("zhang.san", replica=1)
    group = await li_wei.create_group("zhang.san")
    for _ in range(3):
        await li_wei.send(group)
    async with phone.subscribed() as inbox, li_wei.subscribed() as of_other:
        state = await as_reader(phone, 0).mark(group, 2)
        await eventually(lambda: states(inbox))
        await as_reader(phone, 0).mark(group, 2)
        await as_reader(phone, 0).mark(group, 3)
        await eventually(lambda: len(states(inbox)) == 2)

    assert [(each.read_sequence, each.revision) for each in states(inbox)] == [(2, 1), (3, 2)]
    assert (state.read_sequence, state.delivered_sequence) == (2, 2)
    assert not states(of_other)


async def test_list_shows_unread_mentions_and_the_last_message(corp: Corp, as_reader: As) -> None:
    li_wei, zhang_san = corp.member("li.wei"), corp.member("zhang.san", replica=1)
    group = await li_wei.create_group("zhang.san", "wang.fang")
    await li_wei.send(group, "one")
    await _mention(li_wei, group, message_content_pb2.Mentions(participants=[zhang_san.ref]))
    await _mention(li_wei, group, message_content_pb2.Mentions(everyone=True))
    await _mention(
        li_wei, group, message_content_pb2.Mentions(participants=[corp.member("wang.fang").ref])
    )
    last = await li_wei.send(group, "the last\nof all")

    before = await overview(zhang_san, group)
    await as_reader(zhang_san, 0).mark(group, 2)
    after = await overview(zhang_san, group)
    got = (await zhang_san.get(group)).overview

    assert (before.unread_count, before.mention_count) == (5, 2)
    assert (after.unread_count, after.mention_count) == (3, 1)
    assert after.state.read_sequence == 2
    assert after.preview == reading_pb2.MessagePreview(
        sequence=5,
        sender=li_wei.ref,
        kind="text",
        text="the last of all",
        create_time=last.create_time,
    )
    assert got == after


async def test_an_edit_changes_who_is_mentioned_and_the_counts_follow(
    corp: Corp, replica_channels: list[grpc.aio.Channel]
) -> None:
    li_wei, zhang_san, wang_fang = (corp.member(id_) for id_ in ("li.wei", "zhang.san", "wang"))
    stub = message_service_pb2_grpc.MessageServiceStub(replica_channels[0])
    group = await li_wei.create_group("zhang.san", "wang")
    await _mention(li_wei, group, message_content_pb2.Mentions(participants=[zhang_san.ref]))

    async def edit_and_count(mentions: message_content_pb2.Mentions | None) -> list[int]:
        content = messaging_pb2.MessageContent(text=messaging_pb2.TextContent(text="look"))
        if mentions is not None:
            content.mentions.CopyFrom(mentions)
        for _ in range(2):
            await stub.EditMessage(
                message_service_pb2.EditMessageRequest(
                    conversation_id=group, sequence=1, content=content
                ),
                metadata=li_wei.metadata,
                timeout=TIMEOUT_S,
            )
        people = (zhang_san, wang_fang)
        return [(await overview(person, group)).mention_count for person in people]

    both = message_content_pb2.Mentions(participants=[wang_fang.ref, zhang_san.ref])
    assert await edit_and_count(both) == [1, 1]
    one = message_content_pb2.Mentions(participants=[wang_fang.ref])
    assert await edit_and_count(one) == [0, 1]
    assert await edit_and_count(message_content_pb2.Mentions(everyone=True)) == [1, 1]
    assert await edit_and_count(None) == [0, 0]


async def test_settings_and_draft_are_the_same_on_all_devices(corp: Corp, as_reader: As) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    reading = as_reader(li_wei, 1)
    async with li_wei.subscribed() as inbox:
        for _ in range(2):
            await reading.call("MuteConversation", conversation_id=group, muted=True)
            await reading.call("PinConversation", conversation_id=group, pinned=True)
            await reading.call(
                "SaveDraft", conversation_id=group, draft=reading_pb2.Draft(text="begun")
            )
        await eventually(lambda: len(states(inbox)) == 3)
    listed = await overview(li_wei, group)
    caught_up = await reading.call("ListReadingStates", after_revision=0)
    nothing = await reading.call("ListReadingStates", after_revision=3)

    state = listed.state
    assert (state.muted, state.HasField("pin_time"), state.draft.text) == (True, True, "begun")
    assert state.revision == 3
    assert list(caught_up.states) == [state]
    assert (caught_up.last_revision, caught_up.more) == (3, False)
    assert (list(nothing.states), nothing.last_revision) == ([], 3)


async def test_device_that_was_away_catches_up_on_the_states_behind_its_revision(
    corp: Corp, as_reader: As
) -> None:
    li_wei = corp.member("li.wei")
    groups = [await li_wei.create_group("zhang.san") for _ in range(3)]
    reading = as_reader(li_wei, 0)
    for group in groups:
        await reading.call("PinConversation", conversation_id=group, pinned=True)
    await reading.call("MuteConversation", conversation_id=groups[0], muted=True)

    request = messaging_service_pb2.SubscribeRequest(catch_up=True, state_revision=1)
    call = li_wei.stub.Subscribe(request, metadata=li_wei.metadata)
    updates = []
    async for update in call:
        updates.append(update)
        if update.HasField("caught_up"):
            break
    call.cancel()

    got = [each.state for each in updates if each.HasField("state")]
    assert [(each.conversation_id, each.revision) for each in got] == [
        (groups[1], 2),
        (groups[2], 3),
        (groups[0], 4),
    ]
    assert updates[0].started.state_revision == 4


async def test_state_that_nats_lost_is_read_from_the_database(
    corp: Corp, as_reader: As, pool: Pool, messaging_broker: Client
) -> None:
    li_wei = corp.member("li.wei")
    groups = [await li_wei.create_group("zhang.san") for _ in range(3)]
    reading = as_reader(li_wei, 0)
    broker = UnreliableBroker(messaging_broker)
    async with (
        LiveHub(pool, broker, compare_interval_s=3600) as hub,
        receiving(hub, corp, "li.wei") as inbox,
    ):
        broker.is_deaf = True
        await reading.call("PinConversation", conversation_id=groups[0], pinned=True)
        await eventually(lambda: broker.lost >= 1)
        broker.is_deaf = False
        # In the middle: the next one shows the gap. At the end: the comparison does.
        await reading.call("PinConversation", conversation_id=groups[1], pinned=True)
        await eventually(lambda: len(states(inbox)) == 2)
        broker.is_deaf = True
        await reading.call("PinConversation", conversation_id=groups[2], pinned=True)
        await eventually(lambda: broker.lost >= 2)
        broker.is_deaf = False
        broker.reconnects += 1
        await eventually(lambda: len(states(inbox)) == 3)

    assert [each.revision for each in states(inbox)] == [1, 2, 3]


async def test_marks_from_two_devices_at_once_leave_the_highest(corp: Corp, as_reader: As) -> None:
    li_wei = corp.member("li.wei")
    groups = [await li_wei.create_group("zhang.san") for _ in range(2)]
    for group in groups:
        for _ in range(20):
            await li_wei.send(group)

    await asyncio.gather(
        *(
            as_reader(li_wei, number % 2).mark(group, number)
            for number in range(1, 21)
            for group in groups
        )
    )

    for group in groups:
        assert (await overview(li_wei, group)).state.read_sequence == 20
        assert (await overview(li_wei, group)).unread_count == 0


async def test_what_one_device_has_read_counts_whatever_another_tells_at_once(
    corp: Corp, as_reader: As, replica_channels: list[grpc.aio.Channel]
) -> None:
    """A batch's marks and drafts have different numbers; what does not count differs with them."""
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    messages = message_service_pb2_grpc.MessageServiceStub(replica_channels[0])
    await _send_with_edits(messages, li_wei, group, edits=10)
    last = (await li_wei.send(group)).sequence
    one, other = as_reader(li_wei, 0), as_reader(li_wei, 0)
    draft = reading_pb2.Draft(text="later")

    # While the first commits the others wait for each other.
    await asyncio.gather(
        other.mark(group, 0, delivered=1),
        one.mark(group, last - 1),
        other.mark(group, 0, delivered=2),
        other.mark(group, 1),
        other.call("SaveDraft", conversation_id=group, draft=draft),
    )

    seen = await overview(li_wei, group)
    assert (seen.state.read_sequence, seen.unread_count) == (last - 1, 1)


async def _send_with_edits(
    messages: message_service_pb2_grpc.MessageServiceStub, person: Person, group: str, *, edits: int
) -> None:
    sent = await person.send(group)
    for number in range(edits):
        request = message_service_pb2.EditMessageRequest(
            corp_id=person.corp_id,
            conversation_id=group,
            sequence=sent.sequence,
            content=text(f"edited {number}"),
        )
        await messages.EditMessage(request, metadata=person.metadata, timeout=TIMEOUT_S)


async def test_sender_learns_who_has_read_a_message_and_who_has_not(
    corp: Corp, as_reader: As
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("a", "b", "c", "d")
    sent = await li_wei.send(group)
    await as_reader(corp.member("b"), 0).mark(group, sent.sequence)
    await as_reader(corp.member("c"), 1).mark(group, 0, delivered=sent.sequence)

    first = await _list_readers(as_reader(li_wei, 0), group, page_size=3)
    second = await _list_readers(
        as_reader(li_wei, 1), group, page_size=3, page_token=first.next_page_token
    )
    unread = await _list_readers(
        as_reader(li_wei, 0), group, filter=reading_service_pb2.READER_FILTER_UNREAD
    )

    everybody = [*first.readers, *second.readers]
    assert [(each.participant.id, each.read, each.delivered) for each in everybody] == [
        ("a", False, False),
        ("b", True, True),
        ("c", False, True),
        ("d", False, False),
    ]
    assert not second.next_page_token
    assert [each.participant.id for each in unread.readers] == ["a", "c", "d"]
    assert (unread.read_count, unread.unread_count) == (1, 3)


async def test_who_has_read_is_told_to_the_sender_alone(corp: Corp, as_reader: As) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    await li_wei.send(group)

    for person, sequence, reason in (
        ("zhang.san", 1, "NOT_THE_SENDER"),
        ("li.wei", 2, "MESSAGE_NOT_FOUND"),
        ("stranger", 1, "CONVERSATION_NOT_FOUND"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await _list_readers(as_reader(corp.member(person), 0), group, sequence=sequence)
        assert TielineError.from_rpc_error(caught.value).reason == reason


async def test_who_looks_at_a_conversation_hears_of_the_others_there(
    corp: Corp, as_reader: As
) -> None:
    li_wei, zhang_san = corp.member("li.wei"), corp.member("zhang.san", replica=1)
    group = await li_wei.create_group("zhang.san")
    await li_wei.send(group)
    async with li_wei.subscribed() as one, zhang_san.subscribed() as other:
        shown = await _look(as_reader(li_wei, 1), one, group)
        await _look(as_reader(zhang_san, 0), other, group)
        await eventually(lambda: _present(one, zhang_san) and _present(other, li_wei))
        await as_reader(zhang_san, 0).call("ShowTyping", conversation_id=group)
        await as_reader(zhang_san, 1).mark(group, 1)
        await eventually(lambda: _kinds(one) >= {"typing", "receipt"})
        await _look(as_reader(zhang_san, 0), other, "")
        await eventually(lambda: not _present(one, zhang_san))

    [receipt] = [each.receipt for each in one.updates if each.HasField("receipt")]
    assert (receipt.reader, receipt.read_sequence) == (zhang_san.ref, 1)
    assert shown
    # Of oneself one hears nothing.
    assert not _kinds(other) & {"typing", "receipt"}


async def test_who_is_taken_out_of_a_conversation_sees_and_shows_nothing_there_any_more(
    corp: Corp, as_reader: As, groups: Groups, messaging_broker: Client
) -> None:
    """A look went on for up to a minute, and one that came behind the removal began anew."""
    li_wei, zhang_san = corp.member("li.wei"), corp.member("zhang.san", replica=1)
    stays = corp.member("wang.wu", replica=1)
    group = await li_wei.create_group("zhang.san", "wang.wu")
    async with li_wei.subscribed() as one, zhang_san.subscribed() as gone, stays.subscribed() as by:
        for person, inbox in ((li_wei, one), (zhang_san, gone), (stays, by)):
            await _look(as_reader(person, 0), inbox, group)
        await eventually(lambda: _present(one, zhang_san) and _present(gone, li_wei))
        await groups.remove(li_wei, group, "zhang.san")
        await eventually(lambda: gone.left == [group] and not _present(one, zhang_san))

        look = live_signal_pb2.Look(
            subscription_id=gone.updates[0].started.subscription_id, conversation_id=group
        )
        late = live_signal_pb2.PersonSignal(look=look).SerializeToString()
        subject = build_person_subject((corp.corp_id, member("zhang.san")))
        await messaging_broker.publish(subject, late)
        await eventually(lambda: _present(one, zhang_san))
        known = len(gone.updates)
        await as_reader(li_wei, 0).call("ShowTyping", conversation_id=group)
        # From the same replica as to who was taken out.
        await eventually(lambda: "typing" in _kinds(by))
        assert gone.updates[known:] == []
        assert "typing" not in _kinds(gone)


async def test_signs_of_life_are_off_in_large_conversations(corp: Corp, as_reader: As) -> None:
    li_wei = corp.member("li.wei")
    large = await li_wei.create_group(*(f"user{number}" for number in range(100)))
    async with li_wei.subscribed() as inbox:
        assert not await _look(as_reader(li_wei, 0), inbox, large)
        assert not (await as_reader(li_wei, 0).call("ShowTyping", conversation_id=large)).shown


@pytest.mark.parametrize(
    ("method", "fields", "reason"),
    [
        ("MarkRead", {"read_sequence": 2}, "INVALID_FIELD"),
        ("MarkRead", {"read_sequence": -1}, "INVALID_FIELD"),
        ("SaveDraft", {"draft": reading_pb2.Draft(text="x" * 8193)}, "INVALID_FIELD"),
        ("LookAt", {"subscription_id": ""}, "INVALID_FIELD"),
        ("LookAt", {"subscription_id": "x" * 65}, "INVALID_FIELD"),
    ],
)
async def test_bad_input_is_refused_and_changes_nothing(
    corp: Corp, as_reader: As, method: str, fields: dict[str, Any], reason: str
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    await li_wei.send(group)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await as_reader(li_wei, 0).call(method, conversation_id=group, **fields)

    assert TielineError.from_rpc_error(caught.value).reason == reason
    assert (await overview(li_wei, group)).state.revision == 0


async def _mention(person: Person, group: str, mentions: message_content_pb2.Mentions) -> None:
    content = messaging_pb2.MessageContent(
        text=messaging_pb2.TextContent(text="you"), mentions=mentions
    )
    await person.stub.SendMessage(
        messaging_service_pb2.SendMessageRequest(
            conversation_id=group, client_message_id=new_id(), content=content
        ),
        metadata=person.metadata,
        timeout=TIMEOUT_S,
    )


async def _list_readers(
    reading: Reading, group: str, **fields: Any
) -> reading_service_pb2.ListReadersResponse:
    response: reading_service_pb2.ListReadersResponse = await reading.call(
        "ListReaders", conversation_id=group, **{"sequence": 1, **fields}
    )
    return response


async def _look(reading: Reading, inbox: Inbox, conversation_id: str) -> bool:
    response = await reading.call(
        "LookAt",
        subscription_id=inbox.updates[0].started.subscription_id,
        conversation_id=conversation_id,
    )
    return bool(response.shown)


def _present(inbox: Inbox, person: Person) -> bool:
    told = [
        each.presence.looking
        for each in inbox.updates
        if each.HasField("presence") and each.presence.participant == person.ref
    ]
    return bool(told) and told[-1]


def _kinds(inbox: Inbox) -> set[str]:
    return {str(each.WhichOneof("update")) for each in inbox.updates}
