"""Which media a message refers to, and whether its sender may. Pure."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tieline.api.messaging.v1 import messaging_pb2
from tieline.chassis.errors import FailedPreconditionError, ServiceError
from tieline.chassis.fields import is_uuid
from tieline.messaging.media.rules import MediaKind, media_not_found_error


class MediaUse(NamedTuple):
    """One medium in a message."""

    media_id: str
    kind: MediaKind | None
    """What it must be; None for anything."""


def list_media(content: messaging_pb2.MessageContent) -> tuple[MediaUse, ...]:
    """Return what a message refers to, each once, in the order in which it is told."""
    # Most messages are texts, and are spared the rest.
    if content.HasField("text"):
        return ()
    return tuple(dict.fromkeys(use for use in _list_all(content) if use.media_id))


def check_uses(
    uses: tuple[MediaUse, ...], readable: Mapping[str, MediaKind]
) -> ServiceError | None:
    """Return why a message may not refer to these media; ``readable`` are those of its sender."""
    for use in uses:
        kind = readable.get(use.media_id)
        if kind is None:
            return media_not_found_error(use.media_id)
        if use.kind not in (None, kind):
            return FailedPreconditionError(
                "MEDIA_KIND_WRONG",
                f"the medium is of kind {kind.value}",
                {"mediaId": use.media_id, "kind": kind.value},
            )
    return None


def can_be_looked_up(media_id: str) -> bool:
    """Tell whether it can be the id of a medium at all."""
    return is_uuid(media_id)


def _list_all(content: messaging_pb2.MessageContent) -> Iterator[MediaUse]:
    match content.WhichOneof("kind"):
        case "image":
            yield MediaUse(content.image.media_id, MediaKind.IMAGE)
        case "voice":
            yield MediaUse(content.voice.media_id, MediaKind.VOICE)
        case "video":
            yield MediaUse(content.video.media_id, MediaKind.VIDEO)
            yield MediaUse(content.video.cover_media_id, MediaKind.IMAGE)
        case "file":
            # What was taken in as an image may be passed on as a file.
            yield MediaUse(content.file.media_id, None)
        case "mini_program_card":
            yield MediaUse(content.mini_program_card.cover_media_id, MediaKind.IMAGE)
        case "notice":
            for media_id in content.notice.media_ids:
                yield MediaUse(media_id, None)
        case "merged_forward":
            for forwarded in content.merged_forward.messages:
                yield from _list_all(forwarded.content)
        case _:
            return
