"""What apps send to many arrives, is told of, taken back, and never sent in the wrong name."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from nats.aio.client import Client
from nats.aio.msg import Msg

from fakes.app_ranges import FakeAppRanges
from fakes.eventually import eventually
from fakes.members import FakeMembers
from fakes.tokens import TestTokens
from integration.messaging.chat import TIMEOUT_S, Corp, Person, new_id, text
from integration.messaging.groups import refused
from tieline.api.messaging.v1 import (
    app_message_service_pb2,
    app_message_service_pb2_grpc,
    messaging_pb2,
)
from tieline.chassis.postgres import Pool
from tieline.messaging.app_messages.rules import MAX_JOBS_WITH_WORK

AGENT_ID = 1000002
SENT = app_message_service_pb2.APP_MESSAGE_JOB_STATE_SENT
RECALLED = app_message_service_pb2.APP_MESSAGE_JOB_STATE_RECALLED
FAILED = app_message_service_pb2.APP_MESSAGE_JOB_STATE_FAILED
SENDING = app_message_service_pb2.APP_MESSAGE_JOB_STATE_SENDING


def audience(**fields: Any) -> app_message_service_pb2.AppMessageAudience:
    return app_message_service_pb2.AppMessageAudience(**fields)


@dataclass
class App:
    """An app of a corp, at the first replica."""

    corp: Corp
    stub: Any
    metadata: Sequence[tuple[str, str]]

    async def call(self, method: str, **fields: Any) -> Any:
        request = getattr(app_message_service_pb2, f"{method}Request")(**fields)
        return await getattr(self.stub, method)(request, metadata=self.metadata, timeout=TIMEOUT_S)

    async def send(
        self, *user_ids: str, **fields: Any
    ) -> app_message_service_pb2.SendAppMessageResponse:
        defaults = {
            "request_id": new_id(),
            "audience": audience(user_ids=user_ids),
            "content": text("news"),
        }
        response = await self.call("SendAppMessage", **{**defaults, **fields})
        assert isinstance(response, app_message_service_pb2.SendAppMessageResponse)
        return response

    async def get(self, job_id: str) -> app_message_service_pb2.AppMessageJob:
        job = (await self.call("GetAppMessageJob", job_id=job_id)).job
        assert isinstance(job, app_message_service_pb2.AppMessageJob)
        return job

    async def reach(self, job_id: str, state: int) -> app_message_service_pb2.AppMessageJob:
        """Wait until the job is in this state and has nothing to do; return it."""

        async def is_there() -> bool:
            job = await self.get(job_id)
            return job.state == state and not job.outdated_count

        await eventually(is_there)
        return await self.get(job_id)

    async def list_failed(self, job_id: str, **page: Any) -> list[tuple[str, str]]:
        response = await self.call("ListFailedRecipients", job_id=job_id, **page)
        return [(each.user_id, each.error.reason) for each in response.recipients]

    async def read(self, user_id: str) -> list[messaging_pb2.Message]:
        """Return what the member has got in its conversation with an app, whatever app."""
        return await read(self.corp.member(user_id))


async def read(person: Person) -> list[messaging_pb2.Message]:
    conversations = (await person.list_conversations()).conversations
    found: list[messaging_pb2.Message] = []
    for conversation in conversations:
        page = await person.list_messages(conversation.conversation_id)
        found += page.messages
    return found


def build_app(
    corp: Corp,
    channel: grpc.aio.Channel,
    tokens: TestTokens,
    agent_id: int = AGENT_ID,
    rights: Sequence[str] = ("send_app_messages",),
) -> App:
    token = tokens.app(corp.corp_id, str(agent_id), rights=rights)
    stub = app_message_service_pb2_grpc.AppMessageServiceStub(channel)
    return App(corp, stub, (("authorization", f"Bearer {token}"),))


@pytest.fixture
def app(corp: Corp, replica_channels: list[grpc.aio.Channel], tokens: TestTokens) -> App:
    return build_app(corp, replica_channels[0], tokens)


async def _execute(pool: Pool, statement: str, *parameters: object) -> None:
    async with pool.acquire() as connection:
        await connection.execute(statement, *parameters)


async def test_those_of_an_audience_who_can_be_reached_get_the_message_once(
    app: App, members: FakeMembers
) -> None:
    corp_id = app.corp.corp_id
    members.missing.add((corp_id, "gone"))
    members.people[corp_id, "department 5"] = ["li", "zhang"]
    members.people[corp_id, "tag 7"] = ["zhang", "wu"]

    response = await app.send(
        audience=audience(user_ids=["li", "gone"], department_ids=[5, 9], tag_ids=[7, 8])
    )
    job = await app.reach(response.job.job_id, SENT)

    invalid = job.invalid
    assert invalid == app_message_service_pb2.InvalidAudience(
        user_ids=["gone"], department_ids=[9], tag_ids=[8]
    )
    assert (job.recipient_count, job.sent_count, job.failed_count) == (3, 3, 0)
    assert job.HasField("finish_time")
    for user_id in ("li", "zhang", "wu"):
        [message] = await app.read(user_id)
        assert (message.content, message.sender.id) == (text("news"), str(AGENT_ID))
    assert await app.read("gone") == []


async def test_everybody_is_whom_the_directory_says(app: App, members: FakeMembers) -> None:
    # More than one transaction of sends.
    user_ids = [f"u{number:04}" for number in range(120)]
    members.people[app.corp.corp_id, "everybody"] = user_ids

    response = await app.send(audience=audience(everybody=True))
    job = await app.reach(response.job.job_id, SENT)

    assert (job.recipient_count, job.sent_count) == (120, 120)
    assert [len(await app.read(user_id)) for user_id in (user_ids[0], user_ids[-1])] == [1, 1]


async def test_what_an_app_sends_to_many_is_told_live_and_as_an_event(
    app: App, messaging_broker: Client, admin_broker: Client
) -> None:
    """Though it is committed on a connection of its own."""
    told: list[str] = []

    async def note(message: Msg) -> None:
        if app.corp.corp_id.encode() in message.data and b"news" in message.data:
            told.append(message.subject.partition(".")[0])

    subscriptions = [
        await messaging_broker.subscribe("live.>", cb=note),
        await admin_broker.subscribe("tieline.messaging.>", cb=note),
    ]
    await messaging_broker.flush()
    await admin_broker.flush()

    await app.send("li")

    await eventually(lambda: sorted(told) == ["live", "tieline"])
    for subscription in subscriptions:
        await subscription.unsubscribe()


async def test_an_audience_of_which_nothing_is_reached_is_refused(
    app: App, members: FakeMembers
) -> None:
    members.missing.add((app.corp.corp_id, "gone"))

    await refused(
        app.send(audience=audience(user_ids=["gone"], department_ids=[9])), "NO_RECIPIENTS"
    )

    assert not (await app.call("ListAppMessageJobs")).jobs


async def test_the_same_request_is_one_job_and_its_like_is_found_when_asked_for(
    app: App, replica_channels: list[grpc.aio.Channel], tokens: TestTokens
) -> None:
    elsewhere = build_app(app.corp, replica_channels[1], tokens)
    request_id = new_id()
    hour = Duration(seconds=3600)

    answers = await asyncio.gather(
        *(each.send("li", "wu", request_id=request_id) for each in (app, elsewhere, app))
    )
    [job_id] = {answer.job.job_id for answer in answers}
    like = await app.send("WU", "li", duplicate_check_interval=hour)
    unlike = await app.send("li", duplicate_check_interval=hour)
    again = await app.send("li", "wu")

    assert (like.job.job_id, like.duplicate) == (job_id, True)
    assert not unlike.duplicate
    assert not again.duplicate
    for each in (unlike, again):
        await app.reach(each.job.job_id, SENT)
    await app.reach(job_id, SENT)
    assert [len(await app.read(user_id)) for user_id in ("li", "wu")] == [3, 2]
    listed = (await app.call("ListAppMessageJobs", page_size=2)).jobs
    assert [each.job_id for each in listed] == [again.job.job_id, unlike.job.job_id]
    await refused(app.send("zhang", request_id=request_id), "REQUEST_ID_REUSED")


async def test_who_got_too_many_gets_no_more_and_is_listed(app: App, pool: Pool) -> None:
    first = await app.send("li", "wu")
    await app.reach(first.job.job_id, SENT)
    await _execute(
        pool,
        """
        INSERT INTO messaging.app_message_jobs
               (corp_id, job_id, app_id, audience, invalid, content, digest, state, has_work)
        SELECT $1, 'job' || n, $2, '', '', '', '', 'sent', false FROM generate_series(1, 29) AS n
        """,
        app.corp.corp_id,
        str(AGENT_ID),
    )
    await _execute(
        pool,
        """
        INSERT INTO messaging.app_message_recipients
               (corp_id, job_id, app_id, user_id, state, plan_time)
        SELECT $1, 'job' || n, $2, 'li', 'waiting', now() + interval '1 hour'
          FROM generate_series(1, 29) AS n
        """,
        app.corp.corp_id,
        str(AGENT_ID),
    )

    job = await app.reach((await app.send("li", "wu")).job.job_id, SENT)

    assert (job.sent_count, job.failed_count) == (1, 1)
    assert await app.list_failed(job.job_id) == [("li", "RECIPIENT_RATE_EXCEEDED")]
    assert [len(await app.read(user_id)) for user_id in ("li", "wu")] == [1, 2]


async def test_a_message_is_taken_back_from_everybody(app: App) -> None:
    job_id = (await app.send("li", "wu", "zhang")).job.job_id
    await app.reach(job_id, SENT)

    await asyncio.gather(*(app.call("RecallAppMessage", job_id=job_id) for _ in range(2)))
    job = await app.reach(job_id, RECALLED)
    await app.call("RecallAppMessage", job_id=job_id)

    assert (job.sent_count, job.recalled_count, job.content) == (
        3,
        3,
        messaging_pb2.MessageContent(),
    )
    for user_id in ("li", "wu", "zhang"):
        message, note = await app.read(user_id)
        assert message.HasField("recall_time")
        assert not message.content.HasField("text")
        assert note.content.recall_note.sequence == message.sequence


async def test_after_a_day_nothing_is_taken_back(app: App, pool: Pool) -> None:
    job_id = (await app.send("li")).job.job_id
    await app.reach(job_id, SENT)
    await _execute(
        pool,
        """
        UPDATE messaging.app_message_jobs SET create_time = create_time - interval '24 hours'
         WHERE corp_id = $1
        """,
        app.corp.corp_id,
    )

    await refused(app.call("RecallAppMessage", job_id=job_id), "TOO_LATE")

    assert (await app.get(job_id)).state == SENT


async def test_nothing_is_sent_for_a_suspended_corp_or_in_a_disabled_apps_name(
    app: App, app_ranges: FakeAppRanges, pool: Pool
) -> None:
    corp_id = app.corp.corp_id
    app_ranges.disabled.add((corp_id, AGENT_ID))
    await refused(app.send("li"), "APP_DISABLED")
    await _insert_job(pool, corp_id, "01980000-0000-7000-8000-000000000001")
    job = await app.reach("01980000-0000-7000-8000-000000000001", FAILED)
    assert job.failure.reason == "APP_DISABLED"
    app_ranges.disabled.clear()

    await _execute(
        pool, "INSERT INTO messaging.corps (corp_id, is_suspended) VALUES ($1, true)", corp_id
    )
    await _insert_job(pool, corp_id, "01980000-0000-7000-8000-000000000002")

    async def is_refused() -> bool:
        try:
            await app.send("li")
        except grpc.aio.AioRpcError as error:
            return "CORP_SUSPENDED" in str(error.trailing_metadata())
        return False

    # Each replica reads anew who is suspended, in turns longer than those of jobs.
    await eventually(is_refused)
    waiting = await app.get("01980000-0000-7000-8000-000000000002")
    assert (waiting.state, waiting.sent_count) == (SENDING, 0)
    await _execute(
        pool, "UPDATE messaging.corps SET is_suspended = false WHERE corp_id = $1", corp_id
    )
    await app.reach("01980000-0000-7000-8000-000000000002", SENT)


async def _insert_job(pool: Pool, corp_id: str, job_id: str) -> None:
    await _execute(
        pool,
        """
        INSERT INTO messaging.app_message_jobs
               (corp_id, job_id, app_id, audience, invalid, content, digest)
        VALUES ($1, $2, $3, $4, '', $5, '')
        """,
        corp_id,
        job_id,
        str(AGENT_ID),
        audience(user_ids=["li"]).SerializeToString(),
        text("later").SerializeToString(),
    )


async def test_jobs_are_their_apps_alone_and_need_the_right(
    app: App, replica_channels: list[grpc.aio.Channel], tokens: TestTokens, members: FakeMembers
) -> None:
    channel = replica_channels[0]
    job_id = (await app.send("li")).job.job_id
    other = build_app(app.corp, channel, tokens, agent_id=1000003)

    for method in ("GetAppMessageJob", "RecallAppMessage", "ListFailedRecipients"):
        await refused(other.call(method, job_id=job_id), "APP_MESSAGE_JOB_NOT_FOUND")
        await refused(app.call(method, job_id="a\0"), "APP_MESSAGE_JOB_NOT_FOUND")
    assert not (await other.call("ListAppMessageJobs")).jobs
    await refused(
        build_app(app.corp, channel, tokens, rights=("read_directory",)).send("li"),
        "CALLER_NOT_ALLOWED",
    )
    members.away_corp_ids.add(app.corp.corp_id)
    await refused(app.send("li"), "SERVICE_UNAVAILABLE")


async def test_an_app_has_so_many_jobs_with_work_and_no_more(app: App, pool: Pool) -> None:
    async def are_sent_jobs_done() -> bool:
        async with pool.acquire() as connection:
            with_work = await connection.fetchval(
                "SELECT count(*) FROM messaging.app_message_jobs WHERE corp_id = $1 AND has_work",
                app.corp.corp_id,
            )
        return bool(with_work == MAX_JOBS_WITH_WORK - 1)

    # Far from their turns.
    await _execute(
        pool,
        """
        INSERT INTO messaging.app_message_jobs
               (corp_id, job_id, app_id, audience, invalid, content, digest, claimed_until)
        SELECT $1, 'job' || n, $2, '', '', '', '', 'infinity'
          FROM generate_series(1, $3::int) AS n
        """,
        app.corp.corp_id,
        str(AGENT_ID),
        MAX_JOBS_WITH_WORK - 1,
    )
    answers = await asyncio.gather(
        *(app.send("li", content=text(str(number))) for number in range(2)), return_exceptions=True
    )

    assert sum(isinstance(each, grpc.aio.AioRpcError) for each in answers) <= 1
    # A turn that is under way would write down afterwards that its job has no work left.
    await eventually(are_sent_jobs_done)
    await _execute(
        pool,
        """
        UPDATE messaging.app_message_jobs SET claimed_until = 'infinity', has_work = true
         WHERE corp_id = $1
        """,
        app.corp.corp_id,
    )
    await refused(app.send("li"), "TOO_MANY_APP_MESSAGE_JOBS")
