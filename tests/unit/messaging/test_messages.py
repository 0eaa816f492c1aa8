import datetime as dt
from collections.abc import Mapping

import pytest

from tieline.api.messaging.v1 import conversation_note_pb2, message_content_pb2, messaging_pb2
from tieline.chassis.errors import InvalidArgumentError
from tieline.chassis.ids import new_uuid7
from tieline.messaging.conversations.rules import Participant, app, customer, member
from tieline.messaging.messages.change_rules import check_edit
from tieline.messaging.messages.rules import (
    StoredMessage,
    build_send,
    check_client_message_id,
    digest_content,
    message_to_proto,
)


def text(value: str) -> messaging_pb2.MessageContent:
    return messaging_pb2.MessageContent(text=messaging_pb2.TextContent(text=value))


def markdown(value: str) -> messaging_pb2.MessageContent:
    return messaging_pb2.MessageContent(markdown=message_content_pb2.MarkdownContent(text=value))


@pytest.mark.parametrize(
    ("sender", "size_bytes", "is_allowed"),
    [
        (app("1000002"), 2048, True),
        (app("1000002"), 2049, False),
        (member("li.wei"), 2049, True),
        (member("li.wei"), 4096, True),
        (member("li.wei"), 4097, False),
        (customer("wm1"), 4096, True),
        (customer("wm1"), 4097, False),
    ],
)
def test_markdown_of_an_app_has_half_of_what_people_may_send(
    sender: Participant, size_bytes: int, is_allowed: bool
) -> None:
    """Bytes, not characters; and the same when it is edited."""
    key, content = (
        ("wwcorp", new_uuid7()),
        markdown("好" * (size_bytes // 3) + "x" * (size_bytes % 3)),
    )
    now = dt.datetime.now(dt.UTC)
    said = StoredMessage(*key, 1, sender, "c1", markdown("before").SerializeToString(), now)
    refusals: list[Mapping[str, str]] = []

    for call in (
        lambda: build_send((key[0], sender), key[1], "c2", content),
        lambda: check_edit(said, sender, content, now, 0),
    ):
        try:
            call()
        except InvalidArgumentError as error:
            refusals.append(error.violations)

    assert [set(each) for each in refusals] == (
        [] if is_allowed else [{"content.markdown.text"}] * 2
    )


@pytest.mark.parametrize(
    ("value", "is_allowed"),
    [
        pytest.param("", False, id="empty"),
        pytest.param("x", True, id="one byte"),
        pytest.param("x" * 64, True, id="longest"),
        pytest.param("x" * 65, False, id="one byte too many"),
        pytest.param("好" * 22, False, id="bytes are counted, 66"),
        pytest.param("a\0b", False, id="NUL"),
        pytest.param("a\nb", False, id="forges log lines"),
    ],
)
def test_client_message_id_has_1_to_64_plain_bytes(value: str, is_allowed: bool) -> None:
    violations: dict[str, str] = {}

    check_client_message_id(value, violations)

    assert (not violations) is is_allowed


def test_stored_message_is_shown_whole() -> None:
    time = dt.datetime(2026, 2, 17, 9, 0, 0, 123456, tzinfo=dt.UTC)
    stored = StoredMessage(
        "wwcorp", "c1", 3, customer("wm1"), "m1", text("hi").SerializeToString(), time
    )

    proto = message_to_proto(stored)

    assert (proto.corp_id, proto.conversation_id, proto.sequence) == ("wwcorp", "c1", 3)
    assert (proto.sender.id, proto.client_message_id) == ("wm1", "m1")
    assert proto.content == text("hi")
    assert proto.create_time.ToDatetime(dt.UTC) == time


@pytest.mark.parametrize(("visible_from", "is_told"), [(0, True), (2, True), (3, False)])
def test_what_an_edited_message_says_is_told_to_who_sees_it(
    visible_from: int, is_told: bool
) -> None:
    time = dt.datetime(2026, 2, 17, 9, 0, tzinfo=dt.UTC)
    note = conversation_note_pb2.EditNote(sequence=3, content=b"what it says")
    content = messaging_pb2.MessageContent(edit_note=note).SerializeToString()
    stored = StoredMessage("wwcorp", "c1", 9, member("li.wei"), "", content, time)

    shown = message_to_proto(stored, visible_from).content.edit_note

    assert (shown.sequence, bool(shown.content)) == (3, is_told)


def test_what_was_sent_first_is_known_after_edits_and_recalls() -> None:
    time = dt.datetime(2026, 2, 17, 9, 0, tzinfo=dt.UTC)
    sender = customer("wm1")
    plain = StoredMessage("ww", "c1", 3, sender, "m1", b"one", time)
    edited = StoredMessage(
        "ww", "c1", 3, sender, "m1", b"two", time, edit_time=time, original_content=b"one"
    )
    unknown = StoredMessage("ww", "c1", 3, sender, "m1", b"", time, recall_time=time)
    recalled = unknown._replace(recalled_digest=digest_content(edited.first_content))

    assert [plain.says(said) for said in (b"one", b"two")] == [True, False]
    assert [edited.says(said) for said in (b"one", b"two")] == [True, False]
    assert [recalled.says(said) for said in (b"one", b"two", b"")] == [True, False, False]
    assert unknown.says(b"one")
    assert unknown.says(b"two")
    proto = message_to_proto(recalled)
    assert proto.recall_time.ToDatetime(dt.UTC) == time
    assert proto.content.WhichOneof("kind") is None
