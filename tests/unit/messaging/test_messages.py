import datetime as dt
import uuid

import pytest

from tieline.api.messaging.v1 import messaging_pb2, messaging_service_pb2
from tieline.chassis.grpc_server import MAX_MESSAGE_BYTES
from tieline.messaging.conversations import customer
from tieline.messaging.messages import (
    MAX_CONTENT_BYTES,
    StoredMessage,
    check_client_message_id,
    check_content,
    message_to_proto,
)

PACKET_ID = str(uuid.UUID(int=7))


def text(value: str) -> messaging_pb2.MessageContent:
    return messaging_pb2.MessageContent(text=messaging_pb2.TextContent(text=value))


def red_packet(red_packet_id: str = PACKET_ID, greeting: str = "") -> messaging_pb2.MessageContent:
    packet = messaging_pb2.RedPacketContent(red_packet_id=red_packet_id, greeting=greeting)
    return messaging_pb2.MessageContent(red_packet=packet)


def with_unknown_field(known: bytes, size: int) -> bytes:
    """Append field 15 with so many bytes, fewer than 16,384."""
    length = bytes([size]) if size < 128 else bytes([size & 0x7F | 0x80, size >> 7])
    return known + b"\x7a" + length + b"x" * size


def content_with_unknown_field(size: int) -> messaging_pb2.MessageContent:
    known = text("x" * 2048).SerializeToString()
    return messaging_pb2.MessageContent.FromString(with_unknown_field(known, size))


def text_with_unknown_field(size: int) -> messaging_pb2.MessageContent:
    known = messaging_pb2.TextContent(text="hi").SerializeToString()
    inner = messaging_pb2.TextContent.FromString(with_unknown_field(known, size))
    return messaging_pb2.MessageContent(text=inner)


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        pytest.param(text("x"), None, id="one byte"),
        pytest.param(text(""), "content.text.text", id="empty text"),
        pytest.param(text("x" * 2048), None, id="longest text"),
        pytest.param(text("x" * 2049), "content.text.text", id="one byte too many"),
        pytest.param(text("好" * 682), None, id="bytes are counted, 2046"),
        pytest.param(text("好" * 683), "content.text.text", id="bytes are counted, 2049"),
        pytest.param(text("a\nb"), None, id="lines"),
        pytest.param(text("a\0b"), "content.text.text", id="NUL"),
        pytest.param(red_packet(), None, id="packet without greeting"),
        pytest.param(red_packet(greeting="恭" * 128), None, id="characters are counted, 128"),
        pytest.param(
            red_packet(greeting="恭" * 129), "content.red_packet.greeting", id="long greeting"
        ),
        pytest.param(
            red_packet(greeting="a\nb"), "content.red_packet.greeting", id="greeting of two lines"
        ),
        pytest.param(red_packet(""), "content.red_packet.red_packet_id", id="no packet"),
        pytest.param(
            red_packet(PACKET_ID.replace("-", "")),
            "content.red_packet.red_packet_id",
            id="packet id spelled otherwise",
        ),
        pytest.param(messaging_pb2.MessageContent(), "content", id="no kind"),
        pytest.param(
            messaging_pb2.MessageContent.FromString(b"\x7a\x00"), "content", id="unknown kind"
        ),
        pytest.param(content_with_unknown_field(56), None, id="2,112 bytes with unknown field"),
        pytest.param(
            content_with_unknown_field(57), "content", id="2,113 bytes with unknown field"
        ),
        pytest.param(text_with_unknown_field(3000), "content", id="unknown field within the text"),
    ],
)
def test_content_follows_the_rules_of_its_kind(
    content: messaging_pb2.MessageContent, wrong: str | None
) -> None:
    violations: dict[str, str] = {}

    check_content(content, violations)

    assert set(violations) == ({wrong} if wrong else set())


def test_page_of_the_longest_messages_fits_into_a_response() -> None:
    content = content_with_unknown_field(56)
    assert content.ByteSize() == MAX_CONTENT_BYTES
    longest = StoredMessage(
        "w" * 64,
        "c" * 64,
        2**63 - 1,
        customer("w" * 64),
        "m" * 64,
        content.SerializeToString(),
        dt.datetime.max.replace(tzinfo=dt.UTC),
    )

    response = messaging_service_pb2.ListMessagesResponse(
        messages=[message_to_proto(longest)] * 1000, last_sequence=2**63 - 1
    )

    assert response.ByteSize() < MAX_MESSAGE_BYTES


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
