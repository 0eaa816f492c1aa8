"""Edits, recalls, reactions, pins, forwards, replies and mentions."""

import asyncio
import secrets
from typing import Any

import grpc
import pytest
from nats.aio.client import Client

from fakes.eventually import eventually
from integration.messaging.chat import TIMEOUT_S, Corp, Person, new_id, text
from integration.messaging.groups import MEMBER, Groups, refused
from tieline.api.messaging.v1 import (
    message_content_pb2,
    message_service_pb2,
    message_service_pb2_grpc,
    messaging_pb2,
    messaging_service_pb2,
)
from tieline.chassis.postgres import Pool, transaction
from tieline.messaging.conversations.opening import Opening
from tieline.messaging.conversations.rules import ConversationKind, customer, member
from tieline.messaging.live.announcer import Announcer


class Messages:
    """MessageService at one replica."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = message_service_pb2_grpc.MessageServiceStub(channel)

    async def call(self, person: Person, method: str, group: str, **fields: Any) -> Any:
        request = getattr(message_service_pb2, f"{method}Request")(
            corp_id=person.corp_id, conversation_id=group, **fields
        )
        return await getattr(self._stub, method)(
            request, metadata=person.metadata, timeout=TIMEOUT_S
        )

    async def edit(self, person: Person, group: str, sequence: int, said: str) -> Any:
        response = await self.call(
            person, "EditMessage", group, sequence=sequence, content=text(said)
        )
        return response.message

    async def recall(self, person: Person, group: str, sequence: int) -> Any:
        return (await self.call(person, "RecallMessage", group, sequence=sequence)).message

    async def react(self, person: Person, group: str, sequence: int, reaction: str) -> None:
        await self.call(person, "SetReaction", group, sequence=sequence, reaction=reaction)


@pytest.fixture(scope="session")
def messages(replica_channels: list[grpc.aio.Channel]) -> Messages:
    return Messages(replica_channels[0])


async def send_content(
    person: Person, group: str, content: messaging_pb2.MessageContent
) -> messaging_pb2.Message:
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
    return response.message


def reply(said: str, sequence: int, quote: str = "") -> messaging_pb2.MessageContent:
    content = text(said)
    content.reply_to.CopyFrom(message_content_pb2.ReplyTo(sequence=sequence, quote=quote))
    return content


def mention(said: str, *people: Person) -> messaging_pb2.MessageContent:
    content = text(said)
    content.mentions.participants.extend(person.ref for person in people)
    return content


async def make_old(pool: Pool, corp: Corp, group: str, sequence: int) -> None:
    async with transaction(pool) as connection:
        await connection.execute(
            """
            UPDATE messaging.stored_messages SET create_time = create_time - interval '24 hours'
             WHERE corp_id = $1 AND conversation_id = $2 AND sequence = $3
            """,
            corp.corp_id,
            group,
            sequence,
        )


async def test_edited_message_says_something_else_and_keeps_what_it_said(
    corp: Corp, messages: Messages
) -> None:
    li_wei, reader = corp.member("li.wei"), corp.member("reader", replica=1)
    group = await li_wei.create_group("reader")
    first = await li_wei.send(group, "one", client_message_id="m1")

    async with reader.subscribed() as inbox:
        await messages.edit(li_wei, group, 1, "two")
        edited = await messages.edit(li_wei, group, 1, "three")
        again = await messages.edit(li_wei, group, 1, "three")
        await eventually(lambda: len(inbox.messages(group)) == 2)

    assert again == edited
    assert edited.content == text("three")
    assert edited.HasField("edit_time")
    assert (edited.sequence, edited.create_time) == (1, first.create_time)
    listed = (await reader.list_messages(group)).messages
    assert listed[0] == edited
    told = [each.content.edit_note for each in listed[1:]]
    assert [messaging_pb2.MessageContent.FromString(each.content) for each in told] == [
        text("two"),
        text("three"),
    ]
    assert list(listed[1:]) == inbox.messages(group)
    assert listed[-1].uncounted == 2
    past = await messages.call(reader, "ListEdits", group, sequence=1)
    assert [each.content for each in past.contents] == [text("one"), text("two")]
    # What was sent first is still recognised.
    assert (await li_wei.send(group, "one", client_message_id="m1")).sequence == 1
    with pytest.raises(grpc.aio.AioRpcError):
        await li_wei.send(group, "three", client_message_id="m1")


async def test_edit_tells_nothing_of_a_message_to_who_came_behind_it_and_does_not_see_it(
    corp: Corp, messages: Messages, groups: Groups
) -> None:
    """Live beside somebody who sees it, in ranges, catching up one by one and in batches."""
    li_wei, newcomer, earlier = (corp.member(id_) for id_ in ("li.wei", "wang.wu", "zhang.san"))
    group = await li_wei.create_group("zhang.san")
    await li_wei.send(group, "one")
    await groups.change(li_wei, group, history_visible=False, paths=["history_visible"])
    await groups.add(li_wei, group, "wang.wu")
    seen = await newcomer.send(group, "mine")

    async with newcomer.subscribed() as new, earlier.subscribed() as old:
        await messages.edit(li_wei, group, 1, "secret")
        await messages.edit(newcomer, group, seen.sequence, "ours")
        await eventually(lambda: len(new.messages(group)) == len(old.messages(group)) == 2)
    held = {group: seen.sequence}
    async with newcomer.subscribed(held) as one, newcomer.subscribed(held, batches=True) as many:
        await eventually(lambda: one.is_caught_up and many.is_caught_up)
    listed = (await newcomer.list_messages(group, after=seen.sequence)).messages
    [batch] = [each.messages.messages for each in many.updates if each.HasField("messages")]

    assert [edit_in(each) for each in old.messages(group)] == [text("secret"), text("ours")]
    for told in (new.messages(group), one.messages(group), batch, listed):
        assert [edit_in(each) for each in told] == [messaging_pb2.MessageContent(), text("ours")]
        assert [each.content.edit_note.sequence for each in told] == [1, seen.sequence]


def edit_in(note: messaging_pb2.Message) -> messaging_pb2.MessageContent:
    return messaging_pb2.MessageContent.FromString(note.content.edit_note.content)


async def test_only_its_sender_edits_a_message_and_not_too_late(
    corp: Corp, messages: Messages, pool: Pool
) -> None:
    owner, sender = corp.member("li.wei"), corp.member("zhang.san")
    group = await owner.create_group("zhang.san")
    await sender.send(group)
    await owner.send(group)

    await refused(messages.edit(owner, group, 1, "other"), "ROLE_NOT_SUFFICIENT")
    await refused(messages.edit(sender, group, 7, "other"), "MESSAGE_NOT_FOUND")
    await refused(messages.edit(sender, group, -1, "other"), "MESSAGE_NOT_FOUND")
    await refused(messages.edit(corp.member("x"), group, 1, "other"), "CONVERSATION_NOT_FOUND")
    await refused(messages.edit(sender, group, 1, ""), "INVALID_FIELD")
    await make_old(pool, corp, group, 1)
    await refused(messages.edit(sender, group, 1, "other"), "TOO_LATE")
    await refused(messages.recall(owner, group, 1), "TOO_LATE")
    assert (await owner.list_messages(group)).last_sequence == 2


async def test_twenty_first_edit_is_one_too_many(corp: Corp, messages: Messages) -> None:
    sender = corp.member("li.wei")
    group = await sender.create_group("zhang.san")
    await sender.send(group)
    for turn in range(20):
        await messages.edit(sender, group, 1, f"turn {turn}")

    await refused(messages.edit(sender, group, 1, "one more"), "LIMIT_REACHED")
    assert (await messages.edit(sender, group, 1, "turn 19")).content == text("turn 19")


async def test_recalled_message_is_empty_and_its_edits_too(corp: Corp, messages: Messages) -> None:
    sender = corp.member("li.wei")
    group = await sender.create_group("zhang.san")
    await sender.send(group, "secret", client_message_id="m1")
    await messages.edit(sender, group, 1, "still secret")
    await messages.react(sender, group, 1, "👍")
    await messages.call(sender, "SetPin", group, sequence=1)

    recalled = [await messages.recall(sender, group, 1) for _ in range(2)]

    assert recalled[0] == recalled[1]
    assert recalled[0].HasField("recall_time")
    listed = (await corp.member("zhang.san").list_messages(group)).messages
    assert b"secret" not in b"".join(each.SerializeToString() for each in listed)
    assert [each.content.WhichOneof("kind") for each in listed] == [
        None,
        "edit_note",
        "reaction_note",
        "pin_note",
        "recall_note",
    ]
    assert not (await messages.call(sender, "ListPins", group)).messages
    for call in (
        messages.edit(sender, group, 1, "again"),
        messages.react(sender, group, 1, "👍"),
        messages.call(sender, "SetPin", group, sequence=1),
        messages.call(sender, "ListEdits", group, sequence=1),
        messages.recall(sender, group, 5),
    ):
        await refused(call, "MESSAGE_NOT_FOUND")
    assert await sender.send(group, "secret", client_message_id="m1") == recalled[0]
    for other in ("still secret", "something else"):
        again = sender.send(group, other, client_message_id="m1")
        await refused(again, "CLIENT_MESSAGE_ID_REUSED")


async def test_owner_and_administrators_recall_what_others_said(
    corp: Corp, messages: Messages, groups: Groups
) -> None:
    owner, admin, plain = (corp.member(name) for name in ("li.wei", "admin", "plain"))
    group = await owner.create_group("admin", "plain")
    await groups.set_role(owner, group, "admin")
    for person in (owner, plain):
        await person.send(group)
    direct = await owner.create_direct("plain")
    await plain.send(direct)

    await refused(messages.recall(plain, group, 2), "ROLE_NOT_SUFFICIENT")
    await refused(messages.recall(owner, direct, 1), "ROLE_NOT_SUFFICIENT")
    assert (await messages.recall(admin, group, 3)).HasField("recall_time")


async def test_reactions_are_counted_once_each_and_bounded(corp: Corp, messages: Messages) -> None:
    one, other = corp.member("li.wei"), corp.member("zhang.san")
    group = await one.create_group("zhang.san")
    await one.send(group)

    await asyncio.gather(*(messages.react(p, group, 1, "👍") for p in (one, other, one, other)))
    for reaction in ("a", "b", "c", "d"):
        await messages.react(one, group, 1, reaction)
    await refused(messages.react(one, group, 1, "e"), "LIMIT_REACHED")
    for _ in range(2):
        await messages.call(other, "SetReaction", group, sequence=1, reaction="👍", removed=True)

    listed = (await messages.call(other, "ListReactions", group, sequence=1)).reactions
    assert [(each.reaction, each.count, each.own) for each in listed] == [
        ("👍", 1, False),
        *((reaction, 1, False) for reaction in "abcd"),
    ]
    assert list(listed[0].participants) == [one.ref]
    notes = (await one.list_messages(group)).messages[1:]
    assert len(notes) == 7
    for wrong in ("", "a b", "x" * 33, "a\0"):
        await refused(messages.react(one, group, 1, wrong), "INVALID_FIELD")
    await refused(messages.react(one, group, 2, "👍"), "MESSAGE_NOT_FOUND")


async def test_pins_are_listed_and_bounded(corp: Corp, messages: Messages) -> None:
    owner, plain = corp.member("li.wei"), corp.member("plain")
    group = await owner.create_group("plain")
    sent = [await owner.send(group) for _ in range(51)]
    await refused(messages.call(plain, "SetPin", group, sequence=1), "ROLE_NOT_SUFFICIENT")
    for message in sent[:50]:
        await messages.call(owner, "SetPin", group, sequence=message.sequence)

    await refused(messages.call(owner, "SetPin", group, sequence=51), "LIMIT_REACHED")
    for _ in range(2):
        await messages.call(owner, "SetPin", group, sequence=50, removed=True)
    listed = (await messages.call(plain, "ListPins", group)).messages
    assert [each.sequence for each in listed] == list(range(49, 0, -1))


async def test_reply_quotes_a_message_of_the_same_conversation_that_its_sender_sees(
    corp: Corp, messages: Messages, groups: Groups
) -> None:
    owner = corp.member("li.wei")
    group, other = [await owner.create_group("plain") for _ in range(2)]
    await owner.send(group, "shall we meet at nine?")
    await groups.change(owner, group, history_visible=False, paths=["history_visible"])
    await groups.add(owner, group, "newcomer")
    await owner.send(group, "gone soon")
    await messages.recall(owner, group, 4)

    answer = await send_content(corp.member("plain"), group, reply("yes", 1, "at nine"))

    assert answer.content.reply_to.sequence == 1
    for person, content in (
        (owner, reply("yes", 1, "at ten")),
        (owner, reply("yes", 99)),
        (owner, reply("yes", 2)),
        (owner, reply("yes", 4)),
        (corp.member("newcomer"), reply("yes", 1)),
    ):
        await refused(send_content(person, group, content), "MESSAGE_NOT_FOUND")
    await refused(send_content(owner, other, reply("yes", 1)), "MESSAGE_NOT_FOUND")
    assert (await owner.list_messages(other)).last_sequence == 0


async def test_mentioned_people_are_in_the_conversation_and_neighbours_are_unharmed(
    corp: Corp, messages: Messages
) -> None:
    owner, plain, stranger = (corp.member(name) for name in ("li.wei", "plain", "stranger"))
    group = await owner.create_group("plain")

    outcomes = await asyncio.gather(
        *(
            send_content(owner, group, content)
            for _ in range(10)
            for content in (mention("hi", plain), mention("hi", stranger), text("hi"))
        ),
        return_exceptions=True,
    )

    wrong = [each for each in outcomes if isinstance(each, grpc.aio.AioRpcError)]
    assert len(wrong) == 10
    assert all("MENTIONED_NOT_FOUND" in str(each.trailing_metadata()) for each in wrong)
    assert (await owner.list_messages(group)).last_sequence == 20
    first = (await owner.list_messages(group)).messages[0]
    await refused(
        messages.call(
            owner,
            "EditMessage",
            group,
            sequence=first.sequence,
            content=mention("hi", stranger),
        ),
        "MENTIONED_NOT_FOUND",
    )


def notice(said: str) -> messaging_pb2.MessageContent:
    content = message_content_pb2.NoticeContent(title="Outing", text=said)
    return messaging_pb2.MessageContent(notice=content)


async def test_notices_are_from_who_leads_the_group_however_they_are_sent(
    corp: Corp, messages: Messages, groups: Groups
) -> None:
    owner, plain = corp.member("li.wei"), corp.member("plain")
    group = await owner.create_group("plain", "wang.fang")
    direct = await plain.create_direct("li.wei")
    await refused(send_content(plain, group, notice("now")), "ROLE_NOT_SUFFICIENT")
    await refused(send_content(owner, direct, notice("now")), "WRONG_CONVERSATION_KIND")
    await send_content(owner, group, notice("now"))

    forward = {"sequences": [1], "to_conversation_ids": [group], "client_message_id": "f1"}
    forwarded = await messages.call(plain, "ForwardMessages", group, **forward)
    await groups.set_role(owner, group, "plain")
    await send_content(plain, group, notice("an administrator's"))
    await groups.set_role(owner, group, "plain", MEMBER)

    assert [each.error.reason for each in forwarded.results] == ["ROLE_NOT_SUFFICIENT"]
    said = [
        each for each in (await plain.list_messages(group)).messages if each.content.notice.text
    ]
    assert [each.content.notice.text for each in said] == ["now", "an administrator's"]
    sequence = said[-1].sequence
    await refused(
        messages.call(plain, "EditMessage", group, sequence=sequence, content=notice("no longer")),
        "ROLE_NOT_SUFFICIENT",
    )
    assert (await plain.list_messages(direct)).last_sequence == 0


async def test_customers_give_no_notices_and_mention_everyone_in_groups_alone(
    corp: Corp, messages: Messages, pool: Pool, messaging_broker: Client
) -> None:
    guest, host = corp.customer("wm" + secrets.token_hex(12)), corp.member("li.wei")
    key = (corp.corp_id, "wr" + secrets.token_hex(12))
    async with transaction(pool) as connection:
        opening = Opening(connection, Announcer(pool, messaging_broker))
        await opening.open_group(key, ConversationKind.CUSTOMER_GROUP, "Spring", member(host.id))
        await opening.let_in(key, customer(guest.id))
        direct = await opening.open_direct(corp.corp_id, (member(host.id), customer(guest.id)))
    everyone = mention("all of you")
    everyone.mentions.everyone = True
    before = (await host.get(key[1])).last_sequence
    await send_content(guest, direct, text("hello"))

    await refused(send_content(guest, key[1], notice("now")), "ROLE_NOT_SUFFICIENT")
    await refused(send_content(guest, direct, everyone), "WRONG_CONVERSATION_KIND")
    await refused(
        messages.call(guest, "EditMessage", direct, sequence=1, content=everyone),
        "WRONG_CONVERSATION_KIND",
    )
    await send_content(guest, key[1], everyone)
    await send_content(host, key[1], notice("now"))

    assert (await host.get(key[1])).last_sequence == before + 2
    assert (await host.get(direct)).last_sequence == 1


async def test_forwarded_messages_say_who_said_them_first(corp: Corp, messages: Messages) -> None:
    owner, plain = corp.member("li.wei"), corp.member("plain")
    group, one, two = [await owner.create_group("plain") for _ in range(3)]
    said = [await plain.send(group, "first"), await owner.send(group, "second")]
    await send_content(owner, group, mention("third", plain))
    elsewhere = await corp.member("x").create_group("y")
    fields = {
        "sequences": [3, 1],
        "to_conversation_ids": [one, elsewhere, two],
        "client_message_id": "f1",
    }

    first = await messages.call(owner, "ForwardMessages", group, **fields)
    results = (await messages.call(owner, "ForwardMessages", group, **fields)).results

    assert list(results) == list(first.results)
    assert [each.HasField("message") for each in results] == [True] * 2 + [False] * 2 + [True] * 2
    assert results[2].error.reason == "CONVERSATION_NOT_FOUND"
    listed = (await plain.list_messages(one)).messages
    assert [each.content.text.text for each in listed] == ["first", "third"]
    assert listed[0].sender == owner.ref
    assert listed[0].content.forwarded_from.sender == plain.ref
    assert listed[0].content.forwarded_from.create_time == said[0].create_time
    assert not listed[1].content.HasField("mentions")


async def test_merged_forward_is_one_card(corp: Corp, messages: Messages) -> None:
    owner, plain = corp.member("li.wei"), corp.member("plain")
    group, target = [await owner.create_group("plain") for _ in range(2)]
    for person in (owner, plain):
        await person.send(group, "hello")
    fields = {
        "sequences": [1, 2],
        "to_conversation_ids": [target],
        "client_message_id": "f1",
        "merged": True,
        "title": "What we said",
    }

    [result] = (await messages.call(owner, "ForwardMessages", group, **fields)).results

    card = result.message.content.merged_forward
    assert card.title == "What we said"
    assert [each.origin.sender for each in card.messages] == [owner.ref, plain.ref]
    assert [each.content for each in card.messages] == [text("hello")] * 2
    again = {**fields, "sequences": [1]}
    await refused(messages.call(owner, "ForwardMessages", target, **again), "WRONG_MESSAGE_KIND")
    wrongs: list[dict[str, Any]] = [
        {"sequences": []},
        {"sequences": [1, 1]},
        {"to_conversation_ids": []},
        {"title": ""},
        {"client_message_id": "x" * 49},
    ]
    for wrong in wrongs:
        await refused(
            messages.call(owner, "ForwardMessages", group, **{**fields, **wrong}), "INVALID_FIELD"
        )


async def test_nobody_forwards_what_he_does_not_see(
    corp: Corp, messages: Messages, groups: Groups
) -> None:
    owner, newcomer = corp.member("li.wei"), corp.member("newcomer")
    group = await owner.create_group("plain")
    await owner.send(group, "among ourselves")
    await groups.change(owner, group, history_visible=False, paths=["history_visible"])
    await groups.add(owner, group, "newcomer")
    own = await newcomer.create_group("plain")
    fields = {"to_conversation_ids": [own], "client_message_id": "f1"}

    for sequence in (1, 2, 99, 0):
        await refused(
            messages.call(newcomer, "ForwardMessages", group, sequences=[sequence], **fields),
            "MESSAGE_NOT_FOUND",
        )
    await refused(
        messages.call(corp.member("x"), "ForwardMessages", group, sequences=[1], **fields),
        "CONVERSATION_NOT_FOUND",
    )
