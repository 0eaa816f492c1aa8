"""Auditors read all that was said, in order, nothing twice and nothing missing."""

import asyncio
import datetime as dt
import json
from collections.abc import Callable

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from fakes.eventually import eventually
from fakes.tokens import TestTokens
from integration.messaging.chat import TIMEOUT_S, Corp, Person, new_id, text
from tieline.api.messaging.v1 import archive_service_pb2 as archive_pb2
from tieline.api.messaging.v1 import (
    archive_service_pb2_grpc,
    compliance_service_pb2_grpc,
    message_service_pb2,
    message_service_pb2_grpc,
    messaging_pb2,
)
from tieline.api.messaging.v1 import compliance_service_pb2 as compliance_pb2
from tieline.chassis.postgres import Pool, transaction
from tieline.client.errors import TielineError
from tieline.messaging.compliance.retention_upkeep import apply_retention

Export = grpc.aio.UnaryStreamCall[
    archive_pb2.ExportArchiveRequest, archive_pb2.ExportArchiveResponse
]


class Auditor:
    """Somebody who reads the archive at one replica."""

    def __init__(self, channel: grpc.aio.Channel, token: str) -> None:
        self._stub = archive_service_pb2_grpc.ArchiveServiceStub(channel)
        self._metadata = (("authorization", f"Bearer {token}"),)

    async def read(
        self, cursor: str = "", *, consumer: str = "", page_size: int = 0
    ) -> archive_pb2.ListArchiveEntriesResponse:
        return await self._stub.ListArchiveEntries(
            archive_pb2.ListArchiveEntriesRequest(
                cursor=cursor, consumer_id=consumer, page_size=page_size
            ),
            metadata=self._metadata,
            timeout=TIMEOUT_S,
        )

    async def read_all(
        self, cursor: str = "", *, consumer: str = "", page_size: int = 0
    ) -> tuple[list[archive_pb2.ArchiveEntry], str]:
        """Read all that was stored so far; return the entries and where they end.

        What a replica does beside its calls may hold the archive back for a moment.
        """
        now = dt.datetime.now(dt.UTC)
        entries: list[archive_pb2.ArchiveEntry] = []

        async def are_all_read() -> bool:
            nonlocal cursor
            response = await self.read_to_end(cursor, entries, consumer, page_size)
            cursor = response.next_cursor
            return response.settled_time.ToDatetime(dt.UTC) > now

        await eventually(are_all_read)
        return entries, cursor

    async def read_to_end(
        self,
        cursor: str,
        entries: list[archive_pb2.ArchiveEntry],
        consumer: str = "",
        page_size: int = 0,
    ) -> archive_pb2.ListArchiveEntriesResponse:
        """Add what is given out now to the entries; return the last response."""
        while True:
            response = await self.read(cursor, consumer=consumer, page_size=page_size)
            assert response.HasField("settled_time") == response.caught_up
            entries += response.entries
            cursor = response.next_cursor
            if response.caught_up:
                return response

    async def acknowledge(self, consumer: str, cursor: str) -> None:
        await self._stub.AcknowledgeArchive(
            archive_pb2.AcknowledgeArchiveRequest(consumer_id=consumer, cursor=cursor),
            metadata=self._metadata,
            timeout=TIMEOUT_S,
        )

    def begin_export(self, **span: dt.datetime | Timestamp) -> Export:
        request = archive_pb2.ExportArchiveRequest(**span)  # type: ignore[arg-type]  # two fields
        return self._stub.ExportArchive(request, metadata=self._metadata, timeout=TIMEOUT_S)

    async def export(self, **span: dt.datetime | Timestamp) -> list[dict[str, object]]:
        content = b"".join([response.chunk async for response in self.begin_export(**span)])
        return [json.loads(line) for line in content.splitlines()]


@pytest.fixture
def auditor(replica_channels: list[grpc.aio.Channel], tokens: TestTokens) -> Callable[..., Auditor]:
    return lambda corp, replica=0: Auditor(
        replica_channels[replica], tokens.member(corp.corp_id, "auditor", roles=("auditor",))
    )


def said(entries: list[archive_pb2.ArchiveEntry]) -> list[str]:
    return [each.message.content.text.text for each in entries if each.message.content.text.text]


async def change(pool: Pool, message: messaging_pb2.Message, content: bytes, column: str) -> None:
    """Change a message as an edit or a recall does."""
    async with transaction(pool) as connection:
        await connection.execute(
            f"UPDATE messaging.stored_messages SET content = $4, {column} = now()"
            " WHERE corp_id = $1 AND conversation_id = $2 AND sequence = $3",
            message.corp_id,
            message.conversation_id,
            message.sequence,
            content,
        )


async def test_everything_is_read_once_in_order_whatever_the_page(
    corp: Corp, new_corp: Callable[[], Corp], auditor: Callable[..., Auditor]
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    pair = await li_wei.create_direct("zhang.san")
    await new_corp().member("li.wei").create_group("zhang.san")
    sent = [await li_wei.send(each, f"{n}") for n, each in enumerate([group, pair, group, pair])]

    entries, _ = await auditor(corp).read_all(page_size=2)

    assert said(entries) == ["0", "1", "2", "3"]
    assert [each.message for each in entries if each.message.content.HasField("text")] == sent
    assert {each.message.corp_id for each in entries} == {corp.corp_id}


async def test_cursor_goes_on_behind_what_was_read_at_any_replica(
    corp: Corp, auditor: Callable[..., Auditor]
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    await li_wei.send(group, "before")
    _, cursor = await auditor(corp).read_all()
    assert (await auditor(corp, 1).read_all(cursor))[0] == []

    await li_wei.send(group, "after")

    assert said((await auditor(corp, 1).read_all(cursor))[0]) == ["after"]


async def test_acknowledged_cursor_is_where_the_consumer_begins_again(
    corp: Corp, auditor: Callable[..., Auditor]
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    await li_wei.send(group, "before")
    _, cursor = await auditor(corp).read_all()
    for _ in range(2):
        await auditor(corp).acknowledge("dlp", cursor)
    await li_wei.send(group, "after")

    here, _ = await auditor(corp, 1).read_all(consumer="dlp")
    other, _ = await auditor(corp, 1).read_all(consumer="other")

    assert said(here) == ["after"]
    assert "before" in said(other)


async def test_message_whose_transaction_is_open_holds_the_cursor_back(
    corp: Corp, auditor: Callable[..., Auditor], pool: Pool
) -> None:
    """Later messages commit first: the archive waits, and then has both in order."""
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    other = await li_wei.create_group("zhang.san")
    _, cursor = await auditor(corp).read_all()
    async with transaction(pool) as connection:
        await connection.execute(
            """
            INSERT INTO messaging.stored_messages
                   (corp_id, conversation_id, sequence, sender_kind, sender_id,
                    client_message_id, content, create_time)
            VALUES ($1, $2, 1000, 'member', 'li.wei', 'slow', $3, statement_timestamp())
            """,
            corp.corp_id,
            group,
            text("slow").SerializeToString(),
        )
        await li_wei.send(other, "quick")
        held_back: list[archive_pb2.ArchiveEntry] = []
        cursor = (await auditor(corp).read_to_end(cursor, held_back)).next_cursor
    assert said(held_back) == []

    entries, _ = await auditor(corp).read_all(cursor)

    assert said(entries) == ["slow", "quick"]


async def test_reading_while_many_send_misses_nothing(
    corp: Corp, auditor: Callable[..., Auditor]
) -> None:
    here, there = (corp.member("li.wei", replica=replica) for replica in (0, 1))
    groups = [await here.create_group("zhang.san") for _ in range(3)]
    sent: list[str] = []
    is_over = asyncio.Event()

    async def send(person: Person, group: str, name: str) -> None:
        for number in range(15):
            await person.send(group, f"{name}{number}")
            sent.append(f"{name}{number}")

    async def read() -> list[str]:
        cursor, found = "", []
        while True:
            was_over = is_over.is_set()
            entries, cursor = await auditor(corp).read_all(cursor, page_size=3)
            found += said(entries)
            if was_over:
                return found

    reading = asyncio.create_task(read())
    await asyncio.gather(
        *(
            send(person, group, f"{index}{who}")
            for index, group in enumerate(groups)
            for who, person in (("a", here), ("b", there))
        )
    )
    is_over.set()
    found = await reading

    assert sorted(found) == sorted(sent)


@pytest.mark.parametrize("column", ["edit_time", "recall_time"])
async def test_what_was_changed_is_there_as_it_was_said(
    corp: Corp, auditor: Callable[..., Auditor], pool: Pool, column: str
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    sent = await li_wei.send(group, "as it was said")
    now = b"" if column == "recall_time" else text("as it is now").SerializeToString()

    await change(pool, sent, now, column)

    entries, _ = await auditor(corp).read_all()
    [entry] = [each for each in entries if each.message.sequence == sent.sequence]
    assert [each.content.text.text for each in entry.replaced] == ["as it was said"]
    assert entry.message.content.SerializeToString() == now
    assert column in {field.name for field, _ in entry.message.ListFields()}


async def test_held_messages_are_in_the_archive_when_their_readers_have_lost_them(
    corp: Corp,
    auditor: Callable[..., Auditor],
    pool: Pool,
    replica_channels: list[grpc.aio.Channel],
    tokens: TestTokens,
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    await li_wei.send(group, "held")
    desk = compliance_service_pb2_grpc.ComplianceServiceStub(replica_channels[0])
    owner = (("authorization", f"Bearer {tokens.administrator(corp.corp_id)}"),)
    await desk.CreateLegalHold(
        compliance_pb2.CreateLegalHoldRequest(
            request_id=new_id(), scope=compliance_pb2.LEGAL_HOLD_SCOPE_CORP, reason="case"
        ),
        metadata=owner,
    )
    await desk.SetRetentionPolicy(
        compliance_pb2.SetRetentionPolicyRequest(
            conversation_kind=messaging_pb2.CONVERSATION_KIND_GROUP, keep_days=90
        ),
        metadata=owner,
    )
    await apply_retention(pool, at=dt.datetime.now(dt.UTC) + dt.timedelta(days=130))

    entries, _ = await auditor(corp).read_all()

    assert [(each.message.content.text.text, each.held) for each in entries][-1] == ("held", True)
    assert list((await li_wei.list_messages(group)).messages) == []


async def test_export_has_a_line_for_each_entry_of_the_span(
    corp: Corp, auditor: Callable[..., Auditor]
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    first = await li_wei.send(group, "中文 \n and a line")
    second = await li_wei.send(group, "two")
    moment = second.create_time.ToDatetime(dt.UTC)

    entries, _ = await auditor(corp).read_all()

    async def is_whole() -> bool:
        return len(await auditor(corp).export()) == len(entries)

    await eventually(is_whole)
    lines = await auditor(corp).export()
    until = await auditor(corp).export(end_time=moment)
    since = await auditor(corp).export(start_time=moment)

    assert lines[-2]["message"]["content"] == {"text": {"text": "中文 \n and a line"}}  # type: ignore[index]
    assert [len(until), len(since)] == [len(entries) - 1, 1]
    assert first.sequence < second.sequence


@pytest.mark.parametrize("field", ["start_time", "end_time"])
@pytest.mark.parametrize("time", [Timestamp(seconds=2**62), Timestamp(nanos=-1)])
async def test_time_of_no_year_is_refused(
    corp: Corp, auditor: Callable[..., Auditor], field: str, time: Timestamp
) -> None:
    """Such a time was INTERNAL: the caller was told of a fault that was none."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await auditor(corp).export(**{field: time})

    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert field in str(raised.value.trailing_metadata())


@pytest.mark.parametrize("year", [1, 9999])
async def test_export_from_either_end_of_time_has_what_there_is(
    corp: Corp, auditor: Callable[..., Auditor], year: int
) -> None:
    """A start at the end of the last year overflowed once the act was recorded."""
    li_wei = corp.member("li.wei")
    await li_wei.send(await li_wei.create_group("zhang.san"))
    edge = dt.datetime(year, 12, 31, tzinfo=dt.UTC)

    async def is_there() -> bool:
        return len(await auditor(corp).export()) == 1

    await eventually(is_there)
    since = await auditor(corp).export(start_time=edge)
    until = await auditor(corp).export(end_time=edge)

    assert [len(since), len(until)] == ([1, 0] if year == 1 else [0, 1])


@pytest.mark.parametrize("cursor", ["x", "AAAA", "!" * 500])
async def test_made_up_cursor_is_refused(
    corp: Corp, auditor: Callable[..., Auditor], cursor: str
) -> None:
    for call in (auditor(corp).read(cursor), auditor(corp).acknowledge("dlp", cursor)):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call
        assert TielineError.from_rpc_error(raised.value).reason == "PAGE_TOKEN_INVALID"


async def test_nobody_without_the_right_reads(
    corp: Corp, replica_channels: list[grpc.aio.Channel], tokens: TestTokens
) -> None:
    nobody = Auditor(replica_channels[0], tokens.member(corp.corp_id, "li.wei"))
    for call in (nobody.read(), nobody.export()):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call
        assert TielineError.from_rpc_error(raised.value).reason == "CALLER_NOT_ALLOWED"


async def test_recalled_message_is_whole_for_auditors_alone(
    corp: Corp, auditor: Callable[..., Auditor], replica_channels: list[grpc.aio.Channel]
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    sent = await li_wei.send(group, "first words")
    messages = message_service_pb2_grpc.MessageServiceStub(replica_channels[0])
    await messages.EditMessage(
        message_service_pb2.EditMessageRequest(
            conversation_id=group, sequence=sent.sequence, content=text("other words")
        ),
        metadata=li_wei.metadata,
    )
    await messages.RecallMessage(
        message_service_pb2.RecallMessageRequest(conversation_id=group, sequence=sent.sequence),
        metadata=li_wei.metadata,
    )

    listed = await li_wei.list_messages(group)
    entries, _ = await auditor(corp).read_all()

    assert b"words" not in listed.SerializeToString()
    [entry] = [each for each in entries if each.message.sequence == sent.sequence]
    replaced = [each.content.text.text for each in entry.replaced]
    assert replaced == ["first words", "other words"]
    kinds = [each.message.content.WhichOneof("kind") for each in entries]
    assert kinds[-2:] == ["edit_note", "recall_note"]
