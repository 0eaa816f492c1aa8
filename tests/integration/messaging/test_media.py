import asyncio
import io
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from PIL import Image

from fakes.eventually import eventually
from fakes.tokens import TestTokens
from integration.messaging.chat import TIMEOUT_S, Corp, Person, new_id
from integration.messaging.uploads import (
    FILE,
    NewUploader,
    Uploading,
    expire,
    file_of,
    image_of,
    open_folder,
    picture,
    reason,
    refused,
    say,
)
from tieline.api.common.v1 import principal_pb2
from tieline.api.messaging.v1 import (
    app_message_service_pb2,
    app_message_service_pb2_grpc,
    message_content_pb2,
    message_service_pb2,
    message_service_pb2_grpc,
    messaging_pb2,
)
from tieline.api.messaging.v1 import media_service_pb2 as media_pb2
from tieline.chassis.errors import DeadlineExceededError
from tieline.chassis.postgres import Pool
from tieline.client.errors import TielineError
from tieline.messaging.conversations.rules import member
from tieline.messaging.media.images import ImageWorkers
from tieline.messaging.media.upkeep import purge_media, purge_uploads
from tieline.messaging.media.upload_pace import UploadPace
from tieline.messaging.media.uploading import PART_BYTES, Uploader, _read_chunks


@pytest.fixture
def li_wei(corp: Corp, uploading: NewUploader) -> Uploading:
    return uploading(corp.member("li.wei"))


def list_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_file_is_read_as_it_was_uploaded(li_wei: Uploading) -> None:
    media = await li_wei.upload(FILE)

    assert (media.name, media.size_bytes) == ("plan.txt", len(FILE))
    assert media.content_type == "application/octet-stream"
    assert media.owner == li_wei.person.ref
    assert await li_wei.download(media.media_id) == FILE


async def test_range_is_read(li_wei: Uploading) -> None:
    media = await li_wei.upload(FILE)

    assert await li_wei.download(media.media_id, offset=300_000, length=5) == FILE[300_000:300_005]
    assert await li_wei.download(media.media_id, offset=len(FILE) - 7) == FILE[-7:]
    assert await li_wei.download(media.media_id, offset=len(FILE)) == b""
    assert await refused(li_wei.download(media.media_id, offset=len(FILE) + 1)) == "INVALID_FIELD"


async def test_image_has_a_thumbnail_and_a_file_has_none(li_wei: Uploading) -> None:
    image = await li_wei.upload(picture(), kind=media_pb2.MEDIA_KIND_IMAGE, name="photo.png")
    file = await li_wei.upload(FILE)

    thumbnail = await li_wei.download(image.media_id, thumbnail=True)

    assert (image.width, image.height, image.content_type) == (400, 400, "image/png")
    assert len(thumbnail) == image.thumbnail_size_bytes
    with Image.open(io.BytesIO(thumbnail)) as small:
        assert small.size == (320, 320)
    assert await refused(li_wei.download(file.media_id, thumbnail=True)) == "THUMBNAIL_MISSING"


async def test_repeated_beginning_is_the_same_upload(li_wei: Uploading) -> None:
    request_id = new_id()

    first, again = [await li_wei.begin(request_id=request_id) for _ in range(2)]

    assert again == first
    assert await refused(li_wei.begin(b"other bytes", request_id=request_id)) == "REQUEST_ID_REUSED"


async def test_upload_goes_on_where_it_ended(li_wei: Uploading) -> None:
    begun = await li_wei.begin()
    first = await li_wei.send(begun.upload_id, FILE[:600_000])

    assert first.offset_bytes == 600_000
    assert await li_wei.get_upload(begun.upload_id) == first
    whole = await li_wei.send(begun.upload_id, FILE[600_000:], offset=600_000)
    assert await li_wei.download(whole.media.media_id) == FILE


async def test_broken_upload_goes_on_after_the_last_whole_part(li_wei: Uploading) -> None:
    begun = await li_wei.begin()
    call = li_wei.media.UploadMedia(metadata=li_wei.person.metadata)
    await call.write(li_wei.header(begun.upload_id))
    await call.write(media_pb2.UploadMediaRequest(chunk=FILE[:600_000]))

    async def has_two_parts() -> bool:
        return (await li_wei.get_upload(begun.upload_id)).offset_bytes == 2 * PART_BYTES

    await eventually(has_two_parts)
    call.cancel()

    rest = FILE[2 * PART_BYTES :]
    whole = await li_wei.send(begun.upload_id, rest, offset=2 * PART_BYTES)
    assert await li_wei.download(whole.media.media_id) == FILE


async def test_completed_upload_answers_again_with_the_medium(li_wei: Uploading) -> None:
    begun = await li_wei.begin()
    whole = await li_wei.send(begun.upload_id, FILE)

    assert await li_wei.send(begun.upload_id, FILE) == whole
    assert await li_wei.get_upload(begun.upload_id) == whole


@pytest.mark.parametrize("offset", [-1, 1, 599_999, 600_001, len(FILE), 2**62])
async def test_offset_that_is_not_the_services_is_refused(li_wei: Uploading, offset: int) -> None:
    begun = await li_wei.begin()
    await li_wei.send(begun.upload_id, FILE[:600_000])

    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await li_wei.send(begun.upload_id, FILE[:10], offset=offset)

    error = TielineError.from_rpc_error(raised.value)
    assert error.reason == "UPLOAD_OFFSET_WRONG"
    assert error.metadata["offsetBytes"] == "600000"


async def test_more_than_was_announced_is_refused_and_not_kept(li_wei: Uploading) -> None:
    begun = await li_wei.begin(b"small one")

    assert await refused(li_wei.send(begun.upload_id, b"small one and more")) == "INVALID_FIELD"

    assert (await li_wei.get_upload(begun.upload_id)).offset_bytes == 0
    assert (await li_wei.send(begun.upload_id, b"small one")).HasField("media")


@pytest.mark.parametrize(
    ("announced", "content", "expected"),
    [
        pytest.param({"sha256": bytes(32)}, FILE, "MEDIA_CHECKSUM_WRONG", id="checksum"),
        pytest.param(
            {"kind": media_pb2.MEDIA_KIND_IMAGE}, FILE, "MEDIA_TYPE_WRONG", id="text as image"
        ),
        pytest.param(
            {"kind": media_pb2.MEDIA_KIND_IMAGE},
            picture()[:100_000],
            "MEDIA_TYPE_WRONG",
            id="image cut off",
        ),
        pytest.param(
            {"kind": media_pb2.MEDIA_KIND_VOICE}, picture(20), "MEDIA_TYPE_WRONG", id="voice"
        ),
        pytest.param(
            {"kind": media_pb2.MEDIA_KIND_VIDEO}, picture(20), "MEDIA_TYPE_WRONG", id="video"
        ),
        pytest.param({"name": "a.pdf"}, FILE, "MEDIA_TYPE_WRONG", id="text as pdf"),
    ],
)
async def test_what_is_not_what_it_was_said_to_be_is_thrown_away(
    li_wei: Uploading,
    media_folder: Path,
    announced: dict[str, object],
    content: bytes,
    expected: str,
) -> None:
    begun = await li_wei.begin(content, **announced)  # type: ignore[arg-type]

    assert await refused(li_wei.send(begun.upload_id, content)) == expected

    assert await refused(li_wei.get_upload(begun.upload_id)) == "UPLOAD_NOT_FOUND"
    assert list_files(media_folder / li_wei.person.corp_id) == []


async def test_later_stream_takes_the_upload_over(
    li_wei: Uploading, corp: Corp, uploading: NewUploader
) -> None:
    there = uploading(corp.member("li.wei", replica=1), 1)
    begun = await li_wei.begin()
    stalled = li_wei.media.UploadMedia(metadata=li_wei.person.metadata)
    await stalled.write(li_wei.header(begun.upload_id))
    await stalled.write(media_pb2.UploadMediaRequest(chunk=FILE[:PART_BYTES]))

    async def has_a_part() -> bool:
        return (await li_wei.get_upload(begun.upload_id)).offset_bytes == PART_BYTES

    await eventually(has_a_part)
    whole = await there.send(begun.upload_id, FILE[PART_BYTES:], offset=PART_BYTES)
    await stalled.write(media_pb2.UploadMediaRequest(chunk=b"x" * PART_BYTES))
    await stalled.done_writing()

    assert await refused(stalled) == "UPLOAD_TAKEN_OVER"
    assert await there.download(whole.media.media_id) == FILE


async def test_two_streams_of_one_upload_at_once_never_mix(
    li_wei: Uploading, corp: Corp, uploading: NewUploader
) -> None:
    there = uploading(corp.member("li.wei", replica=1), 1)
    begun = await li_wei.begin()

    ends = await asyncio.gather(
        *(each.send(begun.upload_id, FILE) for each in (li_wei, there, li_wei, there)),
        return_exceptions=True,
    )

    for end in ends:
        assert isinstance(end, media_pb2.Upload) or reason(end) in (  # type: ignore[arg-type]
            "UPLOAD_TAKEN_OVER",
            "UPLOAD_OFFSET_WRONG",
        )
    now = await li_wei.get_upload(begun.upload_id)
    if not now.HasField("media"):
        now = await li_wei.send(begun.upload_id, FILE[now.offset_bytes :], offset=now.offset_bytes)
    assert await li_wei.download(now.media.media_id) == FILE


async def test_stream_without_a_header_is_refused(li_wei: Uploading) -> None:
    requests = [media_pb2.UploadMediaRequest(chunk=b"first")]

    call = li_wei.media.UploadMedia(iter(requests), metadata=li_wei.person.metadata)

    assert await refused(call) == "INVALID_FIELD"


async def test_bytes_that_trickle_end_the_stream_and_leave_the_upload(
    li_wei: Uploading, pool: Pool, media_folder: Path
) -> None:
    begun = await li_wei.begin()
    never = asyncio.Event()

    async def trickle() -> AsyncIterator[media_pb2.UploadMediaRequest]:
        yield media_pb2.UploadMediaRequest(chunk=FILE[:1])
        await never.wait()

    with ImageWorkers() as images:
        uploader = Uploader(
            pool,
            open_folder(media_folder),
            images,
            start_pace=lambda now: UploadPace(now, window_s=0.05),
        )
        key = (li_wei.person.corp_id, begun.upload_id)
        with pytest.raises(DeadlineExceededError) as raised:
            await uploader.continue_upload(key, member("li.wei"), 0, trickle())

    assert raised.value.reason == "UPLOAD_TOO_SLOW"
    assert (await li_wei.send(begun.upload_id, FILE)).HasField("media")


async def test_a_pause_that_lasts_longer_than_a_window_loses_nothing() -> None:
    goes_on = asyncio.Event()

    async def pausing() -> AsyncIterator[media_pb2.UploadMediaRequest]:
        yield media_pb2.UploadMediaRequest(chunk=b"before")
        asyncio.get_running_loop().call_later(0.05, goes_on.set)
        await goes_on.wait()
        yield media_pb2.UploadMediaRequest(chunk=b"behind")

    pace = UploadPace(time.monotonic(), min_bytes_per_s=0, window_s=0.01)

    assert [chunk async for chunk in _read_chunks(pausing(), pace)] == [b"before", b"behind"]


async def test_a_person_has_at_most_twenty_uploads_that_are_not_complete(
    li_wei: Uploading, corp: Corp, uploading: NewUploader
) -> None:
    begun = [await li_wei.begin() for _ in range(20)]

    assert await refused(li_wei.begin()) == "TOO_MANY_UPLOADS"

    await uploading(corp.member("zhang.san")).begin()
    await li_wei.send(begun[0].upload_id, FILE)
    await li_wei.begin()


async def test_ninth_stream_of_a_person_at_a_replica_is_refused(li_wei: Uploading) -> None:
    begun = await li_wei.begin()
    calls = []
    for _ in range(8):
        call = li_wei.media.UploadMedia(metadata=li_wei.person.metadata)
        await call.write(li_wei.header(begun.upload_id))
        calls.append(call)

    async def is_refused() -> bool:
        try:
            await li_wei.send(begun.upload_id, FILE)
        except grpc.aio.AioRpcError as error:
            return reason(error) == "TOO_MANY_MEDIA_STREAMS"
        return False

    await eventually(is_refused)
    for call in calls:
        call.cancel()


async def test_medium_that_no_message_refers_to_is_its_owners_alone(
    li_wei: Uploading, corp: Corp, uploading: NewUploader, new_corp: Callable[[], Corp]
) -> None:
    media = await li_wei.upload(FILE)
    begun = await li_wei.begin()
    elsewhere = replace(new_corp().member("li.wei"))

    for other in (uploading(corp.member("zhang.san")), uploading(elsewhere)):
        assert await refused(other.download(media.media_id)) == "MEDIA_NOT_FOUND"
        assert await refused(other.get_upload(begun.upload_id)) == "UPLOAD_NOT_FOUND"
        assert await refused(other.send(begun.upload_id, FILE)) == "UPLOAD_NOT_FOUND"
        assert await refused(other.get_upload(media.media_id)) == "UPLOAD_NOT_FOUND"
    for no_id in ("", "x" * 1000, "../../etc/passwd"):
        assert await refused(li_wei.download(no_id)) == "MEDIA_NOT_FOUND"
        assert await refused(li_wei.get_upload(no_id)) == "UPLOAD_NOT_FOUND"


async def test_customer_of_no_conversation_may_upload_nothing(
    corp: Corp, uploading: NewUploader
) -> None:
    assert await refused(uploading(corp.customer("wmstranger")).begin()) == "CORP_NOT_FOUND"


async def test_app_uploads_what_it_sends_to_many(
    corp: Corp,
    uploading: NewUploader,
    replica_channels: list[grpc.aio.Channel],
    tokens: TestTokens,
) -> None:
    li = corp.member("li.wei")

    def app(agent_id: str) -> Uploading:
        token = tokens.app(corp.corp_id, agent_id, rights=("send_app_messages",))
        metadata = (("authorization", f"Bearer {token}"),)
        kind = principal_pb2.PRINCIPAL_KIND_APP
        return uploading(replace(li, kind=kind, id=agent_id, metadata=metadata))

    own, other = app("1000002"), app("1000003")
    content = picture()
    image = await own.upload(content, kind=media_pb2.MEDIA_KIND_IMAGE, name="menu.png")
    request = app_message_service_pb2.SendAppMessageRequest(
        request_id=new_id(),
        audience=app_message_service_pb2.AppMessageAudience(user_ids=["li.wei"]),
        content=messaging_pb2.MessageContent(
            image=message_content_pb2.ImageContent(media_id=image.media_id)
        ),
    )
    send = app_message_service_pb2_grpc.AppMessageServiceStub(replica_channels[0]).SendAppMessage
    assert await refused(send(request, metadata=other.person.metadata)) == "MEDIA_NOT_FOUND"

    await send(request, metadata=own.person.metadata, timeout=TIMEOUT_S)

    async def is_there() -> bool:
        return bool((await li.list_conversations()).conversations)

    await eventually(is_there)
    assert await uploading(li).download(image.media_id) == content
    assert await refused(other.download(image.media_id)) == "MEDIA_NOT_FOUND"


async def test_expired_medium_goes_with_its_bytes(
    li_wei: Uploading, pool: Pool, media_folder: Path
) -> None:
    media = await li_wei.upload(picture(), kind=media_pb2.MEDIA_KIND_IMAGE)
    kept = await li_wei.upload(FILE)
    await expire(pool, "media", "media_id", media.media_id)

    assert await refused(li_wei.download(media.media_id)) == "MEDIA_NOT_FOUND"
    store = open_folder(media_folder)
    await purge_media(pool, store)
    await purge_media(pool, store)

    assert await _count(pool, "media", li_wei) == 1
    assert not (media_folder / li_wei.person.corp_id / "media" / media.media_id).exists()
    assert await li_wei.download(kept.media_id) == FILE


async def test_upload_that_was_given_up_goes_with_its_parts(
    li_wei: Uploading, pool: Pool, media_folder: Path
) -> None:
    begun = await li_wei.begin()
    await li_wei.send(begun.upload_id, FILE[:600_000])
    parts = media_folder / li_wei.person.corp_id / "uploads" / begun.upload_id
    # What a killed replica leaves: a part that was stored and never counted.
    (parts / "600000-orphan").write_bytes(b"part")
    await expire(pool, "media_uploads", "upload_id", begun.upload_id)

    assert await refused(li_wei.get_upload(begun.upload_id)) == "UPLOAD_NOT_FOUND"
    store = open_folder(media_folder)
    await purge_uploads(pool, store)

    assert not parts.exists()
    assert await _count(pool, "media_uploads", li_wei) == 0


async def test_completed_upload_leaves_no_parts(li_wei: Uploading, media_folder: Path) -> None:
    await li_wei.upload(FILE)

    assert not (media_folder / li_wei.person.corp_id / "uploads").exists()


async def _count(pool: Pool, table: str, uploading: Uploading) -> int:
    async with pool.acquire() as connection:
        count: int = await connection.fetchval(
            f"SELECT count(*) FROM messaging.{table} WHERE corp_id = $1",
            uploading.person.corp_id,
        )
    return count


async def test_who_may_read_the_message_may_read_its_medium(
    li_wei: Uploading, corp: Corp, uploading: NewUploader
) -> None:
    zhang_san, wang_fang = corp.member("zhang.san"), corp.member("wang.fang")
    group = await li_wei.person.create_group("zhang.san")
    media = await li_wei.upload(FILE)

    await say(li_wei.person, group, file_of(media.media_id))

    assert await uploading(zhang_san).download(media.media_id) == FILE
    assert await refused(uploading(wang_fang).download(media.media_id)) == "MEDIA_NOT_FOUND"


async def test_forwarded_medium_is_read_in_both_conversations(
    li_wei: Uploading, corp: Corp, uploading: NewUploader
) -> None:
    zhang_san, wang_fang = corp.member("zhang.san"), corp.member("wang.fang")
    group = await li_wei.person.create_group("zhang.san")
    other = await zhang_san.create_group("wang.fang")
    media = await li_wei.upload(FILE)
    await say(li_wei.person, group, file_of(media.media_id))

    await say(zhang_san, other, file_of(media.media_id))

    assert await uploading(wang_fang).download(media.media_id) == FILE


async def test_message_about_a_medium_that_is_not_the_senders_is_refused_alone(
    li_wei: Uploading, corp: Corp, uploading: NewUploader, new_corp: Callable[[], Corp]
) -> None:
    zhang_san = corp.member("zhang.san")
    group = await li_wei.person.create_group("zhang.san")
    own = await li_wei.upload(FILE)
    elsewhere = await uploading(new_corp().member("li.wei")).upload(FILE)

    refusals = await asyncio.gather(
        refused(say(zhang_san, group, file_of(own.media_id))),
        refused(say(li_wei.person, group, file_of(elsewhere.media_id))),
        refused(say(li_wei.person, group, file_of(new_id()))),
        refused(say(li_wei.person, group, file_of("m-1"))),
        refused(say(li_wei.person, group, image_of(own.media_id))),
        say(li_wei.person, group, file_of(own.media_id)),
        li_wei.person.send(group, "hello"),
    )

    assert refusals[:5] == [*["MEDIA_NOT_FOUND"] * 4, "MEDIA_KIND_WRONG"]
    assert (await li_wei.person.list_messages(group)).last_sequence == 2


def notice_of(*media_ids: str, said: str = "Tomorrow") -> messaging_pb2.MessageContent:
    return messaging_pb2.MessageContent(
        notice=message_content_pb2.NoticeContent(title="Outing", text=said, media_ids=media_ids)
    )


async def edit(
    channel: grpc.aio.Channel, person: Person, group: str, content: messaging_pb2.MessageContent
) -> messaging_pb2.Message:
    response = await message_service_pb2_grpc.MessageServiceStub(channel).EditMessage(
        message_service_pb2.EditMessageRequest(conversation_id=group, sequence=1, content=content),
        metadata=person.metadata,
        timeout=TIMEOUT_S,
    )
    return response.message


async def test_medium_that_an_edit_brings_is_read_by_the_readers_of_the_message(
    li_wei: Uploading,
    corp: Corp,
    uploading: NewUploader,
    replica_channels: list[grpc.aio.Channel],
) -> None:
    reader = uploading(corp.member("zhang.san"))
    group = await li_wei.person.create_group("zhang.san")
    first, second = await li_wei.upload(FILE), await li_wei.upload(FILE)
    await say(li_wei.person, group, notice_of(first.media_id))

    for _ in range(2):
        await edit(replica_channels[0], li_wei.person, group, notice_of(second.media_id))

    assert await reader.download(second.media_id) == FILE
    # The edits of a message are told to its readers, with what was to be seen then.
    assert await reader.download(first.media_id) == FILE
    await message_service_pb2_grpc.MessageServiceStub(replica_channels[0]).RecallMessage(
        message_service_pb2.RecallMessageRequest(conversation_id=group, sequence=1),
        metadata=li_wei.person.metadata,
        timeout=TIMEOUT_S,
    )
    for media in (first, second):
        assert await refused(reader.download(media.media_id)) == "MEDIA_NOT_FOUND"


async def test_edit_with_a_medium_that_is_not_the_editors_stores_nothing(
    li_wei: Uploading,
    corp: Corp,
    uploading: NewUploader,
    replica_channels: list[grpc.aio.Channel],
    new_corp: Callable[[], Corp],
    pool: Pool,
) -> None:
    group = await li_wei.person.create_group("zhang.san")
    sent = await say(li_wei.person, group, notice_of())
    others = await uploading(corp.member("zhang.san")).upload(FILE)
    elsewhere = await uploading(new_corp().member("li.wei")).upload(FILE)

    for media_id in (others.media_id, elsewhere.media_id, new_id()):
        refusal = await refused(
            edit(replica_channels[0], li_wei.person, group, notice_of(media_id))
        )
        assert refusal == "MEDIA_NOT_FOUND"

    assert list((await li_wei.person.list_messages(group)).messages) == [sent]
    assert await _count(pool, "media_references", li_wei) == 0


async def test_repeated_message_is_recognised_when_its_medium_has_expired(
    li_wei: Uploading, pool: Pool
) -> None:
    group = await li_wei.person.create_group("zhang.san")
    media = await li_wei.upload(FILE)
    first = await say(li_wei.person, group, file_of(media.media_id), client_message_id="m1")
    async with pool.acquire() as connection:
        await connection.execute("DELETE FROM messaging.media WHERE media_id = $1", media.media_id)

    again = await say(li_wei.person, group, file_of(media.media_id), client_message_id="m1")

    assert again == first


async def test_medium_that_a_message_refers_to_does_not_expire(
    li_wei: Uploading, corp: Corp, uploading: NewUploader, pool: Pool, media_folder: Path
) -> None:
    group = await li_wei.person.create_group("zhang.san")
    media = await li_wei.upload(FILE)
    await say(li_wei.person, group, file_of(media.media_id))
    await expire(pool, "media", "media_id", media.media_id)

    await purge_media(pool, open_folder(media_folder))

    for person in (li_wei, uploading(corp.member("zhang.san"))):
        assert await person.download(media.media_id) == FILE
    await say(corp.member("zhang.san"), group, file_of(media.media_id))


async def test_message_and_purge_at_once_leave_no_message_without_its_medium(
    li_wei: Uploading, pool: Pool, media_folder: Path
) -> None:
    group = await li_wei.person.create_group("zhang.san")
    store = open_folder(media_folder)

    for _ in range(10):
        media = await li_wei.upload(b"small file")
        async with pool.acquire() as connection:
            await connection.execute(
                "UPDATE messaging.media SET expire_time = now() + interval '5 ms'"
                " WHERE media_id = $1",
                media.media_id,
            )
        sent, _ = await asyncio.gather(
            say(li_wei.person, group, file_of(media.media_id)),
            purge_media(pool, store),
            return_exceptions=True,
        )
        await purge_media(pool, store)
        if isinstance(sent, messaging_pb2.Message):
            assert await li_wei.download(media.media_id) == b"small file"
        else:
            assert reason(sent) == "MEDIA_NOT_FOUND"  # type: ignore[arg-type]
