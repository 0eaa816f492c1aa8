"""The audit log: an act is in it if and only if it is committed, and there it stays."""

import asyncio
import csv
import datetime as dt
import io
import json
import uuid
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest

from engines import connected
from fakes.eventually import eventually
from integration.identity.world import (
    TIMEOUT_S,
    Identity,
    Metadata,
    bearer,
    corp_request,
    refusal,
)
from tieline.api.common.v1 import access_pb2, audit_pb2, principal_pb2
from tieline.api.identity.v1 import audit_service_pb2 as pb
from tieline.api.identity.v1 import identity_service_pb2, role_service_pb2
from tieline.chassis.fields import to_timestamp
from tieline.chassis.ids import new_uuid7
from tieline.chassis.postgres import Connection

CSV = pb.AUDIT_EXPORT_FORMAT_CSV
MEMBER = principal_pb2.PRINCIPAL_KIND_MEMBER
PLATFORM = principal_pb2.PRINCIPAL_KIND_PLATFORM_ADMINISTRATOR


async def list_entries(
    identity: Identity,
    metadata: Metadata,
    *,
    page_size: int = 200,
    corp_id: str = "",
    **conditions: Any,
) -> list[audit_pb2.AuditEntry]:
    found: list[audit_pb2.AuditEntry] = []
    token = ""
    while True:
        response = await identity.audit.ListAuditEntries(
            pb.ListAuditEntriesRequest(
                corp_id=corp_id,
                filter=pb.AuditFilter(**conditions),
                page_size=page_size,
                page_token=token,
            ),
            metadata=metadata,
            timeout=TIMEOUT_S,
        )
        found += response.entries
        token = response.next_page_token
        if not token:
            return found


SIGN_IN = "identity.member.sign_in"


async def actions(
    identity: Identity, metadata: Metadata, count: int, **conditions: Any
) -> list[str]:
    """Return the actions in the log, the newest first, once there are so many; no sign-ins."""

    async def read() -> list[str]:
        entries = await list_entries(identity, metadata, **conditions)
        return [entry.action for entry in entries if entry.action != SIGN_IN]

    async def has_arrived() -> bool:
        return len(await read()) >= count

    await eventually(has_arrived)
    return await read()


async def export(identity: Identity, metadata: Metadata, **changes: Any) -> bytes:
    call = identity.audit.ExportAuditEntries(
        pb.ExportAuditEntriesRequest(**changes), metadata=metadata, timeout=TIMEOUT_S
    )
    return b"".join([response.chunk async for response in call])


async def publish(identity: Identity, *entries: audit_pb2.AuditEntry, times: int = 1) -> None:
    """Publish entries as the directory's relay does."""
    async with connected(identity.nats, "directory") as broker:
        for entry in entries:
            for time in range(times):
                await broker.jetstream().publish(
                    "tieline.directory.v1.audit_recorded",
                    entry.SerializeToString(),
                    headers={
                        "Nats-Msg-Id": f"{entry.event_id}-{time}",
                        "Tieline-Event-Id": entry.event_id,
                        "Tieline-Corp-Id": entry.corp_id,
                        "Tieline-Key": f"audit/{entry.corp_id}",
                    },
                )


def entry(corp_id: str, number: int, **changes: Any) -> audit_pb2.AuditEntry:
    fields: dict[str, Any] = {
        "event_id": new_uuid7(),
        "corp_id": corp_id,
        "act_time": to_timestamp(
            dt.datetime.now(dt.UTC).replace(microsecond=0) - dt.timedelta(seconds=100 - number)
        ),
        "actor": principal_pb2.PrincipalRef(kind=MEMBER, id="li.wei"),
        "action": "directory.member.delete",
        "resource": f"members/m{number}",
        **changes,
    }
    return audit_pb2.AuditEntry(**fields)


async def test_what_was_done_to_a_corp_is_in_its_log_and_in_the_platforms(
    identity: Identity,
) -> None:
    corp = await identity.new_corp()
    await identity.new_member(corp)
    await identity.grant(corp, rights=[access_pb2.RIGHT_MANAGE_APPS])
    await identity.stub.VerifyCorp(
        identity_service_pb2.VerifyCorpRequest(corp_id=corp.corp_id, evidence="licence"),
        metadata=identity.platform,
    )

    own = await actions(identity, corp.owner, 4)
    platform = await actions(identity, identity.platform, 2, resource=f"corps/{corp.corp_id}")

    assert own == [
        "identity.corp.verify",
        "identity.role.grant",
        "identity.invitation.create",
        "identity.corp.create",
    ]
    assert platform == ["identity.corp.verify", "identity.corp.create"]
    entries = await list_entries(identity, corp.owner)
    newest, granted, invited, _ = [entry for entry in entries if entry.action != SIGN_IN]
    assert (newest.actor.kind, newest.actor.id) == (PLATFORM, "platform")
    assert (granted.actor.id, granted.resource) == ("boss", "members/li.wei")
    assert granted.details["rights"] == "manage_apps"
    assert invited.resource == "members/li.wei"
    assert granted.address == "127.0.0.1"
    assert granted.request_id


async def test_what_failed_is_in_no_log(identity: Identity) -> None:
    corp = await identity.new_corp()
    await refusal(identity.grant(corp, "boss", rights=[access_pb2.RIGHT_MANAGE_APPS]))
    await identity.new_member(corp)

    assert await actions(identity, corp.owner, 2) == [
        "identity.invitation.create",
        "identity.corp.create",
    ]


async def test_a_repeat_is_written_down_once(identity: Identity) -> None:
    request = corp_request()
    created = await asyncio.gather(*(identity.create_corp(request) for _ in range(3)))
    corp_id = created[0].corp.corp_id

    own = await actions(identity, identity.platform, 1, resource=f"corps/{corp_id}")

    assert own == ["identity.corp.create"]


async def test_an_entry_that_is_delivered_again_stands_there_once(identity: Identity) -> None:
    corp = await identity.new_corp()
    first, last = entry(corp.corp_id, 1), entry(corp.corp_id, 2)

    await publish(identity, first, last, times=3)

    prefix = "directory."
    assert len(await actions(identity, corp.owner, 2, action_prefix=prefix)) == 2
    assert await list_entries(identity, corp.owner, action_prefix=prefix) == [last, first]


async def test_the_log_is_filtered_and_paged_the_newest_first(identity: Identity) -> None:
    corp = await identity.new_corp()
    entries = [entry(corp.corp_id, number) for number in range(6)]
    entries[1].actor.id = "wang"
    entries[2].action = "directory.tag.create"
    # At the same time: the id orders.
    entries[4].act_time.CopyFrom(entries[3].act_time)
    await publish(identity, *entries)
    await actions(identity, corp.owner, 6, action_prefix="directory.")

    async def numbers(**conditions: Any) -> list[int]:
        conditions.setdefault("action_prefix", "directory.")
        found = await list_entries(identity, corp.owner, page_size=2, **conditions)
        return [entries.index(one) for one in found]

    assert await numbers() == [5, 4, 3, 2, 1, 0]
    assert await numbers(actor=principal_pb2.PrincipalRef(id="wang")) == [1]
    assert await numbers(actor=principal_pb2.PrincipalRef(kind=PLATFORM, id="wang")) == []
    assert await numbers(action_prefix="directory.tag.") == [2]
    assert await numbers(resource="members/m5") == [5]
    assert await numbers(start_time=entries[3].act_time) == [5, 4, 3]
    assert await numbers(end_time=entries[3].act_time) == [2, 1, 0]


async def test_another_corp_and_those_without_the_right_see_nothing(identity: Identity) -> None:
    corp, other = await identity.new_corp(), await identity.new_corp()
    await publish(identity, entry(corp.corp_id, 1))
    await actions(identity, corp.owner, 1, action_prefix="directory.")
    administrator = await identity.new_administrator(corp, access_pb2.RIGHT_MANAGE_DIRECTORY)

    elsewhere = await list_entries(identity, other.owner, action_prefix="directory.")
    by_platform = await list_entries(identity, identity.platform, action_prefix="directory.")
    naming = await refusal(list_entries(identity, other.owner, corp_id=corp.corp_id))
    platform_naming = await refusal(list_entries(identity, identity.platform, corp_id=corp.corp_id))
    without = await refusal(list_entries(identity, administrator))
    exporting = await refusal(export(identity, other.owner, corp_id=corp.corp_id))

    assert elsewhere == by_platform == []
    assert naming.reason == platform_naming.reason == exporting.reason == "CORP_NOT_FOUND"
    assert (without.code, without.reason) == ("PERMISSION_DENIED", "CALLER_NOT_ALLOWED")


async def test_an_auditor_reads_and_exports_the_own_corps_log_and_no_other(
    identity: Identity,
) -> None:
    corp, other = await identity.new_corp(), await identity.new_corp()
    await identity.new_member(corp)
    await identity.grant(corp, role=role_service_pb2.CORP_ROLE_AUDITOR)
    auditor = bearer(await identity.sign_in(corp.corp_id, "li.wei"))
    ours, theirs = entry(corp.corp_id, 1), entry(other.corp_id, 2)
    await publish(identity, ours, theirs)
    await actions(identity, other.owner, 1, action_prefix="directory.")
    await actions(identity, auditor, 1, action_prefix="directory.")

    read = await list_entries(identity, auditor, action_prefix="directory.")
    wanted = pb.AuditFilter(action_prefix="directory.")
    [line] = (await export(identity, auditor, filter=wanted)).decode().splitlines()
    naming = await refusal(list_entries(identity, auditor, corp_id=other.corp_id))
    await actions(identity, auditor, 1, action_prefix="identity.audit_log.")
    [exported] = await list_entries(identity, auditor, action_prefix="identity.audit_log.")

    assert [one.event_id for one in read] == [json.loads(line)["eventId"]] == [ours.event_id]
    assert naming.reason == "CORP_NOT_FOUND"
    assert exported.actor.id == "li.wei"


async def test_an_export_is_the_whole_log_in_both_forms_and_is_written_down(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tieline.identity.audit.servicer._EXPORT_PAGE_SIZE", 2)
    corp = await identity.new_corp()
    entries = [entry(corp.corp_id, number, details={"n": "=1+1"}) for number in range(5)]
    await publish(identity, *entries)
    await actions(identity, corp.owner, 5, action_prefix="directory.")

    wanted = pb.AuditFilter(action_prefix="directory.")
    lines = (await export(identity, corp.owner, filter=wanted)).decode().splitlines()
    text = (await export(identity, corp.owner, filter=wanted, format=CSV)).decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    nothing = await export(identity, corp.owner, filter=pb.AuditFilter(action_prefix="no such act"))

    expected = [one.event_id for one in reversed(entries)]
    assert [json.loads(line)["eventId"] for line in lines] == expected
    assert [row["eventId"] for row in rows] == expected
    assert nothing == b""
    exports = await actions(identity, corp.owner, 3, action_prefix="identity.audit_log.")
    assert exports == ["identity.audit_log.export"] * 3


async def test_the_services_role_neither_changes_nor_deletes_an_entry(identity: Identity) -> None:
    corp = await identity.new_corp()
    await actions(identity, corp.owner, 1)
    connection: Connection = await asyncpg.connect(identity.database.dsn("identity"))
    [(partition,)] = await identity.execute(
        "SELECT tableoid::regclass::text FROM identity.audit_entries WHERE corp_id = $1 LIMIT 1",
        corp.corp_id,
    )

    try:
        for statement in (
            "UPDATE identity.audit_entries SET actor_id = 'nobody'",
            "DELETE FROM identity.audit_entries",
            "TRUNCATE identity.audit_entries",
            "DROP TABLE identity.audit_entries",
            f"DELETE FROM {partition}",
            f"SELECT * FROM {partition}",
            f"DROP TABLE {partition}",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()


async def _partitions(identity: Identity) -> Sequence[str]:
    rows = await identity.execute(
        """
        SELECT inhrelid::regclass::text AS name
          FROM pg_inherits
         WHERE inhparent = 'identity.audit_entries'::regclass
         ORDER BY 1
        """
    )
    return [row["name"].rpartition(".")[2] for row in rows]


async def test_months_are_made_ahead_and_dropped_only_after_half_a_year(
    identity: Identity,
) -> None:
    today = dt.datetime.now(dt.UTC).date().replace(day=1)
    months = [today]
    for _ in range(7):
        months.append((months[-1] - dt.timedelta(days=1)).replace(day=1))
    for month in (months[3], months[7]):
        await identity.execute(
            f"""
            CREATE TABLE IF NOT EXISTS identity.audit_entries_{month:%Y%m}
            PARTITION OF identity.audit_entries
            FOR VALUES FROM ('{month}') TO ('{(month + dt.timedelta(days=32)).replace(day=1)}')
            """
        )
    connection: Connection = await asyncpg.connect(identity.database.dsn("identity"))

    try:
        dropped = await connection.fetchval("SELECT identity.keep_audit_partitions(0)")
        again = await connection.fetchval("SELECT identity.keep_audit_partitions(0)")
    finally:
        await connection.close()

    assert dropped == [f"audit_entries_{months[7]:%Y%m}"]
    assert again == []
    kept = await _partitions(identity)
    assert f"audit_entries_{months[3]:%Y%m}" in kept
    assert {f"audit_entries_{months[0]:%Y%m}", f"audit_entries_{months[1]:%Y%m}"} <= set(kept)
    assert len([name for name in kept if name > f"audit_entries_{today:%Y%m}"]) == 2


async def test_what_is_no_entry_becomes_a_dead_letter_and_stops_nothing(
    identity: Identity,
) -> None:
    corp = await identity.new_corp()
    broken = entry(corp.corp_id, 1, event_id=f"broken-{uuid.uuid4()}")

    await publish(identity, broken, entry(corp.corp_id, 2))

    assert len(await actions(identity, corp.owner, 1, action_prefix="directory.")) == 1
    letters = await identity.execute(
        "SELECT reason FROM identity.dead_letters WHERE event_id = $1", broken.event_id
    )
    assert len(letters) == 1
