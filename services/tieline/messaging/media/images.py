"""Looks at images and makes their thumbnails, beside the event loop and with bounded memory.

An image is a few bytes that may say that they are a wall of pixels. So its size is read before any
pixel is, only PNG and JPEG are tried, and two are decoded at a time: 40 million pixels of 4 bytes
each, 400 MB with what is made of them.
"""

import asyncio
import io
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Self

from PIL import Image, ImageOps

from tieline.messaging.media.rules import MediaFacts, media_too_large_error, media_type_error

MAX_PIXELS = 40_000_000
MAX_THUMBNAIL_SIDE = 320

_WORKERS = 2
_THUMBNAIL_QUALITY = 80
# MPO is what a JPEG with further pictures behind it is called; many phones make them.
_CONTENT_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "MPO": "image/jpeg"}

# Its own limit only warns, and where it refuses it is too late for ours.
Image.MAX_IMAGE_PIXELS = None

# What Pillow's readers raise on bytes that were made to break them.
_UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    struct.error,
    zlib.error,
)


class ImageWorkers:
    """A few threads that decode; a context manager."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(_WORKERS, thread_name_prefix="images")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown(cancel_futures=True)

    async def look(self, content: bytes) -> MediaFacts:
        """Return what the image is, with a thumbnail; ServiceError for what is none."""
        return await asyncio.get_running_loop().run_in_executor(
            self._executor, look_at_image, content
        )


def look_at_image(content: bytes) -> MediaFacts:
    """Decode the whole image: one that is cut off, or says more than it is, is found here."""
    with _opened(content) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise media_too_large_error(f"the image has more than {MAX_PIXELS} pixels")
        content_type = _CONTENT_TYPES[image.format or ""]
        try:
            thumbnail = _make_thumbnail(image)
        except _UNREADABLE:
            raise media_type_error("the image is damaged or ends too early") from None
    return MediaFacts(content_type, width=width, height=height, thumbnail=thumbnail)


@contextmanager
def _opened(content: bytes) -> Iterator[Image.Image]:
    try:
        image = Image.open(io.BytesIO(content), formats=("PNG", "JPEG"))
    except _UNREADABLE:
        raise media_type_error("it is neither PNG nor JPEG") from None
    with image:
        if image.format not in _CONTENT_TYPES:
            raise media_type_error("it is neither PNG nor JPEG")
        yield image


def _make_thumbnail(image: Image.Image) -> bytes:
    # Reads all of the file, and of a JPEG no more pixels than it needs.
    image.thumbnail((MAX_THUMBNAIL_SIDE, MAX_THUMBNAIL_SIDE))
    image.load()
    # Photos of phones lie on their side and say so.
    upright = ImageOps.exif_transpose(image)
    flat = Image.new("RGB", upright.size, "white")
    visible = upright.convert("RGBA")
    flat.paste(visible, mask=visible.getchannel("A"))
    target = io.BytesIO()
    flat.save(target, "JPEG", quality=_THUMBNAIL_QUALITY)
    return target.getvalue()
