import datetime as dt

import pytest

from tieline.api.messaging.v1 import messaging_pb2
from tieline.messaging.conversations import customer
from tieline.messaging.messages import StoredMessage, check_client_message_id, message_to_proto


def text(value: str) -> messaging_pb2.MessageContent:
    return messaging_pb2.MessageContent(text=messaging_pb2.TextContent(text=value))


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


def test_what_was_sent_first_is_known_after_edits() -> None:
    time = dt.datetime(2026, 2, 17, 9, 0, tzinfo=dt.UTC)
    sender = customer("wm1")
    plain = StoredMessage("ww", "c1", 3, sender, "m1", b"one", time)
    edited = StoredMessage(
        "ww", "c1", 3, sender, "m1", b"two", time, edit_time=time, original_content=b"one"
    )
    recalled = StoredMessage("ww", "c1", 3, sender, "m1", b"", time, recall_time=time)

    assert [plain.says(said) for said in (b"one", b"two")] == [True, False]
    assert [edited.says(said) for said in (b"one", b"two")] == [True, False]
    assert recalled.says(b"one")
    proto = message_to_proto(recalled)
    assert proto.recall_time.ToDatetime(dt.UTC) == time
    assert proto.content.WhichOneof("kind") is None
