import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.api.messaging.v1 import media_service_pb2 as media_pb2
from tieline.chassis.errors import FailedPreconditionError, InvalidArgumentError
from tieline.messaging.media.rules import MAX_SIZE_BYTES, MediaKind, NewMedium, check_upload_request
from tieline.messaging.media.types import look_at_file, look_at_video, look_at_voice
from tieline.messaging.media.upload_pace import UploadPace

SILENCE = b"\x7c"  # an AMR frame of one byte: "no data"
SPEECH = b"\x3c" + bytes(31)


def request(**fields: object) -> media_pb2.BeginUploadRequest:
    given = {
        "kind": media_pb2.MEDIA_KIND_FILE,
        "name": "plan.txt",
        "size_bytes": 100,
        "sha256": bytes(32),
        **fields,
    }
    return media_pb2.BeginUploadRequest(**given)  # type: ignore[arg-type]


def box(kind: bytes, content: bytes = b"") -> bytes:
    return (8 + len(content)).to_bytes(4) + kind + content


MP4 = box(b"ftyp", b"isom\0\0\0\0") + box(b"moov", b"index") + box(b"mdat", b"pictures")


@pytest.mark.parametrize(
    ("kind", "size_bytes", "is_allowed"),
    [
        pytest.param("FILE", 5, False, id="five bytes"),
        pytest.param("FILE", 6, True, id="six bytes"),
        pytest.param("FILE", 20 * 1024 * 1024, True, id="largest file"),
        pytest.param("FILE", 20 * 1024 * 1024 + 1, False, id="larger file"),
        pytest.param("IMAGE", 10 * 1024 * 1024, True, id="largest image"),
        pytest.param("IMAGE", 10 * 1024 * 1024 + 1, False, id="larger image"),
        pytest.param("VOICE", 2 * 1024 * 1024, True, id="largest voice"),
        pytest.param("VOICE", 2 * 1024 * 1024 + 1, False, id="larger voice"),
        pytest.param("VIDEO", 10 * 1024 * 1024, True, id="largest video"),
        pytest.param("VIDEO", 10 * 1024 * 1024 + 1, False, id="larger video"),
    ],
)
def test_size_is_limited_by_kind(kind: str, size_bytes: int, is_allowed: bool) -> None:
    announced = request(kind=media_pb2.MediaKind.Value(f"MEDIA_KIND_{kind}"), size_bytes=size_bytes)

    if is_allowed:
        assert check_upload_request(announced).size_bytes == size_bytes
    else:
        with pytest.raises(InvalidArgumentError) as raised:
            check_upload_request(announced)
        assert set(raised.value.violations) == {"size_bytes"}


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "x" * 129,
        "a/b.txt",
        "a\\b.txt",
        "..",
        ".",
        "line\nbreak.txt",
        "exe\u202egpj.txt",
    ],
)
def test_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        check_upload_request(request(name=name))

    assert set(raised.value.violations) == {"name"}


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        check_upload_request(media_pb2.BeginUploadRequest(sha256=b"short"))

    assert set(raised.value.violations) == {"kind", "name", "sha256"}


@pytest.mark.parametrize(
    ("frames", "duration_ms"),
    [pytest.param(1, 20, id="one"), pytest.param(3000, 60_000, id="60 s")],
)
def test_voice_is_as_long_as_its_frames(frames: int, duration_ms: int) -> None:
    assert look_at_voice(b"#!AMR\n" + SPEECH * frames).duration_ms == duration_ms


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"#!AMR\n" + SPEECH * 3001, "MEDIA_TOO_LARGE", id="a frame too many"),
        pytest.param(b"#!AMR\n" + SILENCE * 3001, "MEDIA_TOO_LARGE", id="small and long"),
        pytest.param(b"#!AMR\n" + SPEECH[:-1], "MEDIA_TYPE_WRONG", id="cut off"),
        pytest.param(b"#!AMR\n" + b"\x4c" * 40, "MEDIA_TYPE_WRONG", id="unknown frame"),
        pytest.param(b"#!AMR\n", "MEDIA_TYPE_WRONG", id="empty"),
        pytest.param(b"RIFF....WAVE", "MEDIA_TYPE_WRONG", id="wav"),
    ],
)
def test_voice_that_is_none_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(FailedPreconditionError) as raised:
        look_at_voice(content)

    assert raised.value.reason == reason


def test_mp4_is_known() -> None:
    assert look_at_video(MP4).content_type == "video/mp4"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(MP4[:-1], id="cut off"),
        pytest.param(MP4 + b"\0\0\0", id="half a header behind"),
        pytest.param(box(b"moov") + box(b"ftyp"), id="another order"),
        pytest.param(box(b"ftyp") + box(b"mdat"), id="no index"),
        pytest.param(b"\0\0\0\x07ftyp" + bytes(20), id="a box smaller than its header"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(50), id="png"),
    ],
)
def test_video_that_is_none_is_refused(content: bytes) -> None:
    with pytest.raises(FailedPreconditionError) as raised:
        look_at_video(content)

    assert raised.value.reason == "MEDIA_TYPE_WRONG"


@given(st.binary(max_size=200))
def test_no_bytes_break_the_readers(content: bytes) -> None:
    for look in (look_at_video, look_at_voice):
        for start in (b"", b"#!AMR\n", MP4):
            try:
                look(start + content)
            except FailedPreconditionError:
                continue


@pytest.mark.parametrize(
    ("name", "content", "content_type"),
    [
        ("plan.pdf", b"%PDF-1.7 ...", "application/pdf"),
        ("PLAN.PDF", b"%PDF-1.7 ...", "application/pdf"),
        ("plan.pdf", b"MZ\x90 program", None),
        ("plan.unknown", b"MZ\x90 program", "application/octet-stream"),
        ("plan", b"MZ\x90 program", "application/octet-stream"),
        ("pdf", b"MZ\x90 program", "application/octet-stream"),
        ("film.mp4", MP4, "video/mp4"),
        ("film.mp4", b"ftyp" + bytes(20), None),
    ],
)
def test_file_is_what_its_name_says(name: str, content: bytes, content_type: str | None) -> None:
    medium = NewMedium(MediaKind.FILE, name, len(content), bytes(32))

    if content_type is not None:
        assert look_at_file(medium, content).content_type == content_type
    else:
        with pytest.raises(FailedPreconditionError):
            look_at_file(medium, content)


def test_pace_is_judged_at_the_end_of_each_window() -> None:
    pace = UploadPace(0.0, min_bytes_per_s=10, window_s=10.0)

    assert pace.note(1, 5.0)
    assert pace.note(99, 10.0)
    assert pace.deadline == 20.0
    assert pace.note(99, 19.0)
    assert not pace.note(0, 20.0)


def test_every_kind_has_a_limit() -> None:
    assert set(MAX_SIZE_BYTES) == set(MediaKind)
