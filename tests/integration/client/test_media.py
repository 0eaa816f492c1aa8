"""Media up and down over streams that break at any moment."""

import hashlib
import io
from collections.abc import AsyncIterator, Mapping

import grpc
import pytest

from fakes.platform import FakePlatform, Refusal
from tieline.api.messaging.v1 import media_service_pb2 as media_pb2
from tieline.client import Endpoints, Tieline, TielineError, connect, download_media, upload_media

CONTENT = bytes(range(256)) * 4000
ID = "018f3d2e-7c1a-7b6e-9f00-3a5b8c2d1e4f"
AWAY = Refusal(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN", retry_after_s=0.001)


class FakeMedia:
    """Keeps the bytes of one upload; each stream brings ``step`` of them and then breaks."""

    def __init__(self, platform: FakePlatform, step: int) -> None:
        self.kept = b""
        self.size_bytes = 0
        self.sha256 = b""
        self.step = step
        self.lies = False
        platform.answers["BeginUpload"] = self._begin
        platform.answers["GetUpload"] = lambda *_: media_pb2.GetUploadResponse(upload=self._upload)
        platform.answers["UploadMedia"] = self._take
        platform.answers["DownloadMedia"] = self._give

    @property
    def _media(self) -> media_pb2.Media:
        return media_pb2.Media(media_id=ID, size_bytes=self.size_bytes, sha256=self.sha256)

    @property
    def _upload(self) -> media_pb2.Upload:
        whole = len(self.kept) == self.size_bytes
        return media_pb2.Upload(
            upload_id=ID,
            offset_bytes=len(self.kept),
            size_bytes=self.size_bytes,
            media=self._media if whole else None,
        )

    def _begin(
        self, request: media_pb2.BeginUploadRequest, _: Mapping[str, str]
    ) -> media_pb2.BeginUploadResponse:
        self.size_bytes, self.sha256 = request.size_bytes, request.sha256
        return media_pb2.BeginUploadResponse(upload=self._upload)

    async def _take(
        self, requests: AsyncIterator[media_pb2.UploadMediaRequest], _: Mapping[str, str]
    ) -> media_pb2.UploadMediaResponse:
        first = await anext(aiter(requests))
        assert first.header.offset_bytes == len(self.kept)
        end = min(self.size_bytes, len(self.kept) + self.step)
        async for request in requests:
            # Read to the end, as a service does: a client that still writes would lose the error.
            self.kept += request.chunk[: end - len(self.kept)]
        if len(self.kept) < self.size_bytes:
            raise AWAY
        return media_pb2.UploadMediaResponse(upload=self._upload)

    async def _give(
        self, request: media_pb2.DownloadMediaRequest, _: Mapping[str, str]
    ) -> AsyncIterator[media_pb2.DownloadMediaResponse]:
        yield media_pb2.DownloadMediaResponse(media=self._media)
        start = request.offset_bytes
        chunk = self.kept[start : start + self.step]
        yield media_pb2.DownloadMediaResponse(chunk=bytes(len(chunk)) if self.lies else chunk)
        if start + self.step < self.size_bytes:
            raise AWAY


@pytest.fixture
async def platform() -> AsyncIterator[FakePlatform]:
    fake = FakePlatform()
    async with fake.serving():
        yield fake


@pytest.fixture
async def tieline(platform: FakePlatform) -> AsyncIterator[Tieline]:
    async with connect(Endpoints.single(platform.target)) as connection:
        yield connection


async def test_medium_arrives_whole_over_streams_that_break(
    platform: FakePlatform, tieline: Tieline
) -> None:
    fake = FakeMedia(platform, step=300_000)

    uploaded = await upload_media(
        tieline.media, io.BytesIO(CONTENT), media_pb2.MEDIA_KIND_FILE, "plan.txt"
    )
    target = io.BytesIO()
    downloaded = await download_media(tieline.media, ID, target)

    assert uploaded == downloaded
    assert fake.kept == target.getvalue() == CONTENT
    assert fake.sha256 == hashlib.sha256(CONTENT).digest()
    assert len(platform.received("UploadMedia")) == 4
    assert [call.request.offset_bytes for call in platform.received("DownloadMedia")] == [
        0,
        300_000,
        600_000,
        900_000,
    ]


async def test_streams_that_bring_nothing_end_with_the_reason(
    platform: FakePlatform, tieline: Tieline
) -> None:
    FakeMedia(platform, step=0)

    with pytest.raises(TielineError) as raised:
        await upload_media(tieline.media, CONTENT, media_pb2.MEDIA_KIND_FILE, "plan.txt")

    assert raised.value.reason == "SHUTTING_DOWN"


async def test_refused_medium_is_sent_once(platform: FakePlatform, tieline: Tieline) -> None:
    FakeMedia(platform, step=len(CONTENT))
    wrong = Refusal(grpc.StatusCode.FAILED_PRECONDITION, "MEDIA_TYPE_WRONG")

    async def refuse(
        requests: AsyncIterator[media_pb2.UploadMediaRequest], _: Mapping[str, str]
    ) -> media_pb2.UploadMediaResponse:
        async for _request in requests:
            pass
        raise wrong

    platform.answers["UploadMedia"] = refuse

    with pytest.raises(TielineError) as raised:
        await upload_media(tieline.media, CONTENT, media_pb2.MEDIA_KIND_FILE, "plan.txt")

    assert raised.value.reason == "MEDIA_TYPE_WRONG"
    assert len(platform.received("UploadMedia")) == 1


async def test_bytes_that_changed_on_the_way_are_noticed(
    platform: FakePlatform, tieline: Tieline
) -> None:
    fake = FakeMedia(platform, step=len(CONTENT))
    await upload_media(tieline.media, CONTENT, media_pb2.MEDIA_KIND_FILE, "plan.txt")
    fake.lies = True

    with pytest.raises(TielineError) as raised:
        await download_media(tieline.media, ID, io.BytesIO())

    assert raised.value.code is grpc.StatusCode.DATA_LOSS
