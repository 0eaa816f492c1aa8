"""What one statement stores, with no locks before it, it stores only if nothing has changed."""

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable

import pytest
from nats.aio.client import Client

from fakes.eventually import eventually
from integration.messaging.chat import Corp, text
from tieline.api.messaging.v1 import messaging_pb2
from tieline.chassis.errors import ServiceError
from tieline.chassis.postgres import Connection, Pool, statements, transaction
from tieline.messaging.compliance.sensitive_words import Screening
from tieline.messaging.conversations.rules import member
from tieline.messaging.live.announcer import Announcer
from tieline.messaging.live.subjects import build_conversation_subject
from tieline.messaging.messages.rules import Send, StoredMessage
from tieline.messaging.repositories.messages import MessageRepository
from tieline.messaging.repositories.send_look_ups import SendLookUps
from tieline.messaging.sending.batches import Sender
from tieline.messaging.sending.numbering import ConversationKey

CONTENT = text("hello").SerializeToString()
LI_WEI = member("li.wei")
NOW = dt.datetime(2026, 2, 17, 9, 0, tzinfo=dt.UTC)

Outcomes = list[messaging_pb2.Message | ServiceError]


@pytest.fixture
async def key(corp: Corp) -> ConversationKey:
    return corp.corp_id, await corp.member("li.wei").create_group("zhang.san")


def send(key: ConversationKey, client_message_id: str, sender: str = "li.wei") -> Send:
    return Send(*key, member(sender), client_message_id, CONTENT)


async def attempt(sender: Sender, pool: Pool, *sends: Send) -> Outcomes | None:
    async with statements(pool) as connection:
        outcomes = await sender.attempt(connection, sends)
    return None if outcomes is None else list(outcomes)


async def rows_of(pool: Pool, corp_id: str) -> tuple[int, ...]:
    """Return how much of the corp's there is in each table that a message is written to."""
    async with pool.acquire() as connection:
        row = await connection.fetchrow(
            """
            SELECT (SELECT count(*) FROM messaging.stored_messages WHERE corp_id = $1),
                   (SELECT count(*) FROM messaging.recent_sends WHERE corp_id = $1),
                   (SELECT coalesce(sum(last_sequence), 0)::bigint
                      FROM messaging.conversations WHERE corp_id = $1)
            """,
            corp_id,
        )
    assert row is not None, "an aggregate has a row"
    return tuple(row)


async def test_plain_messages_are_stored_and_told_as_in_a_transaction(
    corp: Corp, key: ConversationKey, pool: Pool, messaging_broker: Client
) -> None:
    before = await rows_of(pool, corp.corp_id)
    async with Announcer(pool, messaging_broker) as announcer:
        live = await messaging_broker.subscribe(build_conversation_subject(*key))
        await messaging_broker.flush()
        sender = Sender(announcer)
        outcomes = await attempt(
            sender, pool, send(key, "m1"), send(key, "m2", "stranger"), send(key, "m1")
        )
        assert outcomes is not None
        stored, refused, repeated = outcomes
        assert isinstance(stored, messaging_pb2.Message)
        told = await live.next_msg(timeout=10)
        await live.unsubscribe()

    assert isinstance(refused, ServiceError)
    assert refused.reason == "CONVERSATION_NOT_FOUND"
    assert repeated == stored
    assert told.data == stored.SerializeToString()
    assert list((await corp.member("zhang.san").list_messages(key[1])).messages) == [stored]
    after = await rows_of(pool, corp.corp_id)
    assert [new - old for old, new in zip(before, after, strict=True)] == [1, 1, 1]


async def test_what_is_more_than_plain_or_known_is_left_to_the_transaction(
    corp: Corp, key: ConversationKey, pool: Pool, messaging_broker: Client
) -> None:
    def screen(_corp_id: str, said: str) -> Screening:
        return Screening(is_blocked=said == "blocked", flagged=(said,) if said == "flag" else ())

    sender = Sender(Announcer(pool, messaging_broker), screen)
    assert await attempt(sender, pool, send(key, "m1")) is not None
    before = await rows_of(pool, corp.corp_id)

    for wanted in (
        send(key, "m1"),
        send(key, "m2")._replace(has_references=True),
        send(key, "m2")._replace(mentions_everyone=True),
        send(key, "m2")._replace(task_id="task"),
        send(key, "m2")._replace(text="flag"),
    ):
        assert await attempt(sender, pool, send(key, "plain"), wanted) is None, wanted
    blocked = await attempt(sender, pool, send(key, "m2")._replace(text="blocked"))

    assert blocked is not None
    assert isinstance(blocked[0], ServiceError)
    assert await rows_of(pool, corp.corp_id) == before


Change = Callable[[Connection, ConversationKey], Awaitable[object]]


def change(statement: str) -> Change:
    """Return what does this to the conversation's rows."""

    async def run(connection: Connection, key: ConversationKey) -> None:
        await connection.execute(f"{statement} AND corp_id = $1 AND conversation_id = $2", *key)

    return run


async def another_message(connection: Connection, key: ConversationKey) -> None:
    """Store the next message, as another replica does."""
    counters = await MessageRepository(connection).lock_counters([key])
    now = await MessageRepository(connection).read_clock()
    message = StoredMessage(
        *key, counters[key].last_sequence + 1, member("zhang.san"), "theirs", CONTENT, now
    )
    await MessageRepository(connection).insert_messages([message], now, [])


async def deletion(connection: Connection, key: ConversationKey) -> None:
    for table in ("participants", "conversations"):
        await change(f"DELETE FROM messaging.{table} WHERE true")(connection, key)


@pytest.mark.parametrize(
    "meanwhile",
    [
        pytest.param(another_message, id="another message"),
        pytest.param(
            change("UPDATE messaging.conversations SET participants_version = 1 WHERE true"),
            id="somebody left",
        ),
        pytest.param(
            change("UPDATE messaging.conversations SET is_muted = true WHERE true"), id="muted"
        ),
        pytest.param(
            change("UPDATE messaging.conversations SET posting = 'admins' WHERE true"),
            id="only administrators may post",
        ),
        pytest.param(
            change("UPDATE messaging.conversations SET dismiss_time = now() WHERE true"),
            id="dismissed",
        ),
        pytest.param(deletion, id="deleted"),
        pytest.param(
            change(
                "UPDATE messaging.conversations"
                " SET last_activity_time = now() + interval '1 hour' WHERE true"
            ),
            id="of a later time",
        ),
    ],
)
@pytest.mark.parametrize("while_it_waits", [False, True])
async def test_nothing_of_a_batch_is_stored_once_one_of_its_conversations_has_changed(
    corp: Corp,
    pool: Pool,
    messaging_broker: Client,
    meanwhile: Change,
    while_it_waits: bool,
) -> None:
    """Also where the change is committed while the statement waits for the row's lock."""
    li_wei = corp.member("li.wei")
    changing, other = [(corp.corp_id, await li_wei.create_group("zhang.san")) for _ in range(2)]
    async with statements(pool) as connection:
        repository = MessageRepository(connection)
        known = await SendLookUps(connection).look_up_new([send(changing, "m1"), send(other, "m1")])
        assert known is not None
        messages = [
            StoredMessage(*key, known.counters[key].last_sequence + 1, LI_WEI, "m1", CONTENT, NOW)
            for key in (changing, other)
        ]
        committed = asyncio.Event()
        async with transaction(pool) as theirs:
            await meanwhile(theirs, changing)
            storing = asyncio.create_task(
                _store_once(committed, repository.insert_unchanged(messages, known, []))
            )
            if while_it_waits:
                committed.set()
                async with pool.acquire() as observer:
                    await eventually(lambda: _are_waiting(observer, 1))
        before = await rows_of(pool, corp.corp_id)
        committed.set()

        assert not await storing

    assert await rows_of(pool, corp.corp_id) == before


async def _store_once(may_begin: asyncio.Event, storing: Awaitable[bool]) -> bool:
    await may_begin.wait()
    return await storing


async def _are_waiting(connection: Connection, wanted: int) -> bool:
    """Tell whether so many sessions wait for a lock; within a transaction PostgreSQL would go on
    telling what was so at the first look."""
    count = await connection.fetchval(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    return bool(count == wanted)


async def test_batches_of_the_same_conversations_wait_for_each_other_and_never_deadlock(
    corp: Corp, pool: Pool, messaging_broker: Client
) -> None:
    """Two that meet in the middle of their conversations, in opposite orders."""
    li_wei = corp.member("li.wei")
    keys = sorted([(corp.corp_id, await li_wei.create_group("zhang.san")) for _ in range(3)])
    sender = Sender(Announcer(pool, messaging_broker))

    async def send_to(wanted: list[ConversationKey], label: str) -> Outcomes | None:
        return await attempt(sender, pool, *(send(key, label) for key in wanted))

    async with transaction(pool) as holder:
        await MessageRepository(holder).lock_counters(keys[1:2])
        sending = asyncio.gather(send_to(keys, "forth"), send_to(keys[::-1], "back"))
        async with pool.acquire() as observer:
            await eventually(lambda: _are_waiting(observer, 2))
    outcomes = await sending

    assert sorted(outcome is None for outcome in outcomes) == [False, True]
    for _, group in keys:
        assert (await li_wei.list_messages(group)).last_sequence == 1
