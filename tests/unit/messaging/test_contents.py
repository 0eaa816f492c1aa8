import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.api.common.v1 import principal_pb2
from tieline.api.messaging.v1 import (
    conversation_note_pb2,
    message_content_pb2,
    messaging_pb2,
)
from tieline.messaging.contents.rules import MAX_CONTENT_BYTES, check_content, find_text, is_note

Content = messaging_pb2.MessageContent

PACKET_ID = str(uuid.UUID(int=7))
MEMBER = principal_pb2.PrincipalRef(kind=principal_pb2.PRINCIPAL_KIND_MEMBER, id="li.wei")
ADMINISTRATOR = principal_pb2.PrincipalRef(
    kind=principal_pb2.PRINCIPAL_KIND_PLATFORM_ADMINISTRATOR, id="root"
)
URL = "https://example.com/a?b#c"


def text(value: str) -> Content:
    return Content(text=messaging_pb2.TextContent(text=value))


def red_packet(red_packet_id: str = PACKET_ID, greeting: str = "") -> Content:
    return Content(
        red_packet=messaging_pb2.RedPacketContent(red_packet_id=red_packet_id, greeting=greeting)
    )


def build(kind: str, **fields: Any) -> Content:
    descriptor = Content.DESCRIPTOR.fields_by_name[kind]
    assert descriptor.message_type is not None
    message_type = getattr(message_content_pb2, descriptor.message_type.name)
    return Content(**{kind: message_type(**fields)})


def with_unknown_field(content: Content, number: int, size: int) -> Content:
    """Append a field that this version does not know, of so many bytes, fewer than 2,097,152."""
    tag = _varint(number << 3 | 2)
    return Content.FromString(content.SerializeToString() + tag + _varint(size) + b"x" * size)


def _varint(value: int) -> bytes:
    low, high = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(high) if high else bytes([low])


def options(count: int) -> list[message_content_pb2.QuizOption]:
    return [message_content_pb2.QuizOption(key=f"k{n}", text=f"answer {n}") for n in range(count)]


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
        pytest.param(build("markdown", text="# " + "x" * 4094), None, id="longest markdown"),
        pytest.param(build("markdown", text="x" * 4097), "content.markdown.text", id="markdown"),
        pytest.param(build("image", media_id="m-1_"), None, id="image"),
        pytest.param(build("image", media_id="a/b"), "content.image.media_id", id="media path"),
        pytest.param(build("image", media_id="m" * 129), "content.image.media_id", id="media id"),
        pytest.param(build("image", media_id="m", width=-1), "content.image.width", id="width"),
        pytest.param(build("voice", media_id="m", duration_ms=60_000), None, id="a minute"),
        pytest.param(
            build("voice", media_id="m", duration_ms=60_001), "content.voice.duration_ms", id="long"
        ),
        pytest.param(build("voice", media_id="m"), "content.voice.duration_ms", id="no length"),
        pytest.param(build("video", media_id="m", title="x" * 128), None, id="video"),
        pytest.param(
            build("video", media_id="m", title="x" * 129), "content.video.title", id="video title"
        ),
        pytest.param(
            build("video", media_id="m", description="x" * 513),
            "content.video.description",
            id="video description",
        ),
        pytest.param(build("file", media_id="m", name="a.pdf", size_bytes=1), None, id="file"),
        pytest.param(build("file", media_id="m", name="../a"), "content.file.name", id="path"),
        pytest.param(build("file", media_id="m"), "content.file.name", id="no name"),
        pytest.param(
            build("file", media_id="m", name="a", size_bytes=-1), "content.file.size_bytes", id="-1"
        ),
        pytest.param(build("link_card", title="t", url=URL), None, id="link"),
        pytest.param(build("link_card", title="t"), "content.link_card.url", id="no address"),
        pytest.param(
            build("link_card", title="t", url="javascript:alert(1)"),
            "content.link_card.url",
            id="script",
        ),
        pytest.param(
            build("link_card", title="t", url="https://e.com/" + "x" * 2035),
            "content.link_card.url",
            id="2049 bytes of address",
        ),
        pytest.param(
            build("link_card", title="t", url="https://e.com/a b"),
            "content.link_card.url",
            id="gap",
        ),
        pytest.param(
            build("mini_program_card", app_id="wx1", title="t", page="p" * 1024), None, id="program"
        ),
        pytest.param(
            build("mini_program_card", app_id="", title="t"),
            "content.mini_program_card.app_id",
            id="no program",
        ),
        pytest.param(build("location", latitude=90, longitude=-180), None, id="the pole"),
        pytest.param(
            build("location", latitude=90.1), "content.location.latitude", id="beyond the pole"
        ),
        pytest.param(
            build("location", latitude=float("nan")), "content.location.latitude", id="nowhere"
        ),
        pytest.param(build("contact_card", contact=MEMBER, display_name="李"), None, id="contact"),
        pytest.param(
            build("contact_card", contact=ADMINISTRATOR, display_name="x"),
            "content.contact_card.contact",
            id="nobody's contact",
        ),
        pytest.param(build("notice", title="t", text="好" * 2048), None, id="longest notice"),
        pytest.param(
            build("notice", title="t", text="好" * 2049), "content.notice.text", id="long notice"
        ),
        pytest.param(
            build("notice", title="t", text="x", media_ids=["m"] * 10),
            "content.notice.media_ids",
            id="ten pictures",
        ),
        pytest.param(build("quiz", question="q", options=options(10)), None, id="ten answers"),
        pytest.param(
            build("quiz", question="q", options=options(11)), "content.quiz.options", id="eleven"
        ),
        pytest.param(
            build("quiz", question="q", options=options(1)), "content.quiz.options", id="one answer"
        ),
        pytest.param(
            build("quiz", question="q", options=options(1) * 2),
            "content.quiz.options",
            id="one key twice",
        ),
        pytest.param(Content(), "content", id="no kind"),
        pytest.param(with_unknown_field(Content(), 40, 0), None, id="kind of a newer client"),
        pytest.param(with_unknown_field(Content(), 49, 9000), None, id="large one"),
        pytest.param(with_unknown_field(Content(), 60, 3), "content", id="note of a newer service"),
        pytest.param(with_unknown_field(Content(), 110, 3), "content", id="attribute alone"),
        pytest.param(with_unknown_field(text("x"), 110, 3), None, id="attribute of a newer client"),
        pytest.param(
            with_unknown_field(Content(), 40, MAX_CONTENT_BYTES), "content", id="too large"
        ),
        pytest.param(
            Content(merged_forward=messaging_pb2.MergedForwardContent(title="t")),
            "content.merged_forward",
            id="forged forward",
        ),
        pytest.param(
            Content(dismiss_note=conversation_note_pb2.DismissNote()),
            "content.dismiss_note",
            id="forged note",
        ),
    ],
)
def test_content_follows_the_rules_of_its_kind(content: Content, wrong: str | None) -> None:
    violations: dict[str, str] = {}

    check_content(content, violations)

    assert set(violations) == ({wrong} if wrong else set())


@pytest.mark.parametrize("extra", [0, 1])
def test_content_at_its_largest(extra: int) -> None:
    known = with_unknown_field(text("x" * 2048), 40, 1000)
    free = MAX_CONTENT_BYTES - known.ByteSize()
    # Tag and length of the field that fills it up.
    content = with_unknown_field(known, 41, free - 4 + extra)
    violations: dict[str, str] = {}

    check_content(content, violations)

    assert content.ByteSize() == MAX_CONTENT_BYTES + extra
    assert bool(violations) is bool(extra)


def test_of_what_is_too_large_nothing_else_is_looked_at() -> None:
    content = build("notice", text="x" * MAX_CONTENT_BYTES, media_ids=["/"] * 5)
    content.mentions.participants.extend([ADMINISTRATOR] * 5)
    violations: dict[str, str] = {}

    check_content(content, violations)

    assert set(violations) == {"content"}


@pytest.mark.parametrize(
    ("reply", "wrong"),
    [
        pytest.param({"sequence": 1}, None, id="first message"),
        pytest.param({"sequence": 0}, "content.reply_to.sequence", id="none"),
        pytest.param({"sequence": 1, "quote": "好" * 256}, None, id="longest quote"),
        pytest.param({"sequence": 1, "quote": "x" * 257}, "content.reply_to.quote", id="long"),
    ],
)
def test_reply_names_a_message(reply: dict[str, Any], wrong: str | None) -> None:
    content = text("x")
    content.reply_to.CopyFrom(message_content_pb2.ReplyTo(**reply))
    violations: dict[str, str] = {}

    check_content(content, violations)

    assert set(violations) == ({wrong} if wrong else set())


@pytest.mark.parametrize(
    ("mentions", "wrong"),
    [
        pytest.param({"everyone": True}, None, id="everyone"),
        pytest.param({"participants": [MEMBER] * 100}, None, id="a hundred"),
        pytest.param(
            {"participants": [MEMBER] * 101}, "content.mentions.participants", id="one more"
        ),
        pytest.param({"participants": [MEMBER] * 10_000}, "content", id="10,000"),
        pytest.param(
            {"participants": [ADMINISTRATOR]},
            "content.mentions.participants[0]",
            id="administrator",
        ),
        pytest.param({}, "content.mentions", id="nobody"),
    ],
)
def test_mentions_are_bounded(mentions: dict[str, Any], wrong: str | None) -> None:
    content = text("x")
    content.mentions.CopyFrom(message_content_pb2.Mentions(**mentions))
    violations: dict[str, str] = {}

    check_content(content, violations)

    assert wrong in violations if wrong else not violations


def test_text_of_a_content_is_what_can_be_quoted() -> None:
    assert find_text(text("hello")) == "hello"
    assert find_text(build("notice", title="t", text="all")) == "all"
    assert find_text(build("quiz", question="q?", options=options(2))) == "q?"
    assert find_text(red_packet(greeting="joy")) == ""


def test_notes_are_told_from_what_people_say() -> None:
    assert is_note(Content(dismiss_note=conversation_note_pb2.DismissNote()))
    assert not is_note(text("x"))
    assert not is_note(with_unknown_field(Content(), 40, 1))


@given(data=st.binary(max_size=200), number=st.integers(16, 49))
def test_unknown_kind_is_kept_byte_for_byte(data: bytes, number: int) -> None:
    sent = _varint(number << 3 | 2) + _varint(len(data)) + data
    content = Content.FromString(sent)
    violations: dict[str, str] = {}

    check_content(content, violations)

    assert not violations
    assert content.SerializeToString(deterministic=True) == sent
