"""The rules of what messages say, a function for each kind. Pure.

Kinds below 50 are what people say, those from 50 on the notes that the service makes. A kind that
this version does not know is kept as it came, within the limit of a content.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from google.protobuf.unknown_fields import UnknownFieldSet

from tieline.api.common.v1 import principal_pb2
from tieline.api.messaging.v1 import message_content_pb2, messaging_pb2
from tieline.chassis.fields import check_text, is_uuid
from tieline.messaging.contents.checks import (
    check_bytes,
    check_id,
    check_length,
    check_media_id,
    check_range,
    check_url,
)
from tieline.messaging.contents.template_cards import (
    check_answering,
    check_options,
    check_template_card,
)

# The open API's limits (document 90236). Its robots in groups may send twice an app's markdown, and
# people what robots may.
MAX_TEXT_BYTES = 2048
MAX_APP_MARKDOWN_BYTES = 2048
MAX_MARKDOWN_BYTES = 4096

# A notice in four-byte characters that mentions a hundred people. Fields that this version does
# not know count as well.
MAX_CONTENT_BYTES = 16 * 1024

# What the service makes itself.
MAX_FORWARD_BYTES = 32 * 1024

MAX_GREETING_CHARACTERS = 128
MAX_NOTICE_CHARACTERS = 2048
MAX_NOTICE_MEDIA = 9
MAX_MENTIONS = 100
MAX_QUOTE_CHARACTERS = 256
MAX_QUIZ_OPTIONS = 10

FIRST_NOTE_NUMBER = 50
_FIRST_ATTRIBUTE_NUMBER = 100
_MAX_VOICE_MS = 60_000
_MAX_VIDEO_MS = 24 * 60 * 60 * 1000
_MAX_FILE_BYTES = 100 * 1024**3
_MAX_PIXELS = 65_535
_MAX_FILE_NAME_BYTES = 255

Violations = dict[str, str]

_MENTIONABLE = (principal_pb2.PRINCIPAL_KIND_MEMBER, principal_pb2.PRINCIPAL_KIND_CUSTOMER)
_KIND_NUMBERS: Mapping[str, int] = MappingProxyType(
    {
        field.name: field.number
        for field in messaging_pb2.MessageContent.DESCRIPTOR.oneofs_by_name["kind"].fields
    }
)


def check_content(content: messaging_pb2.MessageContent, violations: Violations) -> None:
    """Refuse a content that is too large, can't be sent, or breaks the rules of its kind."""
    check_size(content, violations)
    if "content" in violations:
        return
    kind = content.WhichOneof("kind")
    if kind == "text":
        _check_text(content.text, "content.text", violations)
    elif kind is None:
        _check_unknown_kind(content, violations)
    else:
        check = _CHECKS.get(kind)
        if check is None:
            violations[f"content.{kind}"] = "is made by the service, not to be sent"
        else:
            check(getattr(content, kind), f"content.{kind}", violations)
    if content.HasField("reply_to"):
        _check_reply(content.reply_to, violations)
    if content.HasField("mentions"):
        _check_mentions(content.mentions, violations)
    if content.HasField("forwarded_from"):
        violations["content.forwarded_from"] = "is set by the service"


def check_size(content: messaging_pb2.MessageContent, violations: Violations) -> None:
    """Refuse a content that is too large for anything else to look at: a call may bring 4 MiB."""
    if content.ByteSize() > MAX_CONTENT_BYTES:
        violations["content"] = f"must have at most {MAX_CONTENT_BYTES} bytes"


def check_app_markdown(content: messaging_pb2.MessageContent, violations: Violations) -> None:
    """Refuse more markdown than an app may send, in a job or itself."""
    if len(content.markdown.text.encode()) > MAX_APP_MARKDOWN_BYTES:
        violations["content.markdown.text"] = (
            f"must be at most {MAX_APP_MARKDOWN_BYTES} bytes of an app"
        )


def is_note(content: messaging_pb2.MessageContent) -> bool:
    """Return whether the service made this to tell what happened."""
    kind = content.WhichOneof("kind")
    return kind is not None and _KIND_NUMBERS[kind] >= FIRST_NOTE_NUMBER


def find_text(content: messaging_pb2.MessageContent) -> str:
    """Return the running text of a content, empty for kinds that have none."""
    kind = content.WhichOneof("kind")
    if kind in ("text", "markdown", "notice"):
        text: str = getattr(content, kind).text
        return text
    return content.quiz.question if kind == "quiz" else ""


def _check_unknown_kind(content: messaging_pb2.MessageContent, violations: Violations) -> None:
    unknown = UnknownFieldSet(content)
    numbers = [unknown[index].field_number for index in range(len(unknown))]
    if any(FIRST_NOTE_NUMBER <= number < _FIRST_ATTRIBUTE_NUMBER for number in numbers):
        violations["content"] = "is made by the service, not to be sent"
    elif not any(number < FIRST_NOTE_NUMBER for number in numbers):
        violations["content"] = "must have a kind, such as text"


def _check_text(content: messaging_pb2.TextContent, path: str, violations: Violations) -> None:
    check_bytes(content.text, f"{path}.text", violations, minimum=1, maximum=MAX_TEXT_BYTES)


def _check_markdown(
    content: message_content_pb2.MarkdownContent, path: str, violations: Violations
) -> None:
    check_bytes(content.text, f"{path}.text", violations, minimum=1, maximum=MAX_MARKDOWN_BYTES)


def _check_red_packet(
    content: messaging_pb2.RedPacketContent, path: str, violations: Violations
) -> None:
    if not is_uuid(content.red_packet_id):
        violations[f"{path}.red_packet_id"] = "must be the UUID of a red packet"
    check_text(
        content.greeting,
        f"{path}.greeting",
        violations,
        minimum=0,
        maximum=MAX_GREETING_CHARACTERS,
    )


def _check_image(
    content: message_content_pb2.ImageContent, path: str, violations: Violations
) -> None:
    check_media_id(content.media_id, f"{path}.media_id", violations)
    check_range(content.width, f"{path}.width", violations, 0, _MAX_PIXELS)
    check_range(content.height, f"{path}.height", violations, 0, _MAX_PIXELS)


def _check_voice(
    content: message_content_pb2.VoiceContent, path: str, violations: Violations
) -> None:
    check_media_id(content.media_id, f"{path}.media_id", violations)
    check_range(content.duration_ms, f"{path}.duration_ms", violations, 1, _MAX_VOICE_MS)


def _check_video(
    content: message_content_pb2.VideoContent, path: str, violations: Violations
) -> None:
    check_media_id(content.media_id, f"{path}.media_id", violations)
    check_range(content.duration_ms, f"{path}.duration_ms", violations, 0, _MAX_VIDEO_MS)
    check_bytes(content.title, f"{path}.title", violations, maximum=128)
    check_bytes(content.description, f"{path}.description", violations, maximum=512)
    check_media_id(content.cover_media_id, f"{path}.cover_media_id", violations, optional=True)


def _check_file(
    content: message_content_pb2.FileContent, path: str, violations: Violations
) -> None:
    check_media_id(content.media_id, f"{path}.media_id", violations)
    check_range(content.size_bytes, f"{path}.size_bytes", violations, 0, _MAX_FILE_BYTES)
    check_text(content.name, f"{path}.name", violations, minimum=1, maximum=_MAX_FILE_NAME_BYTES)
    check_bytes(content.name, f"{path}.name", violations, maximum=_MAX_FILE_NAME_BYTES)
    if "/" in content.name or "\\" in content.name:
        violations[f"{path}.name"] = "must be a name, not a path"


def _check_link_card(
    content: message_content_pb2.LinkCardContent, path: str, violations: Violations
) -> None:
    check_text(content.title, f"{path}.title", violations, minimum=1, maximum=128)
    check_length(content.description, f"{path}.description", violations, maximum=512)
    check_url(content.url, f"{path}.url", violations)
    check_url(content.picture_url, f"{path}.picture_url", violations, optional=True)
    check_text(content.button_text, f"{path}.button_text", violations, minimum=0, maximum=4)


def _check_mini_program_card(
    content: message_content_pb2.MiniProgramCardContent, path: str, violations: Violations
) -> None:
    check_id(content.app_id, f"{path}.app_id", violations, maximum=64)
    check_bytes(content.page, f"{path}.page", violations, maximum=1024)
    check_text(content.title, f"{path}.title", violations, minimum=1, maximum=64)
    check_media_id(content.cover_media_id, f"{path}.cover_media_id", violations, optional=True)


def _check_location(
    content: message_content_pb2.LocationContent, path: str, violations: Violations
) -> None:
    check_range(content.latitude, f"{path}.latitude", violations, -90, 90)
    check_range(content.longitude, f"{path}.longitude", violations, -180, 180)
    check_text(content.name, f"{path}.name", violations, minimum=0, maximum=128)
    check_text(content.address, f"{path}.address", violations, minimum=0, maximum=256)


def _check_contact_card(
    content: message_content_pb2.ContactCardContent, path: str, violations: Violations
) -> None:
    if content.contact.kind not in _MENTIONABLE or not 1 <= len(content.contact.id) <= 64:
        violations[f"{path}.contact"] = "must name a member or a customer"
    check_text(content.display_name, f"{path}.display_name", violations, minimum=1, maximum=64)


def _check_notice(
    content: message_content_pb2.NoticeContent, path: str, violations: Violations
) -> None:
    check_text(content.title, f"{path}.title", violations, minimum=1, maximum=128)
    check_length(content.text, f"{path}.text", violations, minimum=1, maximum=MAX_NOTICE_CHARACTERS)
    if len(content.media_ids) > MAX_NOTICE_MEDIA:
        violations[f"{path}.media_ids"] = f"must be at most {MAX_NOTICE_MEDIA}"
        return
    for index, media_id in enumerate(content.media_ids):
        check_media_id(media_id, f"{path}.media_ids[{index}]", violations)


def _check_quiz(
    content: message_content_pb2.QuizContent, path: str, violations: Violations
) -> None:
    check_length(content.question, f"{path}.question", violations, minimum=1, maximum=256)
    check_options(content.options, f"{path}.options", violations, 2, MAX_QUIZ_OPTIONS)
    check_answering(content, path, violations)


def _check_reply(reply: message_content_pb2.ReplyTo, violations: Violations) -> None:
    if reply.sequence < 1:
        violations["content.reply_to.sequence"] = "must be the number of a message"
    check_length(reply.quote, "content.reply_to.quote", violations, maximum=MAX_QUOTE_CHARACTERS)


def _check_mentions(mentions: message_content_pb2.Mentions, violations: Violations) -> None:
    path = "content.mentions.participants"
    if len(mentions.participants) > MAX_MENTIONS:
        violations[path] = f"must be at most {MAX_MENTIONS}"
        return
    if not mentions.participants and not mentions.everyone:
        violations["content.mentions"] = "must name somebody or everyone"
    for index, ref in enumerate(mentions.participants):
        if ref.kind not in _MENTIONABLE or not 1 <= len(ref.id) <= 64 or "\0" in ref.id:
            violations[f"{path}[{index}]"] = "must name a member or a customer"


_CHECKS: Mapping[str, Callable[[Any, str, Violations], None]] = MappingProxyType(
    {
        "text": _check_text,
        "red_packet": _check_red_packet,
        "markdown": _check_markdown,
        "image": _check_image,
        "voice": _check_voice,
        "video": _check_video,
        "file": _check_file,
        "link_card": _check_link_card,
        "mini_program_card": _check_mini_program_card,
        "template_card": check_template_card,
        "location": _check_location,
        "contact_card": _check_contact_card,
        "notice": _check_notice,
        "quiz": _check_quiz,
    }
)
