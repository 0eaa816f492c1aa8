"""What is pushed, when, and what it says."""

import datetime as dt
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.api.common.v1 import principal_pb2
from tieline.api.messaging.v1 import conversation_note_pb2, messaging_pb2
from tieline.api.messaging.v1 import push_service_pb2 as push
from tieline.chassis import grpc_server
from tieline.chassis.errors import InvalidArgumentError
from tieline.messaging.conversations.rules import Participant, member, participant_to_proto
from tieline.messaging.live import subscribers as live
from tieline.messaging.push.quiet_hours import check_quiet_hours
from tieline.messaging.push.rules import (
    PROVEN_AFTER,
    Drop,
    Facts,
    Newest,
    Push,
    PushKey,
    Shown,
    Wait,
    build_delivery_id,
    build_document,
    build_generic_text,
    decide,
    find_newest,
    find_next_try,
)
from tieline.messaging.push.targets import check_target

NOW = dt.datetime(2026, 11, 26, 12, 0, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
LI, ZHANG, WANG = member("li.wei"), member("zhang.san"), member("wang.wu")
KEY = PushKey("ww0", "session", "conversation")


def content(text: str) -> messaging_pb2.MessageContent:
    return messaging_pb2.MessageContent(text=messaging_pb2.TextContent(text=text))


SHOWN = Shown(7, ZHANG, content("good morning").SerializeToString(), NOW - 3 * SECOND, False)
FACTS = Facts(
    person=LI,
    platform="apns",
    token="the-token",
    locale="zh-CN",
    connected_time=None,
    quiet_hours=None,
    previews_hidden=False,
    conversation_kind="group",
    conversation_name="Team",
    unread_count=3,
    shown=SHOWN,
)
QUIET = check_quiet_hours(push.QuietHours(begin="11:00", end="13:00", time_zone="UTC"))


@pytest.mark.parametrize(
    ("facts", "decision"),
    [
        pytest.param(FACTS, Push(SHOWN), id="told"),
        pytest.param(None, Drop("gone"), id="the device, the place or the corp is gone"),
        pytest.param(replace(FACTS, shown=None), Drop("read"), id="read elsewhere"),
        pytest.param(
            replace(FACTS, shown=replace(SHOWN, create_time=NOW - dt.timedelta(days=1))),
            Drop("old"),
            id="a day old",
        ),
        pytest.param(
            replace(
                FACTS,
                shown=replace(SHOWN, create_time=NOW - 105 * SECOND),
                connected_time=NOW - 4 * SECOND,
            ),
            Drop("connected"),
            id="open for so long behind the message that its client was there",
        ),
        pytest.param(
            replace(FACTS, connected_time=SHOWN.create_time + SECOND / 1000),
            Wait(SHOWN.create_time + 110 * SECOND),
            id="open behind the message, and perhaps without a client",
        ),
        pytest.param(
            replace(
                FACTS,
                shown=replace(SHOWN, create_time=NOW - 110 * SECOND),
                connected_time=NOW - 11 * SECOND,
            ),
            Wait(NOW + 5 * SECOND),
            id="noted late",
        ),
        pytest.param(
            replace(
                FACTS,
                shown=replace(SHOWN, create_time=NOW - 110 * SECOND),
                connected_time=NOW - 25 * SECOND,
            ),
            Push(replace(SHOWN, create_time=NOW - 110 * SECOND)),
            id="its replica ended soon behind the message",
        ),
        pytest.param(
            replace(FACTS, connected_time=SHOWN.create_time),
            Wait(NOW + 5 * SECOND),
            id="open before it, and perhaps still",
        ),
        pytest.param(
            replace(FACTS, connected_time=NOW - 24 * SECOND), Wait(NOW + 5 * SECOND), id="of late"
        ),
        pytest.param(
            replace(FACTS, connected_time=NOW - 25 * SECOND),
            Push(SHOWN),
            id="its replica ended",
        ),
        pytest.param(
            replace(FACTS, quiet_hours=QUIET),
            Wait(dt.datetime(2026, 11, 26, 13, 0, tzinfo=dt.UTC)),
            id="quiet",
        ),
        pytest.param(
            replace(
                FACTS,
                quiet_hours=check_quiet_hours(
                    push.QuietHours(begin="11:00", end="12:00", time_zone="UTC")
                ),
            ),
            Push(SHOWN),
            id="quiet no more",
        ),
    ],
)
def test_decision(facts: Facts | None, decision: object) -> None:
    assert decide(facts, NOW) == decision


def test_client_that_is_gone_is_let_go_before_its_subscription_proves_anything() -> None:
    """By its pings or by what it does not take, and that is noted before the next look."""
    pings_s = (grpc_server.PING_INTERVAL_MS + grpc_server.PING_ANSWER_TIMEOUT_MS) / 1000

    assert max(pings_s, live.STALL_S) + 5 <= PROVEN_AFTER.total_seconds()


def message(
    sequence: int, sender: Participant = ZHANG, conversation_id: str = "c"
) -> messaging_pb2.Message:
    return messaging_pb2.Message(
        corp_id="ww0",
        conversation_id=conversation_id,
        sequence=sequence,
        sender=participant_to_proto(sender),
        content=content("x"),
    )


def note(sequence: int) -> messaging_pb2.Message:
    noted = message(sequence)
    noted.content.Clear()
    noted.content.participants_note.CopyFrom(conversation_note_pb2.ParticipantsNote())
    return noted


@pytest.mark.parametrize(
    ("messages", "newest"),
    [
        pytest.param([], [], id="none"),
        pytest.param([note(1)], [], id="notes are not pushed"),
        pytest.param([message(1)], [Newest(("ww0", "c"), 1, ZHANG, 0)], id="one"),
        pytest.param(
            [message(1), message(2), note(3)], [Newest(("ww0", "c"), 2, ZHANG, 0)], id="collapsed"
        ),
        pytest.param(
            [message(1, LI), message(2, WANG), message(3), message(4)],
            [Newest(("ww0", "c"), 4, ZHANG, 2)],
            id="the sender is told of the others'",
        ),
        pytest.param(
            [message(5), message(1, conversation_id="d")],
            [Newest(("ww0", "c"), 5, ZHANG, 0), Newest(("ww0", "d"), 1, ZHANG, 0)],
            id="each conversation",
        ),
    ],
)
def test_newest_of_a_batch(messages: list[messaging_pb2.Message], newest: list[Newest]) -> None:
    assert find_newest(messages) == newest


@given(
    st.lists(
        st.tuples(st.integers(1, 20), st.sampled_from([LI, ZHANG, WANG])),
        min_size=1,
        unique_by=lambda each: each[0],
    )
)
def test_everybody_is_told_the_newest_of_the_others_in_whichever_order(
    sent: list[tuple[int, Participant]],
) -> None:
    (newest,) = find_newest(message(*each) for each in sent)

    for person in (LI, ZHANG, WANG):
        told = newest.other_sequence if person == newest.sender else newest.sequence
        assert told == max((number for number, sender in sent if sender != person), default=0)


def test_sender_who_is_nobody_known_is_not_pushed() -> None:
    unknown = message(1)
    unknown.sender.CopyFrom(principal_pb2.PrincipalRef(id="x"))

    assert find_newest([unknown]) == []


def test_document_says_what_the_newest_message_says() -> None:
    document = build_document(KEY, FACTS, SHOWN, 12)

    assert document == {
        "delivery_id": build_delivery_id(KEY, 7),
        "corp_id": "ww0",
        "user_kind": "member",
        "user_id": "li.wei",
        "session_id": "session",
        "platform": "apns",
        "token": "the-token",
        "locale": "zh-CN",
        "collapse_key": "conversation",
        "conversation_id": "conversation",
        "unread_count": 3,
        "badge": 12,
        "previews_hidden": False,
        "text": "good morning",
        "content_kind": "text",
        "sequence": 7,
        "sender_kind": "member",
        "sender_id": "zhang.san",
        "is_mention": False,
        "conversation_kind": "group",
        "conversation_name": "Team",
        "send_time": "2026-11-26T11:59:57+00:00",
    }


def test_hidden_preview_tells_neither_what_nor_who_nor_where() -> None:
    document = build_document(KEY, replace(FACTS, previews_hidden=True), SHOWN, 12)

    assert document["text"] == "你有一条新消息"
    told = str(document)
    assert not any(secret in told for secret in ("good morning", "zhang.san", "Team", "group"))


def test_message_without_text_is_told_by_its_kind() -> None:
    image = messaging_pb2.MessageContent(image=messaging_pb2.MessageContent().image)
    image.image.SetInParent()

    document = build_document(KEY, FACTS, replace(SHOWN, content=image.SerializeToString()), 1)

    assert (document["text"], document["content_kind"]) == ("你有一条新消息", "image")


@pytest.mark.parametrize(
    ("locale", "text"),
    [
        ("", "You have a new message"),
        ("en-GB", "You have a new message"),
        ("fr", "You have a new message"),
        ("zh", "你有一条新消息"),
        ("ZH-Hant-TW", "你有一条新消息"),
    ],
)
def test_generic_text(locale: str, text: str) -> None:
    assert build_generic_text(locale) == text


def test_delivery_id_is_of_device_conversation_and_message() -> None:
    ids = {
        build_delivery_id(KEY, 7),
        build_delivery_id(KEY, 8),
        build_delivery_id(KEY._replace(corp_id="ww1"), 7),
        build_delivery_id(KEY._replace(session_id="other"), 7),
        build_delivery_id(KEY._replace(conversation_id="other"), 7),
    }

    assert len(ids) == 5
    assert build_delivery_id(KEY, 7) in ids


@pytest.mark.parametrize(
    ("failures", "delay_s"), [(1, 5), (2, 10), (3, 20), (7, 320), (8, 600), (1000, 600)]
)
def test_next_try(failures: int, delay_s: int) -> None:
    assert find_next_try(failures, NOW) == NOW + delay_s * SECOND


def target(**changes: object) -> push.RegisterPushTargetRequest:
    request = push.RegisterPushTargetRequest(
        platform=push.PUSH_PLATFORM_FCM, token="t", locale="en"
    )
    for name, value in changes.items():
        setattr(request, name, value)
    return request


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (target(platform=0), "platform"),
        (target(platform=99), "platform"),
        (target(token=""), "token"),
        (target(token="x" * 4097), "token"),
        (target(token="a\nb"), "token"),
        (target(locale="de_DE"), "locale"),
        (target(locale="x" * 36), "locale"),
    ],
)
def test_wrong_target_is_refused(request_: push.RegisterPushTargetRequest, field: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        check_target(request_)

    assert set(refused.value.violations) == {field}


def test_target_at_its_bounds_is_taken() -> None:
    assert check_target(target(token="x" * 4096, locale="x" * 35)).platform == "fcm"
