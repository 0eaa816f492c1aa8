"""People who upload media, send messages about them, and read them."""

import hashlib
import io
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from PIL import Image

from integration.messaging.chat import TIMEOUT_S, Person, new_id
from tieline.api.messaging.v1 import media_service_pb2 as media_pb2
from tieline.api.messaging.v1 import (
    media_service_pb2_grpc,
    message_content_pb2,
    messaging_pb2,
    messaging_service_pb2,
)
from tieline.chassis.postgres import Pool
from tieline.client.errors import TielineError
from tieline.messaging.media.blob_store import BlobStore
from tieline.messaging.media.object_store import open_store
from tieline.messaging.settings import MessagingSettings

FILE = b"The plan for next week.\n" * 40_000  # 960,000 bytes: four parts


def picture(side: int = 400) -> bytes:
    target = io.BytesIO()
    Image.effect_noise((side, side), 80).convert("RGB").save(target, "PNG")
    return target.getvalue()


@dataclass(frozen=True)
class Uploading:
    """Somebody who uploads and downloads."""

    media: media_service_pb2_grpc.MediaServiceStub
    person: Person

    async def begin(
        self,
        content: bytes = FILE,
        *,
        kind: media_pb2.MediaKind.ValueType = media_pb2.MEDIA_KIND_FILE,
        name: str = "plan.txt",
        sha256: bytes = b"",
        request_id: str = "",
    ) -> media_pb2.Upload:
        response = await self.media.BeginUpload(
            media_pb2.BeginUploadRequest(
                request_id=request_id or new_id(),
                corp_id=self.person.corp_id,
                kind=kind,
                name=name,
                size_bytes=len(content),
                sha256=sha256 or hashlib.sha256(content).digest(),
            ),
            metadata=self.person.metadata,
            timeout=TIMEOUT_S,
        )
        return response.upload

    async def send(
        self, upload_id: str, content: bytes, *, offset: int = 0, chunk_bytes: int = 100_000
    ) -> media_pb2.Upload:
        async def requests() -> AsyncIterator[media_pb2.UploadMediaRequest]:
            yield self.header(upload_id, offset)
            for start in range(0, len(content), chunk_bytes):
                yield media_pb2.UploadMediaRequest(chunk=content[start : start + chunk_bytes])

        response = await self.media.UploadMedia(
            requests(), metadata=self.person.metadata, timeout=TIMEOUT_S
        )
        return response.upload

    def header(self, upload_id: str, offset: int = 0) -> media_pb2.UploadMediaRequest:
        return media_pb2.UploadMediaRequest(
            header=media_pb2.UploadHeader(
                corp_id=self.person.corp_id, upload_id=upload_id, offset_bytes=offset
            )
        )

    async def upload(self, content: bytes = FILE, **announced: object) -> media_pb2.Media:
        begun = await self.begin(content, **announced)  # type: ignore[arg-type]
        return (await self.send(begun.upload_id, content)).media

    async def get_upload(self, upload_id: str) -> media_pb2.Upload:
        response = await self.media.GetUpload(
            media_pb2.GetUploadRequest(corp_id=self.person.corp_id, upload_id=upload_id),
            metadata=self.person.metadata,
            timeout=TIMEOUT_S,
        )
        return response.upload

    async def download(
        self, media_id: str, *, offset: int = 0, length: int = 0, thumbnail: bool = False
    ) -> bytes:
        call = self.media.DownloadMedia(
            media_pb2.DownloadMediaRequest(
                corp_id=self.person.corp_id,
                media_id=media_id,
                offset_bytes=offset,
                length_bytes=length,
                thumbnail=thumbnail,
            ),
            metadata=self.person.metadata,
            timeout=TIMEOUT_S,
        )
        responses = [response async for response in call]
        assert responses[0].media.media_id == media_id
        return b"".join(response.chunk for response in responses[1:])


NewUploader = Callable[..., Uploading]


def reason(error: grpc.aio.AioRpcError) -> str:
    return TielineError.from_rpc_error(error).reason


async def refused(call: object) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call  # type: ignore[misc]
    return reason(raised.value)


async def say(
    person: Person, conversation_id: str, content: messaging_pb2.MessageContent, **ids: str
) -> messaging_pb2.Message:
    response = await person.stub.SendMessage(
        messaging_service_pb2.SendMessageRequest(
            corp_id=person.corp_id,
            conversation_id=conversation_id,
            client_message_id=ids.get("client_message_id") or new_id(),
            content=content,
        ),
        metadata=person.metadata,
        timeout=TIMEOUT_S,
    )
    return response.message


def file_of(media_id: str) -> messaging_pb2.MessageContent:
    return messaging_pb2.MessageContent(
        file=message_content_pb2.FileContent(media_id=media_id, name="plan.txt")
    )


def image_of(media_id: str) -> messaging_pb2.MessageContent:
    return messaging_pb2.MessageContent(image=message_content_pb2.ImageContent(media_id=media_id))


def open_folder(folder: Path) -> BlobStore:
    return open_store(MessagingSettings.model_construct(media_store_url=folder.as_uri()))


async def expire(pool: Pool, table: str, column: str, id_: str) -> None:
    async with pool.acquire() as connection:
        await connection.execute(
            f"UPDATE messaging.{table} SET expire_time = now() - interval '2 hours'"
            f" WHERE {column} = $1",
            id_,
        )
