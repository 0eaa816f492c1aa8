"""Messages that are sent later, by two replicas on a real database."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from nats.aio.client import Client

from engines import Database, create_database
from fakes.eventually import eventually
from fakes.members import FakeMembers
from integration.messaging.chat import TIMEOUT_S, Corp, Person, new_id, publish, text
from integration.messaging.uploads import (
    FILE,
    NewUploader,
    expire,
    file_of,
    image_of,
    open_folder,
    refused,
)
from tieline.api.directory.v1 import directory_pb2
from tieline.api.messaging.v1 import media_service_pb2 as media_pb2
from tieline.api.messaging.v1 import message_content_pb2, messaging_pb2
from tieline.api.messaging.v1 import scheduled_message_service_pb2 as scheduled
from tieline.api.messaging.v1 import scheduled_message_service_pb2_grpc as scheduled_grpc
from tieline.chassis.errors import PermissionDeniedError, UnavailableError
from tieline.chassis.health import Health
from tieline.chassis.postgres import Connection, Pool, create_pool
from tieline.messaging.conversations.rules import member
from tieline.messaging.live.announcer import Announcer
from tieline.messaging.media.upkeep import purge_media
from tieline.messaging.messages.rules import Send
from tieline.messaging.repositories.scheduled_messages import ScheduledMessageRepository
from tieline.messaging.scheduled_messages.rules import MAX_ACTIVE
from tieline.messaging.scheduled_messages.runner import ScheduleRunner
from tieline.messaging.sending.batches import Sender

ACTIVE = scheduled.SCHEDULED_MESSAGE_STATE_ACTIVE
FINISHED = scheduled.SCHEDULED_MESSAGE_STATE_FINISHED
CANCELLED = scheduled.SCHEDULED_MESSAGE_STATE_CANCELLED
FAILED = scheduled.SCHEDULED_MESSAGE_STATE_FAILED

NEVER_SOON = scheduled.Schedule(
    frequency=scheduled.SCHEDULE_FREQUENCY_DAILY,
    time_zone="UTC",
    first_date=str(dt.datetime.now(dt.UTC).date() + dt.timedelta(days=30)),
    time_of_day="09:00",
)
ONCE_LATER = scheduled.Schedule(
    frequency=scheduled.SCHEDULE_FREQUENCY_ONCE,
    time_zone="UTC",
    first_date=NEVER_SOON.first_date,
    time_of_day="09:00",
)


class Scheduling:
    """The service's calls as one person makes them."""

    def __init__(self, channel: grpc.aio.Channel, person: Person) -> None:
        self._stub = scheduled_grpc.ScheduledMessageServiceStub(channel)
        self._metadata = person.metadata

    async def create(
        self,
        conversation_id: str,
        schedule: scheduled.Schedule = NEVER_SOON,
        *,
        said: str = "later",
        content: messaging_pb2.MessageContent | None = None,
        request_id: str = "",
    ) -> scheduled.ScheduledMessage:
        response = await self._stub.CreateScheduledMessage(
            scheduled.CreateScheduledMessageRequest(
                request_id=request_id or new_id(),
                scheduled_message=scheduled.ScheduledMessage(
                    conversation_id=conversation_id,
                    content=content or text(said),
                    schedule=schedule,
                ),
            ),
            metadata=self._metadata,
            timeout=TIMEOUT_S,
        )
        return response.scheduled_message

    async def get(self, id_: str) -> scheduled.ScheduledMessage:
        response = await self._stub.GetScheduledMessage(
            scheduled.GetScheduledMessageRequest(scheduled_message_id=id_),
            metadata=self._metadata,
            timeout=TIMEOUT_S,
        )
        return response.scheduled_message

    async def list(
        self, *, show_ended: bool = False, page_size: int = 0, page_token: str = ""
    ) -> scheduled.ListScheduledMessagesResponse:
        return await self._stub.ListScheduledMessages(
            scheduled.ListScheduledMessagesRequest(
                show_ended=show_ended, page_size=page_size, page_token=page_token
            ),
            metadata=self._metadata,
            timeout=TIMEOUT_S,
        )

    async def update(
        self, message: scheduled.ScheduledMessage, *paths: str
    ) -> scheduled.ScheduledMessage:
        response = await self._stub.UpdateScheduledMessage(
            scheduled.UpdateScheduledMessageRequest(
                scheduled_message=message, update_mask=FieldMask(paths=paths)
            ),
            metadata=self._metadata,
            timeout=TIMEOUT_S,
        )
        return response.scheduled_message

    async def cancel(self, id_: str) -> scheduled.ScheduledMessage:
        response = await self._stub.CancelScheduledMessage(
            scheduled.CancelScheduledMessageRequest(scheduled_message_id=id_),
            metadata=self._metadata,
            timeout=TIMEOUT_S,
        )
        return response.scheduled_message


@pytest.fixture
def as_person(replica_channels: list[grpc.aio.Channel]) -> Callable[[Person], Scheduling]:
    return lambda person: Scheduling(replica_channels[0], person)


async def _execute(pool: Pool, statement: str, *parameters: object) -> None:
    async with pool.acquire() as connection:
        await connection.execute(statement, *parameters)


async def make_due(pool: Pool, message: scheduled.ScheduledMessage) -> None:
    """Let the time come: once is over then, anything else goes on."""
    schedule = scheduled.Schedule.FromString(message.schedule.SerializeToString())
    schedule.first_date = "2026-01-01"
    await _execute(
        pool,
        """
        UPDATE messaging.scheduled_messages
           SET next_send_time = now() - interval '1 second', schedule = $3
         WHERE corp_id = $1 AND scheduled_message_id = $2
        """,
        message.corp_id,
        message.scheduled_message_id,
        schedule.SerializeToString(),
    )


async def test_message_is_sent_when_its_time_has_come_and_then_the_schedule_is_finished(
    corp: Corp, pool: Pool, as_person: Callable[[Person], Scheduling]
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    scheduling = as_person(li_wei)
    message = await scheduling.create(group, ONCE_LATER, said="good morning")
    assert message.state == ACTIVE
    assert message.next_send_time.ToDatetime(dt.UTC).strftime("%H:%M") == "09:00"

    async with corp.member("zhang.san", replica=1).subscribed() as inbox:
        await make_due(pool, message)
        await eventually(lambda: inbox.messages(group))

    (sent,) = inbox.messages(group)
    assert sent.content.text.text == "good morning"
    assert sent.sender == li_wei.ref
    ended = await _eventually(scheduling, message, lambda now: now.state == FINISHED)
    assert ended.sent_count == 1
    assert not ended.HasField("next_send_time")


async def test_recurring_message_goes_on_and_makes_up_for_missed_times_with_one(
    corp: Corp, pool: Pool, as_person: Callable[[Person], Scheduling]
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    scheduling = as_person(li_wei)
    daily = scheduled.Schedule(
        frequency=scheduled.SCHEDULE_FREQUENCY_DAILY,
        time_zone="UTC",
        first_date="2026-01-01",
        time_of_day="00:00",
    )
    message = await scheduling.create(group, daily)

    await make_due(pool, message)
    await _eventually(scheduling, message, partial(_has_sent, 1))
    await make_due(pool, message)
    now = await _eventually(scheduling, message, partial(_has_sent, 2))

    assert now.state == ACTIVE
    assert now.next_send_time.seconds > now.last_send_time.seconds
    assert (await li_wei.list_messages(group)).last_sequence == 2


async def test_messages_of_a_suspended_corp_wait_until_it_is_resumed(
    new_corp: Callable[[], Corp], pool: Pool, as_person: Callable[[Person], Scheduling]
) -> None:
    suspended, other = new_corp(), new_corp()
    schedulings, messages = [], []
    for corp in (suspended, other):
        li_wei = corp.member("li.wei")
        schedulings.append(as_person(li_wei))
        group = await li_wei.create_group("zhang.san")
        messages.append(await schedulings[-1].create(group, ONCE_LATER))
    await _execute(
        pool,
        "INSERT INTO messaging.corps (corp_id, is_suspended) VALUES ($1, true)",
        suspended.corp_id,
    )

    # The suspended corp's is due before the other one.
    for message in messages:
        await make_due(pool, message)
    await _eventually(schedulings[1], messages[1], partial(_has_sent, 1))
    waiting = await schedulings[0].get(messages[0].scheduled_message_id)
    assert (waiting.state, waiting.sent_count) == (ACTIVE, 0)

    await _execute(
        pool,
        "UPDATE messaging.corps SET is_suspended = false WHERE corp_id = $1",
        suspended.corp_id,
    )
    await _eventually(schedulings[0], messages[0], partial(_has_sent, 1))


DEPARTURES = {
    "member_left": directory_pb2.MemberLeft,
    "member_disabled": directory_pb2.MemberDisabled,
}


@pytest.mark.parametrize("name", DEPARTURES)
async def test_who_leaves_or_is_disabled_has_nothing_scheduled_any_more(
    corp: Corp,
    pool: Pool,
    as_person: Callable[[Person], Scheduling],
    uploading: NewUploader,
    directory_broker: Client,
    name: str,
) -> None:
    """A daily message went on in the name of somebody who was dismissed."""
    li_wei, stays = uploading(corp.member("li.wei")), corp.member("zhang.san")
    direct = await li_wei.person.create_direct("zhang.san")
    file = await li_wei.upload(FILE)
    gone = [
        await as_person(li_wei.person).create(direct, schedule, content=file_of(file.media_id))
        for schedule in (NEVER_SOON, ONCE_LATER)
    ]
    kept = await as_person(stays).create(direct)
    event, event_id = DEPARTURES[name](corp_id=corp.corp_id, user_ids=["li.wei"]), new_id()

    for _ in range(2):
        await publish(directory_broker, f"tieline.directory.v1.{name}", event, event_id=event_id)

    for message in gone:
        ended = await _eventually(as_person(li_wei.person), message, _is_cancelled)
        assert not ended.HasField("next_send_time")
    assert (await as_person(stays).get(kept.scheduled_message_id)).state == ACTIVE
    async with pool.acquire() as connection:
        held = "SELECT count(*) FROM messaging.scheduled_media WHERE corp_id = $1"
        assert await connection.fetchval(held, corp.corp_id) == 0


async def test_what_was_scheduled_beside_a_departure_is_not_said(
    corp: Corp, pool: Pool, as_person: Callable[[Person], Scheduling], members: FakeMembers
) -> None:
    """What is created while the event is handled is seen by no handler: the directory is asked."""
    li_wei, stays = corp.member("li.wei"), corp.member("zhang.san")
    direct = await li_wei.create_direct("zhang.san")
    messages = [await as_person(each).create(direct) for each in (li_wei, stays)]
    members.missing.add((corp.corp_id, "li.wei"))

    for message in messages:
        await make_due(pool, message)

    ended = await _eventually(as_person(li_wei), messages[0], _is_cancelled)
    assert ended.sent_count == 0
    await _eventually(as_person(stays), messages[1], partial(_has_sent, 1))
    (said,) = (await stays.list_messages(direct)).messages
    assert said.sender == stays.ref


async def test_messages_wait_while_nobody_tells_whether_their_senders_are_members(
    new_corp: Callable[[], Corp],
    pool: Pool,
    as_person: Callable[[Person], Scheduling],
    members: FakeMembers,
) -> None:
    """They are sent once the directory answers; another corp's are not held up."""
    away, other = [corp.member("li.wei") for corp in (new_corp(), new_corp())]
    messages = [
        await as_person(each).create(await each.create_group("zhang.san"), ONCE_LATER)
        for each in (away, other)
    ]
    members.away_corp_ids.add(away.corp_id)
    for message in messages:
        await make_due(pool, message)
    await _eventually(as_person(other), messages[1], partial(_has_sent, 1))
    waiting = await as_person(away).get(messages[0].scheduled_message_id)
    assert (waiting.state, waiting.sent_count) == (ACTIVE, 0)

    members.away_corp_ids.remove(away.corp_id)
    await _execute(
        pool,
        "UPDATE messaging.scheduled_messages SET claimed_until = '-infinity' WHERE corp_id = $1",
        away.corp_id,
    )
    await _eventually(as_person(away), messages[0], partial(_has_sent, 1))


@pytest.fixture(scope="module")
async def lonely_pool(database: Database, worker_id: str) -> AsyncIterator[Pool]:
    """Connections to a database of the test's own: no other replica looks for what is due there."""
    created = await create_database(database, f"schedules_{worker_id}", ["messaging"])
    dsn = created.dsn("messaging")
    async with create_pool(dsn, service="messaging", max_size=4, health=Health()) as pool:
        yield pool


async def test_two_replicas_and_one_that_takes_over_send_once(
    lonely_pool: Pool, messaging_broker: Client
) -> None:
    """Each claim is void at once, as if each took longer than it lasts."""
    corp_id = new_id()
    sent: list[Send] = []

    async def record(connection: Connection, sends: Sequence[Send]) -> list[messaging_pb2.Message]:
        sent.extend(sends)
        return [messaging_pb2.Message() for _ in sends]

    id_ = new_id()
    await _execute(
        lonely_pool,
        """
        INSERT INTO messaging.scheduled_messages
               (corp_id, scheduled_message_id, conversation_id, sender_kind, sender_id, content,
                schedule, next_send_time, claimed_until)
        VALUES ($1, $2, 'c', 'member', 'li.wei', $3, $4, now(), '-infinity')
        """,
        corp_id,
        id_,
        text("x").SerializeToString(),
        NEVER_SOON.SerializeToString(),
    )
    async with AsyncExitStack() as stack:
        sending = []
        for _ in range(3):
            runner = ScheduleRunner(lonely_pool, messaging_broker, record)
            await stack.enter_async_context(runner._batcher)
            async with lonely_pool.acquire() as connection:
                due = await ScheduledMessageRepository(connection).claim_due(
                    lease=dt.timedelta(0), limit=1
                )
            sending += [runner._send(message) for message in due]
        assert len(sending) == 3
        await asyncio.gather(*sending)

    # However many tried, it was sent and counted once.
    assert [send.client_message_id for send in sent] == [f"scheduled-{id_}-1"]
    async with lonely_pool.acquire() as connection:
        stored = await ScheduledMessageRepository(connection).find((corp_id, member("li.wei")), id_)
    assert stored is not None
    assert stored.sent_count == 1


@asynccontextmanager
async def taken(
    pool: Pool, broker: Client, person: Person, message: scheduled.ScheduledMessage
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Take a message as a replica does that then does not get on; within the block it may send."""
    async with pool.acquire() as connection:
        due = await ScheduledMessageRepository(connection).find(
            (person.corp_id, member(person.id)), message.scheduled_message_id
        )
    assert due is not None
    async with Announcer(pool, broker) as announcer:
        runner = ScheduleRunner(pool, broker, Sender(announcer).commit)
        async with runner._batcher:
            yield lambda: runner._send(due)


async def test_what_was_cancelled_or_changed_while_it_was_taken_is_not_said(
    corp: Corp, pool: Pool, as_person: Callable[[Person], Scheduling], messaging_broker: Client
) -> None:
    """An acknowledged cancel was followed by the message, and a change by what it said before."""
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    scheduling = as_person(li_wei)
    cancelled = await scheduling.create(group, said="never")
    changed = await scheduling.create(group, said="before")
    async with (
        taken(pool, messaging_broker, li_wei, cancelled) as send_cancelled,
        taken(pool, messaging_broker, li_wei, changed) as send_changed,
    ):
        await scheduling.cancel(cancelled.scheduled_message_id)
        changed.content.CopyFrom(text("after"))
        await scheduling.update(changed, "content")
        await send_cancelled()
        await send_changed()
    assert not (await li_wei.list_messages(group)).messages

    await make_due(pool, changed)
    await _eventually(scheduling, changed, partial(_has_sent, 1))

    (said,) = (await li_wei.list_messages(group)).messages
    assert said.content.text.text == "after"
    assert (await scheduling.get(cancelled.scheduled_message_id)).state == CANCELLED


async def test_refusal_of_what_it_said_before_does_not_end_what_was_changed(
    corp: Corp, pool: Pool, as_person: Callable[[Person], Scheduling], messaging_broker: Client
) -> None:
    """A refusal is written down behind its transaction; the change may come in between."""
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    scheduling = as_person(li_wei)
    message = await scheduling.create(group, said="before")

    async with pool.acquire() as connection:
        due = await ScheduledMessageRepository(connection).find(
            (corp.corp_id, member("li.wei")), message.scheduled_message_id
        )
    assert due is not None
    message.content.CopyFrom(text("after"))
    await scheduling.update(message, "content")
    async with Announcer(pool, messaging_broker) as announcer:
        runner = ScheduleRunner(pool, messaging_broker, Sender(announcer).commit)
        await runner._write_down(due, PermissionDeniedError("ROLE_NOT_SUFFICIENT", "no"))

    assert (await scheduling.get(message.scheduled_message_id)).state == ACTIVE


async def test_what_is_away_puts_a_message_off_and_a_refusal_ends_it(
    corp: Corp, pool: Pool, as_person: Callable[[Person], Scheduling], messaging_broker: Client
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    scheduling = as_person(li_wei)
    message = await scheduling.create(group)

    async def fail(connection: Connection, sends: Sequence[Send]) -> list[messaging_pb2.Message]:
        raise UnavailableError("DATABASE_UNAVAILABLE", "away", retry_after_s=1)

    async with pool.acquire() as connection:
        due = await ScheduledMessageRepository(connection).find(
            (corp.corp_id, member("li.wei")), message.scheduled_message_id
        )
    assert due is not None
    runner = ScheduleRunner(pool, messaging_broker, fail)
    async with runner._batcher:
        await runner._send(due)
    assert (await scheduling.get(message.scheduled_message_id)).state == ACTIVE

    await _execute(
        pool,
        "DELETE FROM messaging.participants WHERE corp_id = $1 AND id = 'li.wei'",
        corp.corp_id,
    )
    await make_due(pool, message)
    failed = await _eventually(scheduling, message, lambda now: now.state == FAILED)
    assert failed.failure.reason == "CONVERSATION_NOT_FOUND"
    assert (await corp.member("zhang.san").list_messages(group)).last_sequence == 0


async def test_what_its_sender_may_not_say_when_it_is_due_ends_a_message(
    corp: Corp, pool: Pool, as_person: Callable[[Person], Scheduling]
) -> None:
    plain = corp.member("zhang.san")
    group = await corp.member("li.wei").create_group("zhang.san")
    scheduling = as_person(plain)
    notice = message_content_pb2.NoticeContent(title="Outing", text="tomorrow")
    message = await scheduling.create(group, content=messaging_pb2.MessageContent(notice=notice))

    await make_due(pool, message)

    failed = await _eventually(scheduling, message, lambda now: now.state == FAILED)
    assert failed.failure.reason == "ROLE_NOT_SUFFICIENT"
    assert (await plain.list_messages(group)).last_sequence == 0


async def test_cancelled_and_changed_messages_are_what_was_decided_last(
    corp: Corp, pool: Pool, as_person: Callable[[Person], Scheduling]
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    scheduling = as_person(li_wei)
    cancelled = await scheduling.create(group, said="never")
    changed = await scheduling.create(group, said="before")

    for _ in range(2):
        assert (await scheduling.cancel(cancelled.scheduled_message_id)).state == CANCELLED
    changed.content.CopyFrom(text("after"))
    changed.schedule.time_of_day = "10:00"
    updated = await scheduling.update(changed, "content", "schedule")

    assert updated.next_send_time.ToDatetime(dt.UTC).hour == 10
    await make_due(pool, changed)
    await _eventually(scheduling, changed, partial(_has_sent, 1))
    (sent,) = (await li_wei.list_messages(group)).messages
    assert sent.content.text.text == "after"
    with pytest.raises(grpc.aio.AioRpcError, match="somebody else"):
        await scheduling.update(changed, "content")
    cancelled.etag = ""
    with pytest.raises(grpc.aio.AioRpcError, match="is cancelled"):
        await scheduling.update(cancelled, "content")


async def test_repeated_request_schedules_once_and_lists_page_by_page(
    corp: Corp, as_person: Callable[[Person], Scheduling]
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    scheduling = as_person(li_wei)
    request_id = new_id()

    answers = await asyncio.gather(
        *(scheduling.create(group, request_id=request_id) for _ in range(4))
    )
    others = [await scheduling.create(group) for _ in range(2)]
    await scheduling.cancel(others[0].scheduled_message_id)

    assert len({each.scheduled_message_id for each in answers}) == 1
    first = await scheduling.list(show_ended=True, page_size=2)
    second = await scheduling.list(show_ended=True, page_size=2, page_token=first.next_page_token)
    listed = [
        each.scheduled_message_id
        for each in (*first.scheduled_messages, *second.scheduled_messages)
    ]
    assert listed == [
        others[1].scheduled_message_id,
        others[0].scheduled_message_id,
        answers[0].scheduled_message_id,
    ]
    assert second.next_page_token == ""
    assert len((await scheduling.list()).scheduled_messages) == 2


@pytest.mark.parametrize("who", ["zhang.san", "outsider"])
async def test_nobody_else_sees_or_touches_it(
    corp: Corp, as_person: Callable[[Person], Scheduling], who: str
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    message = await as_person(li_wei).create(group)
    other = as_person(corp.member(who))

    for call in (
        other.get(message.scheduled_message_id),
        other.cancel(message.scheduled_message_id),
        other.update(message, "content"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    assert not (await other.list()).scheduled_messages
    assert (await as_person(li_wei).get(message.scheduled_message_id)) == message


async def test_what_can_not_be_sent_is_refused_when_it_is_scheduled(
    corp: Corp, pool: Pool, as_person: Callable[[Person], Scheduling]
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    scheduling = as_person(li_wei)

    with pytest.raises(grpc.aio.AioRpcError, match=r"content\.text"):
        await scheduling.create(group, said="")
    with pytest.raises(grpc.aio.AioRpcError, match="no such conversation"):
        await as_person(corp.member("outsider")).create(group)
    await _execute(
        pool,
        """
        INSERT INTO messaging.scheduled_messages
               (corp_id, scheduled_message_id, conversation_id, sender_kind, sender_id, content,
                schedule, next_send_time)
        SELECT $1, 'id' || n, $2, 'member', 'li.wei', '', '', 'infinity'
          FROM generate_series(1, $3::int) AS n
        """,
        corp.corp_id,
        group,
        MAX_ACTIVE,
    )
    with pytest.raises(grpc.aio.AioRpcError, match="cancel one first"):
        await scheduling.create(group)


async def pass_days(pool: Pool, folder: Path, *media: media_pb2.Media) -> None:
    """Let media expire, and what has expired go."""
    for each in media:
        await expire(pool, "media", "media_id", each.media_id)
    await purge_media(pool, open_folder(folder))


async def test_medium_stays_until_it_is_said_and_as_long_as_the_schedule_goes_on(
    corp: Corp,
    pool: Pool,
    as_person: Callable[[Person], Scheduling],
    uploading: NewUploader,
    media_folder: Path,
) -> None:
    li_wei = uploading(corp.member("li.wei"))
    zhang_san = uploading(corp.member("zhang.san", replica=1))
    group = await li_wei.person.create_group("zhang.san")
    scheduling = as_person(li_wei.person)
    once, daily = [await li_wei.upload(FILE) for _ in range(2)]
    messages = [
        await scheduling.create(group, schedule, content=file_of(media.media_id))
        for schedule, media in ((ONCE_LATER, once), (NEVER_SOON, daily))
    ]

    # Once before the purge has looked, and once behind it.
    await expire(pool, "media", "media_id", once.media_id)
    await make_due(pool, messages[0])
    await _eventually(scheduling, messages[0], lambda now: now.state == FINISHED)
    await pass_days(pool, media_folder, once, daily)
    assert await li_wei.download(daily.media_id) == FILE
    await make_due(pool, messages[1])
    await _eventually(scheduling, messages[1], partial(_has_sent, 1))

    said = (await zhang_san.person.list_messages(group)).messages
    assert [each.content.file.media_id for each in said] == [once.media_id, daily.media_id]
    assert await zhang_san.download(once.media_id) == FILE
    assert (await scheduling.get(messages[1].scheduled_message_id)).state == ACTIVE


async def test_medium_goes_once_no_schedule_wants_it(
    corp: Corp,
    pool: Pool,
    as_person: Callable[[Person], Scheduling],
    uploading: NewUploader,
    media_folder: Path,
) -> None:
    li_wei = uploading(corp.member("li.wei"))
    group = await li_wei.person.create_group("zhang.san")
    scheduling = as_person(li_wei.person)
    first, second, other = [await li_wei.upload(FILE) for _ in range(3)]
    kept = await scheduling.create(group, content=file_of(first.media_id))
    cancelled = await scheduling.create(group, content=file_of(other.media_id))

    kept.content.CopyFrom(file_of(second.media_id))
    await scheduling.update(kept, "content")
    await scheduling.cancel(cancelled.scheduled_message_id)
    await pass_days(pool, media_folder, first, second, other)

    assert await li_wei.download(second.media_id) == FILE
    for gone in (first, other):
        assert await refused(li_wei.download(gone.media_id)) == "MEDIA_NOT_FOUND"
    async with pool.acquire() as connection:
        rows = await connection.fetch(
            "SELECT media_id FROM messaging.scheduled_media WHERE corp_id = $1", corp.corp_id
        )
    assert [str(row["media_id"]) for row in rows] == [second.media_id]


async def test_medium_that_is_not_the_senders_is_refused_when_it_is_scheduled(
    corp: Corp,
    new_corp: Callable[[], Corp],
    as_person: Callable[[Person], Scheduling],
    uploading: NewUploader,
) -> None:
    li_wei = uploading(corp.member("li.wei"))
    group = await li_wei.person.create_group("zhang.san")
    scheduling = as_person(li_wei.person)
    own = await li_wei.upload(FILE)
    foreign = await uploading(corp.member("zhang.san")).upload(FILE)
    elsewhere = await uploading(new_corp().member("li.wei")).upload(FILE)
    message = await scheduling.create(group, content=file_of(own.media_id))

    wrong = [(file_of(id_), "MEDIA_NOT_FOUND") for id_ in (foreign.media_id, elsewhere.media_id)]
    wrong += [(file_of(id_), "MEDIA_NOT_FOUND") for id_ in (new_id(), "m-1")]
    for content, reason in [*wrong, (image_of(own.media_id), "MEDIA_KIND_WRONG")]:
        assert await refused(scheduling.create(group, content=content)) == reason
        changed = scheduled.ScheduledMessage()
        changed.CopyFrom(message)
        changed.content.CopyFrom(content)
        assert await refused(scheduling.update(changed, "content")) == reason

    assert list((await scheduling.list()).scheduled_messages) == [message]


def _is_cancelled(message: scheduled.ScheduledMessage) -> bool:
    return message.state == CANCELLED


def _has_sent(count: int, message: scheduled.ScheduledMessage) -> bool:
    return message.sent_count == count


async def _eventually(
    scheduling: Scheduling,
    message: scheduled.ScheduledMessage,
    condition: Callable[[scheduled.ScheduledMessage], bool],
) -> scheduled.ScheduledMessage:
    async def holds() -> bool:
        return condition(await scheduling.get(message.scheduled_message_id))

    await eventually(holds)
    return await scheduling.get(message.scheduled_message_id)
