"""Notes in a conversation's log, and what people who come see of it."""

import asyncio

from nats.aio.client import Client

from fakes.eventually import eventually
from integration.messaging.chat import Corp
from integration.messaging.unreliable import UnreliableBroker, receiving
from tieline.api.messaging.v1 import conversation_note_pb2, messaging_pb2
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.messaging.conversations.log import ConversationLog, Note
from tieline.messaging.conversations.notes import build_participants_note
from tieline.messaging.conversations.opening import Opening
from tieline.messaging.conversations.rules import ConversationKind, Participant, customer, member
from tieline.messaging.live.announcer import Announcer
from tieline.messaging.live.subscribers import LiveHub

LI_WEI = member("li.wei")
PINNED = messaging_pb2.MessageContent(pin_note=conversation_note_pb2.PinNote(sequence=1))


def removed(*participants: Participant) -> messaging_pb2.MessageContent:
    return build_participants_note(conversation_note_pb2.PARTICIPANTS_CHANGE_REMOVED, participants)


async def test_notes_are_numbered_with_the_messages_and_some_do_not_count(
    corp: Corp, pool: Pool, messaging_broker: Client
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    key = (corp.corp_id, group)
    await li_wei.send(group)

    async with transaction(pool) as connection, Announcer(pool, messaging_broker) as announcer:
        log = ConversationLog(connection, announcer)
        counters = await log.lock([key])
        await log.append([Note(key, LI_WEI, PINNED), Note(key, LI_WEI, PINNED)], counters)
    last = await li_wei.send(group)

    listed = (await li_wei.list_messages(group)).messages
    assert [(each.sequence, each.uncounted) for each in listed] == [(1, 0), (2, 1), (3, 2), (4, 2)]
    assert [each.content for each in listed[1:3]] == [PINNED] * 2
    assert listed[1].sender == li_wei.ref
    assert last == listed[3]
    conversation = await li_wei.get(group)
    assert (conversation.last_sequence, conversation.uncounted) == (4, 2)


async def test_notes_and_sends_at_the_same_time_are_numbered_without_gaps(
    corp: Corp, pool: Pool, messaging_broker: Client
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    key = (corp.corp_id, group)
    announcer = Announcer(pool, messaging_broker)

    async def pin() -> None:
        async with transaction(pool) as connection:
            await ConversationLog(connection, announcer).append([Note(key, LI_WEI, PINNED)])

    async with announcer, li_wei.subscribed() as inbox:
        await asyncio.gather(
            *(act() for _ in range(20) for act in (pin, lambda: li_wei.send(group)))
        )
        await eventually(lambda: len(inbox.messages(group)) == 40)

    listed = (await li_wei.list_messages(group)).messages
    assert [each.sequence for each in listed] == list(range(1, 41))
    assert listed[-1].uncounted == 20
    assert inbox.messages(group) == list(listed)


async def test_rolled_back_note_is_neither_stored_nor_told(
    corp: Corp, pool: Pool, messaging_broker: Client
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    announcer = Announcer(pool, messaging_broker)

    async with announcer, li_wei.subscribed() as inbox:
        try:
            async with transaction(pool) as connection:
                note = Note((corp.corp_id, group), LI_WEI, PINNED)
                await ConversationLog(connection, announcer).append([note])
                raise RuntimeError
        except RuntimeError:
            pass
        sent = await li_wei.send(group)
        await eventually(lambda: inbox.messages(group))

    assert inbox.messages(group) == [sent]
    assert sent.sequence == 1


async def test_who_comes_into_a_customer_group_does_not_see_what_was_said_before(
    corp: Corp, pool: Pool, messaging_broker: Client
) -> None:
    group = "wr0123456789"
    key = (corp.corp_id, group)
    li_wei, guest = corp.member("li.wei"), corp.customer("wm1")
    announcer = Announcer(pool, messaging_broker)
    async with transaction(pool) as connection:
        opening = Opening(connection, announcer)
        await opening.open_group(key, ConversationKind.CUSTOMER_GROUP, "Spring", LI_WEI)
    await li_wei.send(group, "among ourselves")

    async with announcer, guest.subscribed() as inbox:
        async with transaction(pool) as connection:
            assert await Opening(connection, announcer).let_in(key, customer("wm1"))
        await eventually(lambda: inbox.joined)
    await li_wei.send(group, "welcome")

    listed = await guest.list_messages(group)
    assert [each.sequence for each in listed.messages] == [2, 3]
    note = listed.messages[0].content.participants_note
    assert note.change == conversation_note_pb2.PARTICIPANTS_CHANGE_JOINED
    assert list(note.participants) == [guest.ref]
    assert (await guest.get(group)).visible_from_sequence == 1
    assert inbox.joined[0].visible_from_sequence == 1
    assert [each.sequence for each in (await li_wei.list_messages(group)).messages] == [1, 2, 3]


async def _take_out(connection: Connection, key: tuple[str, str], participant: Participant) -> None:
    await connection.execute(
        """
        DELETE FROM messaging.participants
         WHERE corp_id = $1 AND conversation_id = $2 AND kind = $3 AND id = $4
        """,
        *key,
        *participant,
    )


async def test_nothing_behind_the_note_of_a_removal_is_delivered_to_who_was_removed(
    corp: Corp, pool: Pool, messaging_broker: Client
) -> None:
    li_wei, reader = corp.member("li.wei"), member("reader")
    group = await li_wei.create_group("reader", "other")
    key = (corp.corp_id, group)
    announcer = Announcer(pool, messaging_broker)
    broker = UnreliableBroker(messaging_broker)
    async with (
        announcer,
        LiveHub(pool, broker, compare_interval_s=3600) as hub,
        receiving(hub, corp, "reader") as inbox,
        receiving(hub, corp, "other") as other,
    ):
        await li_wei.send(group, "before")
        await eventually(lambda: inbox.messages(group))
        # The note itself is lost on the way: the next message makes it be fetched first.
        broker.is_deaf = True
        async with transaction(pool) as connection:
            log = ConversationLog(connection, announcer)
            await log.lock([key])
            await _take_out(connection, key, reader)
            await log.append([Note(key, LI_WEI, removed(reader))])
        await eventually(lambda: broker.lost == 1)
        broker.is_deaf = False
        await li_wei.send(group, "after")
        await eventually(lambda: len(other.messages(group)) == 3)

    assert inbox.sequences(group) == [1, 2]
    assert inbox.left == [group]
    assert not other.left
