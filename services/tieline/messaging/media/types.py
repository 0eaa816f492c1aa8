"""What bytes are by themselves, and whether that is what they were said to be. Pure.

Images are looked at by ``images``, which decodes them.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from tieline.messaging.media.rules import (
    MediaFacts,
    NewMedium,
    media_too_large_error,
    media_type_error,
)

MAX_VOICE_MS = 60_000
UNKNOWN_TYPE = "application/octet-stream"

_AMR_MAGIC = b"#!AMR\n"
_AMR_FRAME_MS = 20
# Bytes of a frame by its type, the type's own byte included (RFC 4867, 5.3); others don't exist.
_AMR_FRAME_BYTES = MappingProxyType(
    {0: 13, 1: 14, 2: 16, 3: 18, 4: 20, 5: 21, 6: 27, 7: 32, 8: 6, 15: 1}
)

_MP4_BOX_HEADER_BYTES = 8
_MP4_LONG_HEADER_BYTES = 16

_ZIP = b"PK\x03\x04"
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# Offset and first bytes of the usual types, by the end of the name.
_MAGICS: Mapping[str, tuple[str, int, tuple[bytes, ...]]] = MappingProxyType(
    {
        "png": ("image/png", 0, (b"\x89PNG\r\n\x1a\n",)),
        "jpg": ("image/jpeg", 0, (b"\xff\xd8\xff",)),
        "jpeg": ("image/jpeg", 0, (b"\xff\xd8\xff",)),
        "gif": ("image/gif", 0, (b"GIF87a", b"GIF89a")),
        "pdf": ("application/pdf", 0, (b"%PDF-",)),
        "zip": ("application/zip", 0, (_ZIP, b"PK\x05\x06", b"PK\x07\x08")),
        "docx": (
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            0,
            (_ZIP, _OLE),
        ),
        "xlsx": (
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            0,
            (_ZIP, _OLE),
        ),
        "pptx": (
            "application/vnd.openxmlformats-officedocument.presentationml.presentation",
            0,
            (_ZIP, _OLE),
        ),
        "doc": ("application/msword", 0, (_OLE,)),
        "xls": ("application/vnd.ms-excel", 0, (_OLE,)),
        "ppt": ("application/vnd.ms-powerpoint", 0, (_OLE,)),
        "gz": ("application/gzip", 0, (b"\x1f\x8b",)),
        "7z": ("application/x-7z-compressed", 0, (b"7z\xbc\xaf\x27\x1c",)),
        "rar": ("application/vnd.rar", 0, (b"Rar!\x1a\x07",)),
        "mp4": ("video/mp4", 4, (b"ftyp",)),
        "amr": ("audio/amr", 0, (b"#!AMR",)),
        "mp3": ("audio/mpeg", 0, (b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2")),
        "wav": ("audio/wav", 0, (b"RIFF",)),
    }
)


def look_at_voice(content: bytes) -> MediaFacts:
    """Return what an AMR is, or refuse what is none or longer than a minute."""
    if not content.startswith(_AMR_MAGIC):
        raise media_type_error("it is no AMR")
    position = len(_AMR_MAGIC)
    frames = 0
    while position < len(content):
        size_bytes = _AMR_FRAME_BYTES.get((content[position] >> 3) & 0x0F)
        if size_bytes is None or position + size_bytes > len(content):
            raise media_type_error("the AMR is damaged or ends too early")
        position += size_bytes
        frames += 1
    duration_ms = frames * _AMR_FRAME_MS
    if not frames:
        raise media_type_error("the AMR is empty")
    if duration_ms > MAX_VOICE_MS:
        raise media_too_large_error(f"the voice lasts longer than {MAX_VOICE_MS // 1000} s")
    return MediaFacts("audio/amr", duration_ms=duration_ms)


def look_at_video(content: bytes) -> MediaFacts:
    """Return what an MP4 is, or refuse what is none: all must be boxes, and one has the index."""
    kinds = list(_read_boxes(content))
    if kinds[:1] != [b"ftyp"]:
        raise media_type_error("it is no MP4")
    if b"moov" not in kinds:
        raise media_type_error("the MP4 has no index (moov)")
    return MediaFacts("video/mp4")


def look_at_file(medium: NewMedium, content: bytes) -> MediaFacts:
    """Return what a file is by its name, or refuse it where the bytes say otherwise."""
    _, dot, end = medium.name.lower().rpartition(".")
    known = _MAGICS.get(end) if dot else None
    if known is None:
        return MediaFacts(UNKNOWN_TYPE)
    content_type, offset, magics = known
    if not content[offset : offset + 16].startswith(magics):
        raise media_type_error(f"the name ends with .{end}, the contents do not begin like one")
    return MediaFacts(content_type)


def _read_boxes(content: bytes) -> Iterator[bytes]:
    """Yield the type of each box; raise where they do not fill the content exactly."""
    position = 0
    while position < len(content):
        header = content[position : position + _MP4_LONG_HEADER_BYTES]
        size_bytes = int.from_bytes(header[:4])
        minimum = _MP4_BOX_HEADER_BYTES
        if size_bytes == 1:
            size_bytes = int.from_bytes(header[8:16])
            minimum = _MP4_LONG_HEADER_BYTES
        elif size_bytes == 0:
            # The last box goes to the end.
            size_bytes = len(content) - position
        if size_bytes < minimum or position + size_bytes > len(content):
            raise media_type_error("it is no MP4, or ends too early")
        yield header[4:8]
        position += size_bytes
