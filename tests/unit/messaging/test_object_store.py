import asyncio
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from tieline.chassis.errors import FailedPreconditionError
from tieline.chassis.process import StartError
from tieline.messaging.media.object_store import open_store
from tieline.messaging.settings import MessagingSettings

# Fills a file system of its own, as media do; prints why it is refused and what is there then.
_FILL = """
import asyncio, sys
from pydantic import SecretStr
from tieline.chassis.errors import ServiceError
from tieline.messaging.media.object_store import open_store
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
