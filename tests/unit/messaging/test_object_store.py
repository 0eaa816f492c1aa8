import asyncio
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from tieline.chassis.errors import FailedPreconditionError
from tieline.chassis.process import StartError
from tieline.messaging.blob_store import BlobMissingError, BlobStore
from tieline.messaging.object_store import open_store
from tieline.messaging.settings import MessagingSettings

# Fills a file system of its own, as media do; prints why it is refused and what is there then.
_FILL = """
import asyncio, sys
from pydantic import SecretStr
from tieline.chassis.errors import ServiceError
from tieline.messaging.object_store import open_store
from tieline.messaging.settings import MessagingSettings

async def main(folder):
    settings = MessagingSettings(
        database_dsn=SecretStr(""), nats_url=SecretStr(""), secret_key=SecretStr("-" * 32),
        media_store_url=f"file://{folder}/media",
    )
    store = open_store(settings)
    await store.put("a/media/first", bytes(300_000))
    for name in ("second", "first"):
        try:
            await store.put(f"a/media/{name}", bytes(range(200)) * 10_000)
        except ServiceError as error:
            print(error.reason)
    print(await store.list_keys("a/media"))
    print(await store.get_range("a/media/first", 0, 300_000) == bytes(300_000))
    await store.delete(["a/media/first"])
    await store.put("a/media/second", bytes(300_000))
    print("goes on")

asyncio.run(main(sys.argv[1]))
"""


def settings(url: str) -> MessagingSettings:
    return MessagingSettings(
        database_dsn=SecretStr(""),
        nats_url=SecretStr(""),
        secret_key=SecretStr("-" * 32),
        media_store_url=url,
    )


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return open_store(settings((tmp_path / "with a space" / "media").as_uri()))


async def test_blob_is_read_as_it_was_put(store: BlobStore) -> None:
    await store.put("ww1/media/m/content", b"0123456789")

    assert await store.get_range("ww1/media/m/content", 2, 3) == b"234"
    assert await store.list_keys("ww1/media/m") == ["ww1/media/m/content"]
    # A folder whose name only begins alike is another one.
    assert await store.list_keys("ww1/media/") == ["ww1/media/m/content"]
    assert await store.list_keys("ww1/med") == []


async def test_deleted_blob_is_gone_and_deleting_again_changes_nothing(
    store: BlobStore, tmp_path: Path
) -> None:
    await store.put("ww1/media/m/content", b"0123456789")

    for _ in range(2):
        await store.delete(["ww1/media/m/content", "ww1/media/m/thumbnail"])

    with pytest.raises(BlobMissingError):
        await store.get_range("ww1/media/m/content", 0, 1)
    assert not (tmp_path / "with a space" / "media" / "ww1").exists()


@pytest.mark.parametrize(
    "url",
    ["media", "/media", "file:///", "file://host/media", "s3://", "ftp://host/media", "file:media"],
)
def test_url_that_names_no_store_stops_the_start(url: str) -> None:
    with pytest.raises(StartError, match="TIELINE_MEDIA_STORE_URL"):
        open_store(settings(url))


def test_folder_that_cannot_be_made_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(StartError, match="TIELINE_MEDIA_STORE_URL"):
        open_store(settings((tmp_path / "file" / "media").as_uri()))


async def test_without_a_store_media_are_refused() -> None:
    with pytest.raises(FailedPreconditionError) as raised:
        await open_store(settings("")).put("key", b"content")

    assert raised.value.reason == "MEDIA_STORE_MISSING"


async def test_a_full_disk_refuses_keeps_what_is_there_and_takes_more_later(tmp_path: Path) -> None:
    namespace = ["unshare", "--user", "--map-root-user", "--mount", "bash", "-c"]
    mounted = 'mount -t tmpfs -o size=1m tmpfs "$0" && exec "$@"'

    process = await asyncio.create_subprocess_exec(
        *namespace,
        mounted,
        str(tmp_path),
        *(sys.executable, "-c", _FILL, str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()

    assert output.decode().splitlines() == [
        "MEDIA_STORE_FULL",
        "MEDIA_STORE_FULL",
        "['a/media/first']",
        "True",
        "goes on",
    ], errors.decode()
