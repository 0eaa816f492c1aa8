"""A hold keeps the media of messages that are gone for their readers, and no reader opens them."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from nats.aio.client import Client

from fakes.eventually import eventually
from fakes.tokens import TestTokens
from integration.messaging.chat import TIMEOUT_S, Corp, Person
from integration.messaging.compliance import LATER, Desk, read_audit
from integration.messaging.test_retention import waits
from integration.messaging.uploads import (
    FILE,
    NewUploader,
    Uploading,
    expire,
    file_of,
    open_folder,
    refused,
    say,
)
from tieline.api.messaging.v1 import (
    archive_service_pb2,
    archive_service_pb2_grpc,
    compliance_service_pb2,
    message_service_pb2,
    message_service_pb2_grpc,
    messaging_pb2,
)
from tieline.chassis.ids import new_uuid7
from tieline.chassis.postgres import Pool, transaction
from tieline.messaging.compliance.retention import HoldScope, NewHold
from tieline.messaging.compliance.retention_upkeep import (
    apply_retention,
    forget_unread_media,
    remove_released,
)
from tieline.messaging.media.upkeep import purge_media
from tieline.messaging.repositories.retention import RetentionRepository

CONVERSATION = compliance_service_pb2.LEGAL_HOLD_SCOPE_CONVERSATION

Recall = Callable[[Person, messaging_pb2.Message], Awaitable[Any]]


@pytest.fixture
def recall(replica_channels: list[grpc.aio.Channel]) -> Recall:
    stub = message_service_pb2_grpc.MessageServiceStub(replica_channels[0])

    async def recall(person: Person, message: messaging_pb2.Message) -> None:
        await stub.RecallMessage(
            message_service_pb2.RecallMessageRequest(
                corp_id=message.corp_id,
                conversation_id=message.conversation_id,
                sequence=message.sequence,
            ),
            metadata=person.metadata,
            timeout=TIMEOUT_S,
        )

    return recall


@pytest.fixture
def li_wei(corp: Corp, uploading: NewUploader) -> Uploading:
    return uploading(corp.member("li.wei"))


@pytest.fixture
def zhang_san(corp: Corp, uploading: NewUploader) -> Uploading:
    return uploading(corp.member("zhang.san"))


@pytest.fixture
def audit(
    replica_channels: list[grpc.aio.Channel],
) -> Callable[..., Awaitable[bytes]]:
    """Download from the archive with somebody's token."""
    stub = archive_service_pb2_grpc.ArchiveServiceStub(replica_channels[0])

    async def audit(token: str, media_id: str, corp_id: str = "", **span: int) -> bytes:
        request = archive_service_pb2.DownloadArchivedMediaRequest(
            corp_id=corp_id, media_id=media_id, **span
        )
        metadata = (("authorization", f"Bearer {token}"),)
        call = stub.DownloadArchivedMedia(request, metadata=metadata, timeout=TIMEOUT_S)
        responses = [response async for response in call]
        assert responses[0].media.media_id == media_id
        return b"".join(response.chunk for response in responses[1:])

    return audit


class Bytes:
    """What is in the store of a medium, by the upkeep of a day on which it has expired."""

    def __init__(self, pool: Pool, folder: Path, owner: Uploading, media_id: str) -> None:
        self._pool = pool
        self._folder = folder
        self._path = folder / owner.person.corp_id / "media" / media_id
        self._media_id = media_id

    async def are_kept(self) -> bool:
        await remove_released(self._pool)
        await forget_unread_media(self._pool)
        await expire(self._pool, "media", "media_id", self._media_id)
        await purge_media(self._pool, open_folder(self._folder))
        return self._path.exists()


async def test_recall_under_a_hold_keeps_the_bytes_and_shows_them_to_no_reader(
    li_wei: Uploading,
    zhang_san: Uploading,
    corp: Corp,
    officer: Callable[[Corp], Desk],
    recall: Recall,
    pool: Pool,
    media_folder: Path,
) -> None:
    group = await li_wei.person.create_group("zhang.san")
    media = await li_wei.upload(FILE)
    sent = await say(li_wei.person, group, file_of(media.media_id))
    desk = officer(corp)
    hold = await desk.hold(CONVERSATION, group)
    stored = Bytes(pool, media_folder, li_wei, media.media_id)
    assert await stored.are_kept()
    assert await zhang_san.download(media.media_id) == FILE

    await recall(li_wei.person, sent)

    assert await refused(zhang_san.download(media.media_id)) == "MEDIA_NOT_FOUND"
    assert await stored.are_kept()
    for person in (li_wei, zhang_san):
        assert await refused(person.download(media.media_id)) == "MEDIA_NOT_FOUND"
        again = say(person.person, group, file_of(media.media_id))
        assert await refused(again) == "MEDIA_NOT_FOUND"
    assert await refused(li_wei.get_upload(media.media_id)) == "UPLOAD_NOT_FOUND"
    assert await stored.are_kept()

    await desk.release(hold.hold_id)
    assert not await stored.are_kept()


async def test_bytes_of_a_recalled_message_stay_for_a_hold_that_is_just_being_set(
    li_wei: Uploading, corp: Corp, recall: Recall, pool: Pool, media_folder: Path
) -> None:
    """What lets go of them waits for the hold's transaction, and then sees it."""
    group = await li_wei.person.create_group("zhang.san")
    media = await li_wei.upload(FILE)
    await recall(li_wei.person, await say(li_wei.person, group, file_of(media.media_id)))

    async with transaction(pool) as connection:
        hold = NewHold(HoldScope.CONVERSATION, group, "case 8")
        await RetentionRepository(connection).insert_hold(corp.corp_id, new_uuid7(), hold)
        forgetting = asyncio.create_task(forget_unread_media(pool))
        await eventually(lambda: forgetting.done() or waits(pool, "legal_holds"))

    await forgetting
    assert await Bytes(pool, media_folder, li_wei, media.media_id).are_kept()


async def test_messages_that_retention_took_show_held_media_to_no_reader(
    li_wei: Uploading,
    zhang_san: Uploading,
    corp: Corp,
    officer: Callable[[Corp], Desk],
    pool: Pool,
    media_folder: Path,
) -> None:
    group = await li_wei.person.create_group("zhang.san")
    held, gone = [await li_wei.upload(FILE) for _ in range(2)]
    await say(li_wei.person, group, file_of(held.media_id))
    other = await li_wei.person.create_group("zhang.san")
    await say(li_wei.person, other, file_of(gone.media_id))
    desk = officer(corp)
    hold = await desk.hold(CONVERSATION, group)
    await desk.keep(90)

    await apply_retention(pool, at=LATER)

    stored = Bytes(pool, media_folder, li_wei, held.media_id)
    for media in (held, gone):
        assert await refused(zhang_san.download(media.media_id)) == "MEDIA_NOT_FOUND"
    assert await stored.are_kept()
    assert not await Bytes(pool, media_folder, li_wei, gone.media_id).are_kept()
    assert await refused(li_wei.download(held.media_id)) == "MEDIA_NOT_FOUND"

    await desk.release(hold.hold_id)
    assert not await stored.are_kept()


async def test_recall_without_a_hold_lets_the_bytes_go_unless_they_were_passed_on(
    li_wei: Uploading,
    zhang_san: Uploading,
    recall: Recall,
    pool: Pool,
    media_folder: Path,
) -> None:
    group, other = [await li_wei.person.create_group("zhang.san") for _ in range(2)]
    gone, passed_on = [await li_wei.upload(FILE) for _ in range(2)]
    sent = [await say(li_wei.person, group, file_of(each.media_id)) for each in (gone, passed_on)]
    await say(zhang_san.person, other, file_of(passed_on.media_id))

    for message in sent:
        await recall(li_wei.person, message)

    assert not await Bytes(pool, media_folder, li_wei, gone.media_id).are_kept()
    assert await Bytes(pool, media_folder, li_wei, passed_on.media_id).are_kept()
    assert await zhang_san.download(passed_on.media_id) == FILE


async def test_auditor_opens_what_messages_refer_to_also_when_it_is_held(
    li_wei: Uploading,
    corp: Corp,
    officer: Callable[[Corp], Desk],
    recall: Recall,
    audit: Callable[..., Awaitable[bytes]],
    tokens: TestTokens,
    pool: Pool,
    media_folder: Path,
) -> None:
    auditor = tokens.member(corp.corp_id, "auditor", roles=("auditor",))
    app = tokens.app(corp.corp_id, "1000002", rights=("read_compliance",))
    group = await li_wei.person.create_group("zhang.san")
    standing, recalled, unsaid = [await li_wei.upload(FILE) for _ in range(3)]
    await say(li_wei.person, group, file_of(standing.media_id))
    sent = await say(li_wei.person, group, file_of(recalled.media_id))
    await officer(corp).hold(CONVERSATION, group)

    await recall(li_wei.person, sent)
    assert await Bytes(pool, media_folder, li_wei, recalled.media_id).are_kept()

    for media in (standing, recalled):
        assert await audit(auditor, media.media_id) == FILE
        assert (
            await audit(app, media.media_id, offset_bytes=300_000, length_bytes=5)
            == (FILE[300_000:300_005])
        )
    for no_id in (unsaid.media_id, "m-1"):
        assert await refused(audit(auditor, no_id)) == "MEDIA_NOT_FOUND"
    beyond = audit(auditor, standing.media_id, offset_bytes=len(FILE) + 1)
    assert await refused(beyond) == "INVALID_FIELD"


async def test_without_the_right_and_from_elsewhere_nobody_opens_the_archives_media(
    li_wei: Uploading,
    corp: Corp,
    new_corp: Callable[[], Corp],
    audit: Callable[..., Awaitable[bytes]],
    tokens: TestTokens,
) -> None:
    group = await li_wei.person.create_group("zhang.san")
    media = await li_wei.upload(FILE)
    await say(li_wei.person, group, file_of(media.media_id))
    elsewhere = tokens.member(new_corp().corp_id, "auditor", roles=("auditor",))
    limited = tokens.limited_administrator(
        corp.corp_id, rights=["read_compliance"], departments=[2]
    )

    for token, corp_id, reason in (
        (tokens.member(corp.corp_id, "li.wei"), "", "CALLER_NOT_ALLOWED"),
        (limited, "", "OUT_OF_RANGE"),
        (elsewhere, "", "MEDIA_NOT_FOUND"),
        (elsewhere, corp.corp_id, "CORP_NOT_FOUND"),
    ):
        assert await refused(audit(token, media.media_id, corp_id)) == reason


async def test_each_download_from_the_archive_stands_in_the_audit_log(
    li_wei: Uploading,
    corp: Corp,
    audit: Callable[..., Awaitable[bytes]],
    tokens: TestTokens,
    admin_broker: Client,
) -> None:
    group = await li_wei.person.create_group("zhang.san")
    media = await li_wei.upload(FILE)
    await say(li_wei.person, group, file_of(media.media_id))

    await audit(tokens.member(corp.corp_id, "auditor", roles=("auditor",)), media.media_id)

    [entry] = await read_audit(admin_broker, corp.corp_id, 1)
    assert (entry.action, entry.resource) == (
        "messaging.archive.download",
        f"media/{media.media_id}",
    )
    assert entry.actor.id == "auditor"
