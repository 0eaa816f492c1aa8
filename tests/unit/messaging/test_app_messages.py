"""What apps may send to many, and what becomes of their jobs."""

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st

from tieline.api.messaging.v1 import app_message_service_pb2, message_content_pb2, messaging_pb2
from tieline.chassis.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
)
from tieline.messaging.app_messages import rules as app_messages
from tieline.messaging.app_messages.rules import Job, State

NOW = dt.datetime(2026, 2, 3, 4, 5, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
TEXT = messaging_pb2.MessageContent(text=messaging_pb2.TextContent(text="news"))

JOB = Job(
    corp_id="ww1",
    job_id="01980000-0000-7000-8000-000000000001",
    app_id="1000002",
    audience=b"",
    invalid=b"",
    content=TEXT.SerializeToString(),
    state=State.SENDING,
    is_listed=False,
    last_user_id="",
    recipient_count=0,
    sent_count=0,
    failed_count=0,
    recalled_count=0,
    card_version=0,
    outdated_count=0,
    failure=None,
    create_time=NOW,
    finish_time=None,
)


def audience(**fields: Any) -> app_message_service_pb2.AppMessageAudience:
    return app_message_service_pb2.AppMessageAudience(**fields)


def request(**fields: Any) -> app_message_service_pb2.SendAppMessageRequest:
    defaults = {"audience": audience(user_ids=["li"]), "content": TEXT}
    return app_message_service_pb2.SendAppMessageRequest(**{**defaults, **fields})


def markdown(size_bytes: int) -> messaging_pb2.MessageContent:
    content = message_content_pb2.MarkdownContent(text="m" * size_bytes)
    return messaging_pb2.MessageContent(markdown=content)


def replying() -> messaging_pb2.MessageContent:
    content = messaging_pb2.MessageContent(text=messaging_pb2.TextContent(text="news"))
    content.reply_to.sequence = 1
    content.mentions.everyone = True
    return content


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        pytest.param({}, set(), id="one member"),
        pytest.param({"audience": audience(everybody=True)}, set(), id="everybody"),
        pytest.param(
            {"audience": audience(everybody=True, tag_ids=[1])}, {"audience"}, id="and a tag"
        ),
        pytest.param({"audience": audience()}, {"audience"}, id="nobody"),
        pytest.param({"audience": audience(user_ids=["u"] * 1000)}, set(), id="1000 members"),
        pytest.param(
            {"audience": audience(user_ids=["u"] * 1001)}, {"audience.user_ids"}, id="1001 members"
        ),
        pytest.param({"audience": audience(department_ids=[1] * 100)}, set(), id="100 departments"),
        pytest.param(
            {"audience": audience(department_ids=[1] * 101)},
            {"audience.department_ids"},
            id="101 departments",
        ),
        pytest.param({"audience": audience(tag_ids=[1] * 100)}, set(), id="100 tags"),
        pytest.param(
            {"audience": audience(tag_ids=[1] * 101)}, {"audience.tag_ids"}, id="101 tags"
        ),
        pytest.param({"audience": audience(user_ids=["u" * 64])}, set(), id="a long id"),
        pytest.param(
            {"audience": audience(user_ids=["u" * 65])},
            {"audience.user_ids[0]"},
            id="a too long id",
        ),
        pytest.param({"content": markdown(2048)}, set(), id="2048 bytes of markdown"),
        pytest.param(
            {"content": markdown(2049)}, {"content.markdown.text"}, id="2049 bytes of markdown"
        ),
        pytest.param(
            {"content": replying()},
            {"content.reply_to", "content.mentions"},
            id="what answers and mentions",
        ),
        pytest.param(
            {"duplicate_check_interval": Duration(seconds=4 * 3600)}, set(), id="four hours"
        ),
        pytest.param(
            {"duplicate_check_interval": Duration(seconds=4 * 3600, nanos=1000)},
            {"duplicate_check_interval"},
            id="a little more",
        ),
        pytest.param(
            {"duplicate_check_interval": Duration(seconds=-1)},
            {"duplicate_check_interval"},
            id="a time to come",
        ),
        pytest.param(
            {"duplicate_check_interval": Duration(seconds=2**62)},
            {"duplicate_check_interval"},
            id="no time at all",
        ),
    ],
)
def test_a_message_to_many_is_held_to_the_limits(fields: dict[str, Any], refused: set[str]) -> None:
    try:
        app_messages.check_request(request(**fields))
        violations: set[str] = set()
    except InvalidArgumentError as error:
        violations = set(error.violations)

    assert violations == refused


@pytest.mark.parametrize(
    "content",
    [
        messaging_pb2.MessageContent(),
        messaging_pb2.MessageContent(notice=message_content_pb2.NoticeContent()),
        messaging_pb2.MessageContent(quiz=message_content_pb2.QuizContent()),
        messaging_pb2.MessageContent(red_packet=messaging_pb2.RedPacketContent()),
        messaging_pb2.MessageContent(merged_forward=messaging_pb2.MergedForwardContent()),
    ],
)
def test_what_is_for_conversations_is_not_sent_to_many(
    content: messaging_pb2.MessageContent,
) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        app_messages.check_request(request(content=content))

    assert any(path.startswith("content") for path in raised.value.violations)


@pytest.mark.parametrize(
    ("named", "invalid", "is_reached"),
    [
        ({"user_ids": ["li", "wu"]}, {"user_ids": ["li"]}, True),
        ({"user_ids": ["li", "li"]}, {"user_ids": ["li"]}, False),
        ({"user_ids": ["li"], "tag_ids": [7]}, {"user_ids": ["li"]}, True),
        ({"user_ids": ["li"], "tag_ids": [7]}, {"user_ids": ["li"], "tag_ids": [7]}, False),
        ({"department_ids": [5]}, {"department_ids": [5]}, False),
        ({"everybody": True}, {}, True),
    ],
)
def test_an_audience_is_refused_when_all_of_it_is_out_of_reach(
    named: dict[str, Any], invalid: dict[str, Any], is_reached: bool
) -> None:
    given_invalid = app_message_service_pb2.InvalidAudience(**invalid)
    try:
        app_messages.check_reachable(audience(**named), given_invalid)
        reached = True
    except FailedPreconditionError as error:
        reached = error.reason != "NO_RECIPIENTS"

    assert reached is is_reached


@pytest.mark.parametrize(
    ("in_minute", "in_hour", "is_refused"),
    [(29, 999, False), (30, 30, True), (29, 1000, True), (0, 0, False)],
)
def test_a_member_gets_so_many_messages_of_an_app(
    in_minute: int, in_hour: int, is_refused: bool
) -> None:
    assert (app_messages.find_rate_refusal(in_minute, in_hour) is not None) is is_refused


def test_an_app_has_a_hundred_jobs_under_way_at_most() -> None:
    app_messages.check_room(99)
    with pytest.raises(ResourceExhaustedError):
        app_messages.check_room(100)


@pytest.mark.parametrize(
    ("age", "is_late"),
    [(dt.timedelta(hours=24), False), (dt.timedelta(hours=24) + SECOND, True)],
)
def test_a_day_is_the_time_for_recalls_and_for_sending(age: dt.timedelta, is_late: bool) -> None:
    assert (app_messages.find_expiry(JOB, NOW + age) is not None) is is_late
    if not is_late:
        app_messages.check_recall(JOB, NOW + age)
        return
    with pytest.raises(FailedPreconditionError, match="24 hours"):
        app_messages.check_recall(JOB, NOW + age)


@given(
    user_ids=st.lists(st.sampled_from(["li", "Li", "wu", "zhang"]), min_size=1),
    seed=st.randoms(use_true_random=False),
)
def test_the_order_and_case_of_an_audience_make_no_other_message(
    user_ids: list[str], seed: Any
) -> None:
    mixed = [each.upper() for each in user_ids]
    seed.shuffle(mixed)

    digests = {
        app_messages.build_digest(request(audience=audience(user_ids=each)))
        for each in (user_ids, mixed, [*mixed, user_ids[0]])
    }

    assert len(digests) == 1
    assert app_messages.build_digest(request(audience=audience(user_ids=["other"]))) not in digests


def test_a_job_is_sent_once_all_are_found_and_nobody_waits() -> None:
    found = app_messages.add_recipients(JOB, ["li", "wu", "xu"], 1, is_last=False)
    halfway = app_messages.count_outcomes(found, 1, 0)
    done = app_messages.count_outcomes(halfway, 0, 1)
    complete = app_messages.add_recipients(done, [], 0, is_last=True)

    assert (found.last_user_id, complete.last_user_id) == ("xu", "xu")
    assert [each.waiting_count for each in (found, halfway, done)] == [2, 1, 0]
    for job in (found, halfway, done):
        assert app_messages.end_sending(job, NOW) is job
    sent = app_messages.end_sending(complete, NOW)
    assert (sent.state, sent.finish_time, sent.has_work) == (State.SENT, NOW, False)


@pytest.mark.parametrize("state", [State.SENDING, State.SENT, State.FAILED])
def test_another_card_is_work_until_everybody_has_it(state: State) -> None:
    job = replace(JOB, state=state, sent_count=2, recipient_count=2, is_listed=True)

    updated = app_messages.replace_content(job, b"other")
    once = app_messages.count_updated(updated, 1)

    assert (updated.content, updated.card_version, updated.outdated_count) == (b"other", 1, 2)
    assert once.has_work
    assert app_messages.count_updated(once, 1).has_work is (state is State.SENDING)
    assert app_messages.replace_content(once, b"third").outdated_count == 2


def test_a_recalled_job_says_nothing_and_does_nothing() -> None:
    failed = app_messages.fail(JOB, app_messages.app_disabled_error(), NOW)

    recalling = app_messages.begin_recall(failed)
    recalled = app_messages.end_recall(replace(recalling, outdated_count=1), NOW)

    assert recalling.has_work
    assert (recalled.content, recalled.has_work, recalled.failure) == (b"", False, None)
    assert app_messages.begin_recall(recalled) is recalled
    assert app_messages.begin_recall(recalling) is recalling
    for job in (recalling, recalled):
        with pytest.raises(NotFoundError):
            app_messages.replace_content(job, b"other")


def test_the_job_is_found_by_the_id_of_its_messages() -> None:
    assert app_messages.find_job_id(app_messages.build_client_message_id(JOB)) == JOB.job_id
    assert app_messages.find_job_id("else") is None
