"""Blobs in a folder and in S3-compatible storage: the same, and what a client is told of faults."""

import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from pydantic import SecretStr

from engines import Database, build_settings
from fakes.s3_server import (
    ACCESS_KEY_ID,
    BROKEN,
    BUCKET,
    FORBIDDEN,
    FULL,
    NO_BUCKET,
    SILENCE,
    FakeS3,
    Fault,
)
from fakes.tokens import TestTokens
from integration.messaging.chat import Corp
from integration.messaging.groups import refused
from integration.messaging.uploads import FILE, Uploading
from tieline.api.messaging.v1 import media_service_pb2_grpc, messaging_service_pb2_grpc
from tieline.chassis.errors import ServiceError, UnavailableError
from tieline.embedded.nats import EmbeddedNats
from tieline.messaging.app import role
from tieline.messaging.media import object_store
from tieline.messaging.media.blob_store import BlobMissingError, BlobStore
from tieline.messaging.media.object_store import open_store
from tieline.messaging.settings import MessagingSettings

KEY = "ww1/media/m/content"

SETTINGS = MessagingSettings(
    database_dsn=SecretStr(""), nats_url=SecretStr(""), secret_key=SecretStr("-" * 32)
)


@pytest.fixture
async def s3() -> AsyncIterator[FakeS3]:
    s3 = FakeS3()
    async with s3.serving():
        yield s3


@pytest.fixture(autouse=True)
def _is_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_store, "_REQUEST_TIMEOUT", dt.timedelta(seconds=0.5))
    monkeypatch.setattr(object_store, "_RETRY_TIMEOUT", dt.timedelta(seconds=1))


def on_s3(
    settings: MessagingSettings, s3: FakeS3, url: str = f"s3://{BUCKET}/a/folder"
) -> MessagingSettings:
    return settings.model_copy(
        update={
            "media_store_url": url,
            "media_store_endpoint": s3.endpoint,
            "media_store_access_key_id": SecretStr(ACCESS_KEY_ID),
            "media_store_secret_access_key": SecretStr("only-for-tests"),
        }
    )


@pytest.fixture(params=["folder", "S3", "S3 bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path, s3: FakeS3) -> BlobStore:
    if request.param == "folder":
        url = (tmp_path / "with a space" / "media").as_uri()
        return open_store(SETTINGS.model_copy(update={"media_store_url": url}))
    url = f"s3://{BUCKET}" if request.param == "S3 bucket" else f"s3://{BUCKET}/a/folder"
    return open_store(on_s3(SETTINGS, s3, url))


async def test_blob_is_read_as_it_was_put(store: BlobStore) -> None:
    await store.put(KEY, b"other")
    await store.put(KEY, b"0123456789")

    assert await store.get_range(KEY, 0, 10) == b"0123456789"
    assert await store.get_range(KEY, 2, 3) == b"234"
    assert await store.get_range(KEY, 9, 1) == b"9"


async def test_large_blob_is_put_as_a_whole(store: BlobStore) -> None:
    content = bytes(range(256)) * (20 * 1024 * 4)

    await store.put(KEY, content)

    assert await store.get_range(KEY, 0, len(content)) == content


async def test_keys_of_a_folder_are_listed(store: BlobStore) -> None:
    keys = [f"ww1/uploads/u/{number}" for number in range(5)]
    for key in (*keys, "ww1/uploads/u2/0", "ww2/uploads/u/0"):
        await store.put(key, b"part")

    assert sorted(await store.list_keys("ww1/uploads/u")) == keys
    assert sorted(await store.list_keys("ww1/uploads/u/")) == keys
    # A folder whose name only begins alike is another one.
    assert await store.list_keys("ww1/upl") == []


async def test_deleted_blob_is_gone_and_deleting_again_changes_nothing(store: BlobStore) -> None:
    await store.put(KEY, b"0123456789")
    await store.put("ww1/media/other/content", b"stays")

    for _ in range(2):
        await store.delete([KEY, "ww1/media/m/thumbnail"])

    with pytest.raises(BlobMissingError):
        await store.get_range(KEY, 0, 1)
    assert await store.list_keys("ww1/media") == ["ww1/media/other/content"]


async def test_folder_of_a_deleted_blob_is_gone(tmp_path: Path) -> None:
    store = open_store(SETTINGS.model_copy(update={"media_store_url": tmp_path.as_uri()}))
    await store.put(KEY, b"0123456789")

    await store.delete([KEY])

    assert not (tmp_path / "ww1").exists()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (SILENCE, "MEDIA_STORE_UNAVAILABLE"),
        (BROKEN, "MEDIA_STORE_UNAVAILABLE"),
        (FORBIDDEN, "MEDIA_STORE_UNAVAILABLE"),
        (NO_BUCKET, "MEDIA_STORE_UNAVAILABLE"),
        (FULL, "MEDIA_STORE_FULL"),
    ],
)
async def test_storage_that_fails_is_told_from_a_blob_that_is_not_there(
    s3: FakeS3, fault: Fault, reason: str
) -> None:
    store = open_store(on_s3(SETTINGS, s3))
    await store.put(KEY, b"0123456789")

    s3.fault = fault
    for call in (
        lambda: store.put(KEY, b"other"),
        lambda: store.get_range(KEY, 0, 1),
        lambda: store.delete([KEY]),
        lambda: store.list_keys("ww1"),
    ):
        with pytest.raises(ServiceError) as raised:
            await call()
        assert raised.value.reason == reason
        assert raised.value.retry_after_s
    s3.fault = None

    assert await store.get_range(KEY, 0, 10) == b"0123456789"


async def test_storage_that_nobody_serves_is_unavailable(s3: FakeS3) -> None:
    s3.port = 1

    with pytest.raises(UnavailableError):
        await open_store(on_s3(SETTINGS, s3)).put(KEY, b"0123456789")


async def test_fault_of_a_moment_is_not_noticed(s3: FakeS3) -> None:
    s3.fault, s3.faulty_requests = BROKEN, 2

    await open_store(on_s3(SETTINGS, s3)).put(KEY, b"0123456789")

    assert s3.blobs == {f"a/folder/{KEY}": b"0123456789"}


async def test_clients_are_told_of_storage_that_fails_and_go_on_when_it_is_back(
    s3: FakeS3,
    messaging_database: Database,
    messaging_nats: EmbeddedNats,
    replica_targets: list[str],
    tokens: TestTokens,
) -> None:
    settings = build_settings("messaging", messaging_database, messaging_nats)
    assert isinstance(settings, MessagingSettings)
    async with (
        role(on_s3(settings, s3)),
        grpc.aio.insecure_channel(f"127.0.0.1:{settings.grpc_port}") as channel,
    ):
        stub = messaging_service_pb2_grpc.MessagingServiceStub(channel)
        person = Corp([stub], tokens).member("li.wei")
        await person.create_group("zhang.san")
        li_wei = Uploading(media_service_pb2_grpc.MediaServiceStub(channel), person)
        begun = await li_wei.begin(FILE)
        for fault, reason in ((BROKEN, "MEDIA_STORE_UNAVAILABLE"), (FULL, "MEDIA_STORE_FULL")):
            s3.fault = fault
            await refused(li_wei.send(begun.upload_id, FILE), reason)
        s3.fault = None
        offset = (await li_wei.get_upload(begun.upload_id)).offset_bytes
        sent = await li_wei.send(begun.upload_id, FILE[offset:], offset=offset)
        media_id = sent.media.media_id

        s3.fault = BROKEN
        await refused(li_wei.download(media_id), "MEDIA_STORE_UNAVAILABLE")
        s3.fault = None

        assert await li_wei.download(media_id) == FILE
    assert any(blob == FILE for blob in s3.blobs.values())
