"""The rules of media: how large each kind may be, what a name may be, how one is shown. Pure."""

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from tieline.api.messaging.v1 import media_service_pb2
from tieline.chassis.errors import FailedPreconditionError, NotFoundError
from tieline.chassis.fields import check_text, is_uuid, raise_violations, to_timestamp
from tieline.messaging.conversations.rules import Participant, participant_to_proto

MIB = 1024 * 1024
MIN_SIZE_BYTES = 6
"""The open API takes more than 5 bytes."""

MAX_NAME_CHARACTERS = 128
SHA256_BYTES = 32
MAX_CHUNK_BYTES = MIB

UPLOAD_LIFETIME = dt.timedelta(hours=24)
TEMPORARY_LIFETIME = dt.timedelta(days=3)
"""As in the open API."""

MAX_OPEN_UPLOADS = 20
"""Of one person in one corp: at most 400 MiB that nobody may ever read."""

# What makes a name of several folders, and what shows `exe.gpj` as `jpg.exe`.
_UNFIT_IN_NAMES = re.compile(r"[/\\\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class MediaKind(StrEnum):
    """What a medium is; the values stand in tables."""

    IMAGE = "image"
    VOICE = "voice"
    VIDEO = "video"
    FILE = "file"


MAX_SIZE_BYTES: Mapping[MediaKind, int] = MappingProxyType(
    {
        MediaKind.IMAGE: 10 * MIB,
        MediaKind.VOICE: 2 * MIB,
        MediaKind.VIDEO: 10 * MIB,
        MediaKind.FILE: 20 * MIB,
    }
)

_KINDS_TO_PROTO = MappingProxyType(
    {
        MediaKind.IMAGE: media_service_pb2.MEDIA_KIND_IMAGE,
        MediaKind.VOICE: media_service_pb2.MEDIA_KIND_VOICE,
        MediaKind.VIDEO: media_service_pb2.MEDIA_KIND_VIDEO,
        MediaKind.FILE: media_service_pb2.MEDIA_KIND_FILE,
    }
)
_KINDS_FROM_PROTO = MappingProxyType({proto: kind for kind, proto in _KINDS_TO_PROTO.items()})


@dataclass(frozen=True, slots=True)
class NewMedium:
    """What somebody says that he or she will upload, checked."""

    kind: MediaKind
    name: str
    size_bytes: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """What the bytes themselves say."""

    content_type: str
    width: int = 0
    height: int = 0
    duration_ms: int = 0
    thumbnail: bytes = b""


@dataclass(frozen=True, slots=True)
class Upload:
    """One row of ``media_uploads``."""

    corp_id: str
    upload_id: str
    owner: Participant
    medium: NewMedium
    offset_bytes: int
    part_keys: tuple[str, ...]
    expire_time: dt.datetime


@dataclass(frozen=True, slots=True)
class Media:
    """One row of ``media``."""

    corp_id: str
    media_id: str
    owner: Participant
    medium: NewMedium
    content_type: str
    width: int
    height: int
    duration_ms: int
    thumbnail_size_bytes: int
    create_time: dt.datetime
    expire_time: dt.datetime


def check_upload_request(request: media_service_pb2.BeginUploadRequest) -> NewMedium:
    """Return what is announced, or refuse it with all that is wrong."""
    violations: dict[str, str] = {}
    kind = _KINDS_FROM_PROTO.get(request.kind)
    if kind is None:
        violations["kind"] = "must be one of the kinds"
    elif not MIN_SIZE_BYTES <= request.size_bytes <= MAX_SIZE_BYTES[kind]:
        violations["size_bytes"] = (
            f"must be {MIN_SIZE_BYTES} to {MAX_SIZE_BYTES[kind]} for a medium of kind {kind.value}"
        )
    _check_name(request.name, violations)
    if len(request.sha256) != SHA256_BYTES:
        violations["sha256"] = f"must have {SHA256_BYTES} bytes"
    raise_violations(violations)
    assert kind is not None, "it would be a violation"
    return NewMedium(kind, request.name, request.size_bytes, request.sha256)


def check_media_id(media_id: str) -> str:
    """Return the id; what can't be one names no medium and reaches no database."""
    if not is_uuid(media_id):
        raise media_not_found_error(media_id)
    return media_id


def check_upload_id(upload_id: str) -> str:
    """Return the id; what can't be one names no upload and reaches no database."""
    if not is_uuid(upload_id):
        raise upload_not_found_error(upload_id)
    return upload_id


def media_not_found_error(media_id: str) -> NotFoundError:
    """Return the error for what is not there, and for what the caller may not read."""
    return NotFoundError("MEDIA_NOT_FOUND", "no such medium", {"mediaId": media_id[:64]})


def upload_not_found_error(upload_id: str) -> NotFoundError:
    """Return the error for what is not there, has expired, or is somebody else's."""
    return NotFoundError("UPLOAD_NOT_FOUND", "no such upload", {"uploadId": upload_id[:64]})


def media_type_error(problem: str) -> FailedPreconditionError:
    """Return the error for what is not what it was said to be."""
    return FailedPreconditionError(
        "MEDIA_TYPE_WRONG", f"this is not what it was said to be: {problem}", {"problem": problem}
    )


def media_too_large_error(problem: str) -> FailedPreconditionError:
    """Return the error for what is small as a file and too large as what it is."""
    return FailedPreconditionError("MEDIA_TOO_LARGE", problem)


def media_to_proto(media: Media) -> media_service_pb2.Media:
    """Return the medium as the API shows it."""
    return media_service_pb2.Media(
        corp_id=media.corp_id,
        media_id=media.media_id,
        kind=_KINDS_TO_PROTO[media.medium.kind],
        name=media.medium.name,
        size_bytes=media.medium.size_bytes,
        sha256=media.medium.sha256,
        content_type=media.content_type,
        width=media.width,
        height=media.height,
        duration_ms=media.duration_ms,
        thumbnail_size_bytes=media.thumbnail_size_bytes,
        owner=participant_to_proto(media.owner),
        create_time=to_timestamp(media.create_time),
        expire_time=to_timestamp(media.expire_time),
    )


def upload_to_proto(upload: Upload) -> media_service_pb2.Upload:
    """Return an upload that is not complete as the API shows it."""
    return media_service_pb2.Upload(
        upload_id=upload.upload_id,
        offset_bytes=upload.offset_bytes,
        size_bytes=upload.medium.size_bytes,
        expire_time=to_timestamp(upload.expire_time),
    )


def completed_to_proto(media: Media) -> media_service_pb2.Upload:
    """Return an upload that has become this medium."""
    return media_service_pb2.Upload(
        upload_id=media.media_id,
        offset_bytes=media.medium.size_bytes,
        size_bytes=media.medium.size_bytes,
        expire_time=to_timestamp(media.expire_time),
        media=media_to_proto(media),
    )


def _check_name(name: str, violations: dict[str, str]) -> None:
    check_text(name, "name", violations, minimum=1, maximum=MAX_NAME_CHARACTERS)
    if _UNFIT_IN_NAMES.search(name) or name in (".", ".."):
        violations["name"] = "must be a file name without folders and marks of direction"
