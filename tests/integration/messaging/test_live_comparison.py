"""What a comparison with the database reads, and what is tried again without being read again.

``compare_interval_s=3600`` keeps comparisons away until a reconnect asks for one.
"""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import nats.errors
import pytest
from nats.aio.client import Client

from engines import build_nats, connected
from fakes.eventually import eventually
from integration.messaging.chat import Corp, new_id
from integration.messaging.groups import Groups
from integration.messaging.unreliable import UnreliableBroker, receiving
from tieline.chassis.errors import UnavailableError
from tieline.chassis.postgres import Connection, Pool
from tieline.messaging.conversations.rules import member
from tieline.messaging.live.subjects import build_conversation_subject
from tieline.messaging.live.subscribers import LiveHub
from tieline.messaging.messages.rules import StoredMessage, message_to_proto
from tieline.messaging.repositories.messages import MessageRepository
from tieline.messaging.repositories.participants import ParticipantRepository, Position
from tieline.messaging.sending.numbering import ConversationKey

LONG_AGO = dt.timedelta(hours=1)


class RefusingPool(Pool):
    """Lends the connections of another pool, except while it is told to refuse."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.is_away = False
        self.refused = 0

    @asynccontextmanager
    async def acquire(self, *, spares_reset: bool = False) -> AsyncIterator[Connection]:
        if self.is_away:
            self.refused += 1
            raise UnavailableError("DATABASE_UNAVAILABLE", "told to")
        async with self._pool.acquire() as connection:
            yield connection


class RefusingFlush:
    """Fails a broker's flushes while it is told to."""

    def __init__(self, broker: UnreliableBroker) -> None:
        self.is_away = False
        self.refused = 0
        broker.before_flush = self

    async def __call__(self) -> None:
        if self.is_away:
            self.refused += 1
            raise nats.errors.TimeoutError


async def store(
    pool: Pool, key: ConversationKey, sequence: int, age: dt.timedelta
) -> StoredMessage:
    """Store a message, as of that age, of which nobody hears."""
    time = dt.datetime.now(dt.UTC) - age
    message = StoredMessage(*key, sequence, member("li.wei"), new_id(), b"", time)
    async with pool.acquire() as connection:
        await MessageRepository(connection).insert_messages([message], time, [])
    return message


async def make_old(pool: Pool, key: ConversationKey) -> None:
    """Let all times of a conversation be those of long ago."""
    async with pool.acquire() as connection:
        for statement in (
            "UPDATE messaging.conversations SET last_activity_time = now() - $3::interval"
            " WHERE corp_id = $1 AND conversation_id = $2",
            "UPDATE messaging.participants SET join_time = now() - $3::interval"
            " WHERE corp_id = $1 AND conversation_id = $2",
        ):
            await connection.execute(statement, *key, LONG_AGO)


async def test_positions_that_moved_are_of_new_messages_and_new_joins(
    corp: Corp, pool: Pool
) -> None:
    li_wei, reader = corp.member("li.wei"), (corp.corp_id, member("reader"))
    quiet, busy = [await li_wei.create_group("reader") for _ in range(2)]
    async with pool.acquire() as connection:
        repository = ParticipantRepository(connection)
        everything, now = await repository.list_positions([reader])
        await li_wei.send(busy)
        joined = await li_wei.create_group("reader")
        moved, _ = await repository.list_positions([reader], moved_since=now)

    assert sorted(everything) == sorted(
        Position(reader, (corp.corp_id, key), 0, 0) for key in (quiet, busy)
    )
    assert sorted(moved) == sorted(
        [
            Position(reader, (corp.corp_id, busy), 1, 0),
            Position(reader, (corp.corp_id, joined), 0, 0),
        ]
    )


async def test_comparison_reads_what_moved_and_no_more(
    corp: Corp, pool: Pool, messaging_broker: Client
) -> None:
    li_wei = corp.member("li.wei")
    old, new = [await li_wei.create_group("reader") for _ in range(2)]
    await make_old(pool, (corp.corp_id, old))
    broker = UnreliableBroker(messaging_broker)
    async with (
        LiveHub(pool, broker, compare_interval_s=3600) as hub,
        receiving(hub, corp, "reader") as inbox,
    ):
        await store(pool, (corp.corp_id, old), 1, LONG_AGO)
        # As of before the subscription: committed late.
        await store(pool, (corp.corp_id, new), 1, dt.timedelta(seconds=40))
        broker.reconnects += 1

        await eventually(lambda: inbox.messages(new))

    assert inbox.sequences(new) == [1]
    assert not inbox.messages(old)


async def test_every_comparison_finds_what_was_lost_since_the_last(
    corp: Corp, pool: Pool, messaging_broker: Client
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("reader")
    broker = UnreliableBroker(messaging_broker)
    async with (
        LiveHub(pool, broker, compare_interval_s=0) as hub,
        receiving(hub, corp, "reader") as inbox,
    ):
        broker.is_deaf = True
        for number in range(1, 4):
            await li_wei.send(group)
            await eventually(lambda n=number: inbox.sequences(group) == list(range(1, n + 1)))
        joined = await li_wei.create_group("reader")
        await eventually(lambda: inbox.joined)

    assert [each.conversation_id for each in inbox.joined] == [joined]


async def test_gap_that_could_not_be_filled_is_filled_later(
    corp: Corp, pool: Pool, messaging_broker: Client
) -> None:
    key = (corp.corp_id, await corp.member("li.wei").create_group("reader"))
    await make_old(pool, key)
    broker, refusing = UnreliableBroker(messaging_broker), RefusingPool(pool)
    async with (
        LiveHub(refusing, broker, compare_interval_s=3600) as hub,
        receiving(hub, corp, "reader") as inbox,
    ):
        # Of long ago, so that no comparison finds them.
        await store(pool, key, 1, LONG_AGO)
        second = await store(pool, key, 2, LONG_AGO)
        refusing.is_away = True
        payload = message_to_proto(second).SerializeToString()
        await messaging_broker.publish(build_conversation_subject(*key), payload)
        await eventually(lambda: refusing.refused == 1)
        refusing.is_away = False
        broker.reconnects += 1

        await eventually(lambda: len(inbox.sequences(key[1])) == 2)

    assert inbox.sequences(key[1]) == [1, 2]


@pytest.mark.parametrize("is_old", [False, True])
async def test_join_during_which_nats_does_not_answer_is_told_by_the_next_comparison(
    corp: Corp, pool: Pool, messaging_broker: Client, *, is_old: bool
) -> None:
    li_wei = corp.member("li.wei")
    broker = UnreliableBroker(messaging_broker)
    flush = RefusingFlush(broker)
    async with (
        LiveHub(pool, broker, compare_interval_s=3600) as hub,
        receiving(hub, corp, "reader") as inbox,
    ):
        flush.is_away = True
        group = await li_wei.create_group("reader")
        await eventually(lambda: flush.refused == 1)
        flush.is_away = False
        if is_old:
            # The outage was long: no comparison finds the join any more.
            await make_old(pool, (corp.corp_id, group))
        broker.reconnects += 1
        await eventually(lambda: inbox.joined)
        await li_wei.send(group)

        await eventually(lambda: inbox.messages(group))

    assert [each.conversation_id for each in inbox.joined] == [group]
    assert inbox.sequences(group) == [1]


async def test_join_during_which_the_database_is_away_is_told_by_the_next_comparison(
    corp: Corp, pool: Pool, messaging_broker: Client
) -> None:
    li_wei = corp.member("li.wei")
    broker, refusing = UnreliableBroker(messaging_broker), RefusingPool(pool)
    async with (
        LiveHub(refusing, broker, compare_interval_s=3600) as hub,
        receiving(hub, corp, "reader") as inbox,
    ):
        refusing.is_away = True
        group = await li_wei.create_group("reader")
        await eventually(lambda: refusing.refused == 1)
        refusing.is_away = False
        broker.reconnects += 1
        await eventually(lambda: inbox.joined)
        await li_wei.send(group)

        await eventually(lambda: inbox.messages(group))

    assert inbox.sequences(group) == [1]


async def test_hub_ends_though_a_flush_swallows_the_cancellation(
    corp: Corp, pool: Pool, messaging_broker: Client
) -> None:
    """As nats-py's may, by `asyncio.wait_for` before Python 3.12: a replica would not stop."""
    broker = UnreliableBroker(messaging_broker)
    is_flushing = asyncio.Event()

    async def swallow() -> None:
        is_flushing.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    async with (
        asyncio.timeout(30),
        LiveHub(pool, broker) as hub,
        receiving(hub, corp, "reader"),
    ):
        broker.before_flush = swallow
        await corp.member("li.wei").create_group("reader")
        await is_flushing.wait()
        broker.before_flush = None


async def test_who_is_taken_out_while_nats_is_away_is_let_out_once_it_is_back(
    corp: Corp, pool: Pool, groups: Groups, tmp_path: Path
) -> None:
    """No note comes, and no number moves that a comparison of the user's own would see."""
    li_wei = corp.member("li.wei")
    taken, kept = [await li_wei.create_group("reader") for _ in range(2)]
    # One server for the hub alone: the replica that takes the reader out goes on.
    server = build_nats(tmp_path / "nats")
    async with AsyncExitStack() as stack:
        with server.running():
            broker = await stack.enter_async_context(connected(server, "messaging"))
            hub = await stack.enter_async_context(LiveHub(pool, broker, compare_interval_s=3600))
            inbox = await stack.enter_async_context(receiving(hub, corp, "reader"))
        await groups.remove(li_wei, taken, "reader")
        with server.running():
            await eventually(lambda: inbox.left)
            await li_wei.send(taken)
            announced = (await li_wei.list_messages(taken)).messages[-1]
            subject = build_conversation_subject(corp.corp_id, taken)
            await broker.publish(subject, announced.SerializeToString())
            kept_message = await li_wei.send(kept)
            subject = build_conversation_subject(corp.corp_id, kept)
            await broker.publish(subject, kept_message.SerializeToString())
            await eventually(lambda: inbox.messages(kept))
            await stack.aclose()

    assert inbox.left == [taken]
    assert not inbox.messages(taken)


async def test_departure_whose_note_was_lost_is_found_in_turn(
    corp: Corp, pool: Pool, groups: Groups, messaging_broker: Client
) -> None:
    """NATS may lose a note without any reconnect; who came back since goes on."""
    li_wei = corp.member("li.wei")
    taken, kept, back = [await li_wei.create_group("reader", "zhang.san") for _ in range(3)]
    broker = UnreliableBroker(messaging_broker)
    async with (
        LiveHub(pool, broker, compare_interval_s=0) as hub,
        receiving(hub, corp, "reader") as inbox,
    ):
        broker.is_deaf = True
        await groups.remove(li_wei, taken, "reader")
        await eventually(lambda: taken in inbox.left)
        await groups.remove(li_wei, back, "reader")
        await groups.add(li_wei, back, "reader")
        await li_wei.send(taken)
        for group in (back, kept):
            await li_wei.send(group)
        await eventually(lambda: inbox.messages(kept) and inbox.messages(back))

    assert not inbox.messages(taken)
    assert kept not in inbox.left
