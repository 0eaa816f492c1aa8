"""Numbers and client message ids stay unique although months are tables of their own."""

import asyncio
import datetime as dt

import asyncpg
import pytest
from nats.aio.client import Client

from fakes.eventually import eventually
from integration.messaging.chat import Corp, text
from tieline.api.messaging.v1 import messaging_pb2
from tieline.chassis import migrations
from tieline.chassis.errors import ServiceError
from tieline.chassis.migration_files import load_migrations
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.messaging.app import CONSTRAINT_ERRORS
from tieline.messaging.conversations.rules import member
from tieline.messaging.live.announcer import Announcer
from tieline.messaging.messages.rules import Send, StoredMessage
from tieline.messaging.repositories.messages import MessageRepository
from tieline.messaging.repositories.upkeep import UpkeepRepository
from tieline.messaging.sending.batches import Sender
from tieline.messaging.sending.numbering import ConversationKey
from tieline.messaging.upkeep import MONTHS_AHEAD, REPEAT_WINDOW, keep_up

CONTENT = text("hello").SerializeToString()
LI_WEI = member("li.wei")
NEXT_MONTH = dt.timedelta(days=31)


@pytest.fixture
async def key(corp: Corp) -> ConversationKey:
    return corp.corp_id, await corp.member("li.wei").create_group("zhang.san")


def send(key: ConversationKey, client_message_id: str) -> Send:
    return Send(*key, LI_WEI, client_message_id, CONTENT)


async def store(
    pool: Pool, key: ConversationKey, sequence: int, client_message_id: str, away: dt.timedelta
) -> StoredMessage:
    """Store a message as of a time that is so far away from now."""
    time = dt.datetime.now(dt.UTC) + away
    message = StoredMessage(*key, sequence, LI_WEI, client_message_id, CONTENT, time)
    async with transaction(pool) as connection:
        await MessageRepository(connection).insert_messages([message], time, [])
    return message


async def test_numbers_and_repeats_are_those_of_all_months(
    corp: Corp, key: ConversationKey, pool: Pool
) -> None:
    li_wei = corp.member("li.wei")
    await store(pool, key, 1, "m1", -NEXT_MONTH)
    await store(pool, key, 2, "m2", dt.timedelta())
    await store(pool, key, 3, "m3", NEXT_MONTH)

    repeats = [await li_wei.send(key[1], "hello", client_message_id=f"m{n}") for n in (1, 2, 3)]
    new = await li_wei.send(key[1], "hello")

    assert [message.sequence for message in repeats] == [1, 2, 3]
    assert new.sequence == 4
    listed = (await li_wei.list_messages(key[1])).messages
    assert list(listed) == [*repeats, new]


async def test_one_client_message_id_is_stored_once_even_past_the_lock_and_in_another_month(
    corp: Corp, key: ConversationKey, pool: Pool
) -> None:
    await store(pool, key, 1, "m1", dt.timedelta())

    with pytest.raises(asyncpg.UniqueViolationError):
        await store(pool, key, 2, "m1", NEXT_MONTH)

    assert (await corp.member("li.wei").list_messages(key[1])).last_sequence == 1


async def test_who_left_while_the_send_waited_for_the_lock_has_sent_nothing(
    corp: Corp, key: ConversationKey, pool: Pool, messaging_broker: Client
) -> None:
    async with transaction(pool) as leaving:
        await MessageRepository(leaving).lock_counters([key])
        sending = asyncio.create_task(_commit(pool, messaging_broker, send(key, "m1")))
        async with pool.acquire() as observer:
            await eventually(lambda: _is_waiting(observer))
        await leaving.execute(
            "DELETE FROM messaging.participants"
            " WHERE corp_id = $1 AND conversation_id = $2 AND id = 'li.wei'",
            *key,
        )
        await leaving.execute(
            "UPDATE messaging.conversations SET participants_version = participants_version + 1"
            " WHERE corp_id = $1 AND conversation_id = $2",
            *key,
        )

    outcome = await sending

    assert isinstance(outcome, ServiceError)
    assert outcome.reason == "CONVERSATION_NOT_FOUND"
    assert (await corp.member("zhang.san").list_messages(key[1])).last_sequence == 0


async def test_repeat_that_was_stored_while_the_send_waited_for_the_lock_is_seen(
    corp: Corp, key: ConversationKey, pool: Pool, messaging_broker: Client
) -> None:
    async with transaction(pool) as first:
        stored = await Sender(Announcer(pool, messaging_broker)).commit(first, [send(key, "m1")])
        sending = asyncio.create_task(_commit(pool, messaging_broker, send(key, "m1")))
        async with pool.acquire() as observer:
            await eventually(lambda: _is_waiting(observer))

    assert [await sending] == stored
    assert (await corp.member("li.wei").list_messages(key[1])).last_sequence == 1


async def test_service_makes_missing_months_as_its_own_role_and_a_repeat_makes_none(
    pool: Pool,
) -> None:
    await keep_up(pool)
    async with pool.acquire() as connection:
        upkeep = UpkeepRepository(connection)

        made = [await upkeep.create_parts(months_ahead=MONTHS_AHEAD + 1) for _ in range(2)]
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("DROP TABLE messaging.stored_messages")

    assert made == [1, 0]


async def test_send_is_forgotten_after_the_window_and_not_before(
    corp: Corp, key: ConversationKey, pool: Pool
) -> None:
    li_wei = corp.member("li.wei")
    margin = dt.timedelta(minutes=5)
    await store(pool, key, 1, "old", -REPEAT_WINDOW - margin)
    await store(pool, key, 2, "young", -REPEAT_WINDOW + margin)

    await keep_up(pool)

    assert (await li_wei.send(key[1], "hello", client_message_id="young")).sequence == 2
    assert (await li_wei.send(key[1], "hello", client_message_id="old")).sequence == 3


async def test_installation_in_use_is_migrated_while_the_older_code_still_sends(
    postgres_admin_dsn: str,
    worker_id: str,
    monkeypatch: pytest.MonkeyPatch,
    pool: Pool,
    messaging_broker: Client,
) -> None:
    dsn = await _create_database(postgres_admin_dsn, f"messaging_in_use_{worker_id}")
    every = load_migrations("messaging")
    older = [each for each in every if each.component == "chassis" or each.version == 1]
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "load_migrations", lambda _: older)
        await migrations.migrate(dsn, ["messaging"])
    connection = await asyncpg.connect(dsn)
    try:
        await _open(connection, ("ww0", "c"))
        await _send_as_older_code(connection, ("ww0", "c"), 1, "before")
        await migrations.migrate(dsn, ["messaging"])
        await _send_as_older_code(connection, ("ww0", "c"), 2, "during")

        # Not entered, so nothing is published.
        sender = Sender(Announcer(pool, messaging_broker))
        sends = [Send("ww0", "c", LI_WEI, id_, CONTENT) for id_ in ("before", "during", "after")]
        async with connection.transaction():
            outcomes = await sender.commit(connection, sends)
        await connection.execute("DELETE FROM messaging.recent_sends")
        with pytest.raises(asyncpg.UniqueViolationError) as late_repeat:
            async with connection.transaction():
                await sender.commit(connection, sends)
        seen_by_older_code = await connection.fetchval("SELECT count(*) FROM messaging.messages")
    finally:
        await connection.close()

    stored = [each for each in outcomes if isinstance(each, messaging_pb2.Message)]
    assert [message.sequence for message in stored] == [1, 2, 3]
    assert seen_by_older_code == 3
    assert late_repeat.value.constraint_name in CONSTRAINT_ERRORS


async def _commit(pool: Pool, broker: Client, one: Send) -> messaging_pb2.Message | ServiceError:
    async with transaction(pool) as connection:
        return (await Sender(Announcer(pool, broker)).commit(connection, [one]))[0]


async def _is_waiting(observer: Connection) -> bool:
    waiting = await observer.fetchval(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    return bool(waiting)


async def _create_database(admin_dsn: str, name: str) -> str:
    connection = await asyncpg.connect(admin_dsn)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    return f"{admin_dsn.rpartition('/')[0]}/{name}"


async def _open(connection: Connection, key: ConversationKey) -> None:
    await connection.execute(
        "INSERT INTO messaging.conversations (corp_id, conversation_id, kind)"
        " VALUES ($1, $2, 'group')",
        *key,
    )
    await connection.execute(
        "INSERT INTO messaging.participants (corp_id, conversation_id, kind, id, joined_sequence)"
        " VALUES ($1, $2, 'member', 'li.wei', 0)",
        *key,
    )


async def _send_as_older_code(
    connection: Connection, key: ConversationKey, sequence: int, client_message_id: str
) -> None:
    """What the release before stored messages by month does."""
    await connection.execute(
        """
        WITH counted AS (
            UPDATE messaging.conversations SET last_sequence = $3
             WHERE corp_id = $1 AND conversation_id = $2
        )
        INSERT INTO messaging.messages
               (corp_id, conversation_id, sequence, sender_kind, sender_id, client_message_id,
                content, create_time)
        VALUES ($1, $2, $3, 'member', 'li.wei', $4, $5, now())
        """,
        *key,
        sequence,
        client_message_id,
        CONTENT,
    )
