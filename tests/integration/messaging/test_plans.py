"""Statements about lists of rows keep looking them up when the tables have grown."""

import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from plans import explain, list_planned_anew, new_database, reads_by_index_alone
from tieline.chassis.postgres import Connection
from tieline.messaging.conversations.rules import member
from tieline.messaging.messages.ranges import Range
from tieline.messaging.messages.rules import Send, StoredMessage
from tieline.messaging.push.rules import Newest, PushKey
from tieline.messaging.repositories.app_message_recipients import Reader, count_recent
from tieline.messaging.repositories.conversations import ConversationRepository
from tieline.messaging.repositories.messages import MessageRepository
from tieline.messaging.repositories.overviews import list_overviews
from tieline.messaging.repositories.participants import ParticipantRepository
from tieline.messaging.repositories.push_facts import list_facts
from tieline.messaging.repositories.push_targets import PushTargetRepository
from tieline.messaging.repositories.pushes import PushRepository
from tieline.messaging.repositories.ranges import list_ranges, list_readable
from tieline.messaging.repositories.reading import ReadingRepository
from tieline.messaging.repositories.search import Filter, SearchRepository
from tieline.messaging.repositories.send_look_ups import LookUp, Seen, SendLookUps
from tieline.messaging.repositories.stored_messages import list_messages
from tieline.messaging.search.walk import Window

KEY = ("ww0", "conversation")
NOW = dt.datetime(2026, 2, 17, 9, 0, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
async def empty(postgres_admin_dsn: str, worker_id: str) -> AsyncIterator[Connection]:
    name = f"messaging_plans_{worker_id}"
    async with new_database(postgres_admin_dsn, name, "messaging") as connection:
        yield connection


@pytest.mark.parametrize(
    "ask",
    [
        lambda connection: MessageRepository(connection).lock_counters([KEY]),
        lambda connection: ConversationRepository(connection).list_conversations([KEY]),
        lambda connection: ParticipantRepository(connection).filter_participants(
            [(KEY, member("li.wei"))]
        ),
        lambda connection: ParticipantRepository(connection).list_positions(
            [(KEY[0], member("li.wei"))]
        ),
        lambda connection: _look_up(connection),
        lambda connection: _look_up_new(connection),
        lambda connection: MessageRepository(connection).insert_messages([], NOW, []),
        lambda connection: _insert_unchanged(connection),
        lambda connection: list_messages(connection, KEY, after=0, up_to=100, limit=100),
        lambda connection: _look_through(connection),
        lambda connection: PushRepository(connection).insert_wanted(
            [Newest(KEY, 1, member("li.wei"), 0)], dt.timedelta(0)
        ),
        lambda connection: PushRepository(connection).claim_due(
            after_corp_id="", of_corp=1, limit=1, lease=dt.timedelta(0)
        ),
        lambda connection: list_facts(connection, [PushKey(KEY[0], "session", KEY[1])]),
        lambda connection: PushRepository(connection).count_badges([(KEY[0], member("li.wei"))]),
        lambda connection: PushRepository(connection).settle([], dt.timedelta(0)),
        lambda connection: PushTargetRepository(connection).note_connected([], []),
        lambda connection: ParticipantRepository(connection).find_app_readers(
            [(KEY[0], "1000002", KEY[1])]
        ),
        lambda connection: count_recent(connection, [Reader(KEY[0], "1000002", "li.wei", KEY[1])]),
    ],
    ids=[
        "lock_counters",
        "list_conversations",
        "filter_participants",
        "list_positions",
        "lock_and_look_up",
        "look_up_new",
        "insert_messages",
        "insert_unchanged",
        "list_messages",
        "look_through",
        "insert_wanted",
        "claim_due",
        "list_facts",
        "count_badges",
        "settle",
        "note_connected",
        "find_app_readers",
        "count_recent",
    ],
)
async def test_plan_made_on_small_tables_reads_by_index(
    empty: Connection, ask: Callable[[Any], Awaitable[object]]
) -> None:
    plan = await explain(empty, ask)

    assert reads_by_index_alone(plan), plan


async def test_what_is_about_one_message_or_conversation_is_not_planned_for_each_call(
    empty: Connection,
) -> None:
    me = member("li.wei")
    user = (KEY[0], me)
    send = Send(*KEY, me, "m1", b"")
    message = StoredMessage(*KEY, 1, me, "m1", b"", NOW)
    known = LookUp((), {}, {KEY: Seen(0, 0, "everyone")}, NOW)
    reading = ReadingRepository(empty)

    async def ask() -> None:
        await ConversationRepository(empty).find_conversation_of(KEY, me)
        await ParticipantRepository(empty).filter_participants([(KEY, me)])
        await list_overviews(empty, user, [KEY[1]])
        await list_readable(empty, KEY[0], me, [KEY[1]])
        await list_ranges(empty, KEY[0], [Range(KEY[1], 0, 100)])
        await SendLookUps(empty).look_up_new([send])
        await SendLookUps(empty).lock_and_look_up([send])
        await MessageRepository(empty).insert_unchanged([message], known, [])
        await MessageRepository(empty).lock_counters([KEY])
        await reading.lock_revisions([user])
        await reading.list_revisions([user])
        await reading.list_standings([(user, KEY[1], 1)])
        await PushRepository(empty).insert_wanted([Newest(KEY, 1, me, 0)], dt.timedelta(0))

    assert await list_planned_anew(empty, ask) == []


async def _look_up(connection: Any) -> None:
    send = Send(*KEY, member("li.wei"), "m1", b"")
    # The recorded statement finds no row, where the real one has a row for each send.
    with suppress(ValueError):
        await SendLookUps(connection).lock_and_look_up([send])


async def _look_up_new(connection: Any) -> None:
    with suppress(ValueError):
        await SendLookUps(connection).look_up_new([Send(*KEY, member("li.wei"), "m1", b"")])


async def _insert_unchanged(connection: Any) -> None:
    message = StoredMessage(*KEY, 1, member("li.wei"), "m1", b"", NOW)
    known = LookUp((), {}, {KEY: Seen(0, 0, "everyone")}, NOW)
    # The recorded statement has no tag, where the real one tells how many rows it stored.
    with suppress(AttributeError):
        await MessageRepository(connection).insert_unchanged([message], known, [])


async def _look_through(connection: Any) -> None:
    wanted = Filter("'a'", None, [], None)
    # The recorded statement finds no row, where the real one has one.
    with suppress(AssertionError):
        await SearchRepository(connection).look_through(
            KEY[0], [], wanted, Window(NOW, 5), before=None, limit=21
        )
