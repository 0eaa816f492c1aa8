import pytest

from tieline.api.messaging.v1 import message_content_pb2 as contents
from tieline.api.messaging.v1 import messaging_pb2
from tieline.messaging.media.rules import MediaKind
from tieline.messaging.media.uses import MediaUse, check_uses, list_media

Content = messaging_pb2.MessageContent

IMAGE = Content(image=contents.ImageContent(media_id="i"))
VIDEO = Content(video=contents.VideoContent(media_id="v", cover_media_id="c"))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (Content(text=messaging_pb2.TextContent(text="i")), []),
        (IMAGE, [("i", MediaKind.IMAGE)]),
        (Content(voice=contents.VoiceContent(media_id="a")), [("a", MediaKind.VOICE)]),
        (VIDEO, [("v", MediaKind.VIDEO), ("c", MediaKind.IMAGE)]),
        (Content(video=contents.VideoContent(media_id="v")), [("v", MediaKind.VIDEO)]),
        (Content(file=contents.FileContent(media_id="f")), [("f", None)]),
        (
            Content(mini_program_card=contents.MiniProgramCardContent(cover_media_id="c")),
            [("c", MediaKind.IMAGE)],
        ),
        (
            Content(notice=contents.NoticeContent(media_ids=["a", "b", "a"])),
            [("a", None), ("b", None)],
        ),
        (
            Content(
                merged_forward=messaging_pb2.MergedForwardContent(
                    messages=[
                        messaging_pb2.ForwardedMessage(content=each)
                        for each in (IMAGE, VIDEO, IMAGE)
                    ]
                )
            ),
            [("i", MediaKind.IMAGE), ("v", MediaKind.VIDEO), ("c", MediaKind.IMAGE)],
        ),
    ],
)
def test_what_a_message_refers_to(content: Content, expected: list[MediaUse]) -> None:
    assert list(list_media(content)) == expected


def test_every_media_field_of_a_content_is_known() -> None:
    """A new kind with a media id must be added to `list_media`."""
    known = {"image", "voice", "video", "file", "mini_program_card", "notice"}
    with_media = {
        kind.name
        for kind in Content.DESCRIPTOR.oneofs_by_name["kind"].fields
        if kind.message_type is not None
        and any("media_id" in each.name for each in kind.message_type.fields)
    }

    assert with_media == known


@pytest.mark.parametrize(
    ("readable", "reason"),
    [
        ({"v": MediaKind.VIDEO, "c": MediaKind.IMAGE}, None),
        ({"v": MediaKind.VIDEO}, "MEDIA_NOT_FOUND"),
        ({"v": MediaKind.FILE, "c": MediaKind.IMAGE}, "MEDIA_KIND_WRONG"),
        ({}, "MEDIA_NOT_FOUND"),
    ],
)
def test_why_a_message_may_not_refer_to_it(
    readable: dict[str, MediaKind], reason: str | None
) -> None:
    refusal = check_uses(list_media(VIDEO), readable)

    assert (refusal and refusal.reason) == reason
