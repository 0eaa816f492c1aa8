"""ListCorps, UpdateCorp, GetCorpProfile, and how corps are suspended, deleted and purged."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from integration.identity.world import (
    TIMEOUT_S,
    Identity,
    Metadata,
    NewCorp,
    bearer,
    corp_request,
    refusal,
)
from published_events import published_events
from tieline.api.common.v1 import access_pb2
from tieline.api.identity.v1 import corp_link_pb2, corp_link_service_pb2, identity_pb2
from tieline.api.identity.v1 import identity_service_pb2 as pb
from tieline.chassis.health import Health
from tieline.chassis.postgres import Pool, create_pool
from tieline.identity.purge import purge_corps
from tieline.identity.repositories.corp_purge import PURGED_TABLES

UNKNOWN_CORP_ID = "ww" + "0" * 24


def new_id() -> str:
    return str(uuid.uuid4())


async def suspend(
    identity: Identity, corp_id: str, *, request_id: str = "", reason: str = "spam"
) -> identity_pb2.Corp:
    response = await identity.stub.SuspendCorp(
        pb.SuspendCorpRequest(request_id=request_id or new_id(), corp_id=corp_id, reason=reason),
        metadata=identity.platform,
        timeout=TIMEOUT_S,
    )
    return response.corp


async def resume(identity: Identity, corp_id: str) -> identity_pb2.Corp:
    response = await identity.stub.ResumeCorp(
        pb.ResumeCorpRequest(request_id=new_id(), corp_id=corp_id),
        metadata=identity.platform,
        timeout=TIMEOUT_S,
    )
    return response.corp


async def delete(
    identity: Identity, corp_id: str, metadata: Metadata | None = None, *, etag: str = ""
) -> identity_pb2.Corp:
    response = await identity.stub.DeleteCorp(
        pb.DeleteCorpRequest(request_id=new_id(), corp_id=corp_id, etag=etag),
        metadata=metadata or identity.platform,
        timeout=TIMEOUT_S,
    )
    return response.corp


async def undelete(identity: Identity, corp_id: str) -> identity_pb2.Corp:
    response = await identity.stub.UndeleteCorp(
        pb.UndeleteCorpRequest(request_id=new_id(), corp_id=corp_id),
        metadata=identity.platform,
        timeout=TIMEOUT_S,
    )
    return response.corp


async def rename(
    identity: Identity, corp: NewCorp, name: str, *, etag: str = "", mask: str = "display_name"
) -> identity_pb2.Corp:
    request = pb.UpdateCorpRequest(
        request_id=new_id(), corp=identity_pb2.Corp(display_name=name, etag=etag)
    )
    request.update_mask.paths.append(mask)
    response = await identity.stub.UpdateCorp(request, metadata=corp.owner, timeout=TIMEOUT_S)
    return response.corp


async def profile(identity: Identity, metadata: Metadata, corp_id: str) -> identity_pb2.CorpProfile:
    response = await identity.stub.GetCorpProfile(
        pb.GetCorpProfileRequest(corp_id=corp_id), metadata=metadata, timeout=TIMEOUT_S
    )
    return response.profile


async def expire_grace(identity: Identity, corp_id: str) -> None:
    await identity.execute(
        "UPDATE identity.corps SET purge_time = now() - interval '1 s' WHERE corp_id = $1", corp_id
    )


@asynccontextmanager
async def identity_pool(identity: Identity) -> AsyncIterator[Pool]:
    async with create_pool(
        identity.database.dsn("identity"), service="identity", max_size=2, health=Health()
    ) as pool:
        yield pool


async def test_people_of_a_suspended_corp_are_out_until_it_is_resumed(identity: Identity) -> None:
    corp = await identity.new_corp()
    created = await identity.create_corp()
    await suspend(identity, created.corp.corp_id)

    suspended = await suspend(identity, corp.corp_id)
    signing_in = await refusal(identity.sign_in(corp.corp_id))
    refreshing = await refusal(identity.refresh(corp.owner_session.refresh_token))
    accepting = await refusal(
        identity.accept(created.corp.corp_id, "boss", created.owner_invitation.code)
    )
    resumed = await resume(identity, corp.corp_id)

    assert (suspended.state, suspended.suspend_reason) == (
        identity_pb2.CORP_STATE_SUSPENDED,
        "spam",
    )
    for error in (signing_in, accepting):
        assert (error.code, error.reason) == ("PERMISSION_DENIED", "CORP_NOT_ACTIVE")
    assert refreshing.reason == "SESSION_ENDED"
    assert (resumed.state, resumed.suspend_reason) == (identity_pb2.CORP_STATE_ACTIVE, "")
    # Sessions of before are over for good; the invitation was not used up.
    error = await refusal(identity.refresh(corp.owner_session.refresh_token))
    assert error.reason == "SESSION_ENDED"
    again = await identity.sign_in(corp.corp_id)
    await identity.refresh(again.refresh_token)
    await resume(identity, created.corp.corp_id)
    await identity.accept(created.corp.corp_id, "boss", created.owner_invitation.code)


async def test_a_wrong_password_learns_nothing_of_a_suspension(identity: Identity) -> None:
    corp = await identity.new_corp()
    await suspend(identity, corp.corp_id)

    error = await refusal(identity.sign_in(corp.corp_id, password="something else"))

    assert error.reason == "CREDENTIALS_REJECTED"


async def test_a_repeated_suspension_changes_nothing_after_the_corp_was_resumed(
    identity: Identity,
) -> None:
    corp = await identity.new_corp()
    request_id = new_id()
    first = await suspend(identity, corp.corp_id, request_id=request_id)
    second = await suspend(identity, corp.corp_id, reason="another")
    await resume(identity, corp.corp_id)

    repeat = await suspend(identity, corp.corp_id, request_id=request_id)

    assert repeat == first == second
    now = (await identity.get_corp(identity.platform, corp.corp_id)).corp
    assert now.state == identity_pb2.CORP_STATE_ACTIVE


async def test_the_owner_deletes_the_corp_and_the_platform_brings_it_back(
    identity: Identity,
) -> None:
    corp = await identity.new_corp()
    await suspend(identity, corp.corp_id)
    await resume(identity, corp.corp_id)
    owner = bearer(await identity.sign_in(corp.corp_id))

    deleting = await delete(identity, corp.corp_id, owner)
    error = await refusal(identity.sign_in(corp.corp_id))
    again = await delete(identity, corp.corp_id)
    back = await undelete(identity, corp.corp_id)

    assert deleting.state == identity_pb2.CORP_STATE_DELETING
    assert again == deleting
    days = (deleting.purge_time.seconds - deleting.create_time.seconds) / 86400
    assert 30 <= days < 30.1
    assert error.metadata == {"corpId": corp.corp_id, "state": "deleting"}
    assert (back.state, back.HasField("purge_time")) == (identity_pb2.CORP_STATE_ACTIVE, False)
    await identity.sign_in(corp.corp_id)


async def test_a_corp_is_deleted_by_nobody_else_and_never_by_leaving_it_out(
    identity: Identity,
) -> None:
    corp, other = await identity.new_corp(), await identity.new_corp()
    administrator = await identity.new_administrator(corp, access_pb2.RIGHT_MANAGE_CORP)

    by_administrator = await refusal(delete(identity, corp.corp_id, administrator))
    by_other = await refusal(delete(identity, corp.corp_id, other.owner))
    unnamed = await refusal(delete(identity, "", corp.owner))
    stale = await refusal(delete(identity, corp.corp_id, corp.owner, etag="99"))

    assert by_administrator.reason == "CALLER_NOT_ALLOWED"
    assert by_other.reason == "CORP_NOT_FOUND"
    assert list(unnamed.violations) == ["corp_id"]
    assert (stale.code, stale.reason) == ("ABORTED", "ETAG_MISMATCH")
    now = (await identity.get_corp(corp.owner)).corp
    assert now.state == identity_pb2.CORP_STATE_ACTIVE


async def test_the_purge_leaves_nothing_of_a_corp_but_its_id(identity: Identity) -> None:
    corp, kept = await identity.new_corp(), await identity.new_corp()
    await identity.new_administrator(corp, access_pb2.RIGHT_MANAGE_APPS)
    await identity.stub.RequestVerification(
        pb.RequestVerificationRequest(
            request_id=new_id(), evidence=identity_pb2.VerificationEvidence(text="licence")
        ),
        metadata=corp.owner,
    )
    invited = await identity.corp_links.InviteCorpLink(
        corp_link_service_pb2.InviteCorpLinkRequest(
            request_id=new_id(),
            invited_corp_id=kept.corp_id,
            kind=corp_link_pb2.CORP_LINK_KIND_GROUP,
        ),
        metadata=corp.owner,
    )
    await delete(identity, corp.corp_id, corp.owner)
    await expire_grace(identity, corp.corp_id)
    too_late = await refusal(undelete(identity, corp.corp_id))

    async with identity_pool(identity) as pool:
        await purge_corps(pool)
        await purge_corps(pool)

    assert too_late.reason == "CORP_PURGE_BEGUN"
    for table in PURGED_TABLES:
        query = f"SELECT count(*) FROM identity.{table} WHERE corp_id = $1"
        [(count,)] = await identity.execute(query, corp.corp_id)
        assert count == 0, table
    [row] = await identity.execute(
        "SELECT display_name, owner_user_id FROM identity.corps WHERE corp_id = $1", corp.corp_id
    )
    assert tuple(row) == ("", "")
    gone = await refusal(identity.get_corp(identity.platform, corp.corp_id))
    assert gone.reason == "CORP_NOT_FOUND"
    events = await published_events(identity.nats, "IDENTITY", corp.corp_id, 3)
    assert [subject.rpartition(".")[2] for subject, _ in events] == [
        "corp_created",
        "corp_deletion_requested",
        "corp_deleted",
    ]
    key = f"corp_links/{invited.link.link_id}"
    [_, (_, payload)] = await published_events(identity.nats, "IDENTITY", key, 2)
    ended = corp_link_pb2.CorpLinkChanged.FromString(payload).link
    assert ended.state == corp_link_pb2.CORP_LINK_STATE_LEFT
    await identity.sign_in(kept.corp_id)


async def test_the_purge_knows_every_table_that_holds_a_corps_rows(identity: Identity) -> None:
    rows = await identity.execute(
        """
        SELECT c.table_name
          FROM information_schema.columns c
          JOIN information_schema.tables t USING (table_schema, table_name)
         WHERE c.table_schema = 'identity' AND c.column_name = 'corp_id'
           AND c.table_name NOT LIKE 'audit\\_entries%'
        """
    )

    on_their_way_elsewhere = {"outbox", "handled_events", "dead_letters"}
    assert {row["table_name"] for row in rows} - on_their_way_elsewhere - {"corps"} == PURGED_TABLES


async def test_another_name_drops_the_label_and_withdraws_the_open_request(
    identity: Identity,
) -> None:
    corp = await identity.new_corp()
    await identity.stub.VerifyCorp(
        pb.VerifyCorpRequest(corp_id=corp.corp_id, evidence="licence"), metadata=identity.platform
    )
    before = (await identity.get_corp(corp.owner)).corp

    same = await rename(identity, corp, before.display_name)
    renamed = await rename(identity, corp, "Bank of China", etag=before.etag)
    stale = await refusal(rename(identity, corp, "Third", etag=before.etag))

    assert same == before
    assert before.verified_label == "Jinyu Jewellery · company · verified"
    assert (renamed.display_name, renamed.verified_label) == ("Bank of China", "")
    assert (stale.reason, stale.metadata) == ("ETAG_MISMATCH", {"etag": renamed.etag})
    events = await published_events(identity.nats, "IDENTITY", corp.corp_id, 3)
    assert [subject.rpartition(".")[2] for subject, _ in events] == [
        "corp_created",
        "corp_updated",
        "corp_updated",
    ]
    assert identity_pb2.CorpUpdated.FromString(events[-1][1]).corp == renamed


@pytest.mark.parametrize(
    ("name", "mask", "field"),
    [("", "display_name", "corp.display_name"), ("Name", "kind", "update_mask")],
)
async def test_a_wrong_update_names_its_field_and_changes_nothing(
    identity: Identity, name: str, mask: str, field: str
) -> None:
    corp = await identity.new_corp()
    before = (await identity.get_corp(corp.owner)).corp

    error = await refusal(rename(identity, corp, name, mask=mask))

    assert list(error.violations) == [field]
    assert (await identity.get_corp(corp.owner)).corp == before


async def test_outsiders_see_name_and_label_of_active_corps_alone(identity: Identity) -> None:
    corp, other = await identity.new_corp(), await identity.new_corp()
    channel = await identity.new_channel()
    customer = bearer((await identity.sign_in_customer(channel.assertion())).session)

    seen = await profile(identity, other.owner, corp.corp_id)
    by_customer = await profile(identity, customer, corp.corp_id)
    own = await profile(identity, other.owner, "")
    await suspend(identity, corp.corp_id)
    errors = [
        await refusal(profile(identity, other.owner, corp_id))
        for corp_id in (corp.corp_id, UNKNOWN_CORP_ID, "\x00")
    ]

    assert seen == by_customer
    assert seen == identity_pb2.CorpProfile(
        corp_id=corp.corp_id, display_name="Jinyu Jewellery", kind=identity_pb2.CORP_KIND_COMPANY
    )
    assert own.corp_id == other.corp_id
    assert {error.reason for error in errors} == {"CORP_NOT_FOUND"}
    assert len({error.text for error in errors}) == 1


async def test_corps_are_listed_by_kind_and_state_in_pages_the_newest_first(
    identity: Identity,
) -> None:
    created = [
        (await identity.create_corp(corp_request(kind=identity_pb2.CORP_KIND_HOSPITAL))).corp
        for _ in range(3)
    ]
    await suspend(identity, created[1].corp_id)

    async def list_corps(**changes: object) -> list[str]:
        listed: list[str] = []
        token = ""
        while True:
            response = await identity.stub.ListCorps(
                pb.ListCorpsRequest(
                    kind=identity_pb2.CORP_KIND_HOSPITAL,
                    page_size=1,
                    page_token=token,
                    **changes,  # type: ignore[arg-type]
                ),
                metadata=identity.platform,
                timeout=TIMEOUT_S,
            )
            listed += [corp.corp_id for corp in response.corps]
            token = response.next_page_token
            if not token:
                return listed

    every = await list_corps()
    suspended = await list_corps(state=identity_pb2.CORP_STATE_SUSPENDED)

    assert every[:3] == [corp.corp_id for corp in reversed(created)]
    assert suspended == [created[1].corp_id]
