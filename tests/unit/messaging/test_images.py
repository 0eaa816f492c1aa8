import contextlib
import io
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tieline.chassis.errors import FailedPreconditionError
from tieline.messaging.media.images import MAX_PIXELS, MAX_THUMBNAIL_SIDE, look_at_image


def encoded(format_: str, size: tuple[int, int] = (640, 480), mode: str = "RGB") -> bytes:
    target = io.BytesIO()
    Image.new(mode, size, "red" if mode == "RGB" else 0).save(target, format_)
    return target.getvalue()


def png_of(width: int, height: int, pixels: bytes) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        pytest.param(encoded("PNG"), "image/png", id="png"),
        pytest.param(encoded("PNG", mode="P"), "image/png", id="palette"),
        pytest.param(encoded("PNG", mode="LA"), "image/png", id="grey with transparency"),
        pytest.param(encoded("PNG", mode="I;16"), "image/png", id="16 bits"),
        pytest.param(encoded("JPEG"), "image/jpeg", id="jpeg"),
        pytest.param(encoded("JPEG", mode="CMYK"), "image/jpeg", id="four inks"),
    ],
)
def test_image_is_measured_and_gets_a_small_jpeg(content: bytes, content_type: str) -> None:
    facts = look_at_image(content)

    assert (facts.content_type, facts.width, facts.height) == (content_type, 640, 480)
    with Image.open(io.BytesIO(facts.thumbnail)) as thumbnail:
        assert thumbnail.format == "JPEG"
        assert thumbnail.size == (MAX_THUMBNAIL_SIDE, MAX_THUMBNAIL_SIDE * 480 // 640)


def test_thumbnail_of_a_photo_on_its_side_stands_upright() -> None:
    photo = Image.new("RGB", (640, 480))
    exif = Image.Exif()
    exif[0x0112] = 6
    target = io.BytesIO()
    photo.save(target, "JPEG", exif=exif)

    facts = look_at_image(target.getvalue())

    with Image.open(io.BytesIO(facts.thumbnail)) as thumbnail:
        assert thumbnail.height > thumbnail.width


@pytest.mark.parametrize("format_", ["PNG", "JPEG"])
def test_image_that_is_cut_off_is_refused(format_: str) -> None:
    noise = Image.effect_noise((300, 300), 100).convert("RGB")
    target = io.BytesIO()
    noise.save(target, format_)

    with pytest.raises(FailedPreconditionError) as raised:
        look_at_image(target.getvalue()[: len(target.getvalue()) // 2])

    assert raised.value.reason == "MEDIA_TYPE_WRONG"


@pytest.mark.parametrize("format_", ["GIF", "BMP", "TIFF", "WEBP"])
def test_other_kinds_of_image_are_refused(format_: str) -> None:
    with pytest.raises(FailedPreconditionError) as raised:
        look_at_image(encoded(format_))

    assert raised.value.reason == "MEDIA_TYPE_WRONG"


def test_a_wall_of_pixels_in_a_small_file_is_refused_before_it_is_decoded() -> None:
    bomb = png_of(50_000, 50_000, zlib.compress(bytes(1_000_000), 9))

    with pytest.raises(FailedPreconditionError) as raised:
        look_at_image(bomb)

    assert raised.value.reason == "MEDIA_TOO_LARGE"


def test_the_limit_of_pixels_is_that_and_not_one_more() -> None:
    side = MAX_PIXELS // 5000
    with pytest.raises(FailedPreconditionError) as at_limit:
        look_at_image(png_of(5000, side, zlib.compress(b"")))
    with pytest.raises(FailedPreconditionError) as beyond:
        look_at_image(png_of(5000, side + 1, zlib.compress(b"")))

    # At the limit it is looked at, and found to have no pixels.
    assert (at_limit.value.reason, beyond.value.reason) == ("MEDIA_TYPE_WRONG", "MEDIA_TOO_LARGE")


@settings(max_examples=300)
@given(st.integers(0, 2000), st.binary(min_size=1, max_size=30), st.sampled_from(["PNG", "JPEG"]))
def test_damaged_bytes_are_an_image_or_refused(position: int, damage: bytes, format_: str) -> None:
    content = bytearray(encoded(format_, (40, 30)))
    content[position % len(content) : position % len(content) + len(damage)] = damage

    # Any other error fails the test.
    with contextlib.suppress(FailedPreconditionError):
        assert look_at_image(bytes(content)).thumbnail
