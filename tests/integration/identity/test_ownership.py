"""RecoverOwnership: a corp whose owner can't sign in gets one who can, by the platform alone."""

import asyncio
import uuid

import pytest

from fakes.eventually import eventually
from integration.identity.authenticators import enrol
from integration.identity.test_second_factor import challenge
from integration.identity.world import TIMEOUT_S, Identity, Metadata, NewCorp, bearer, refusal
from published_events import published_events
from tieline.api.common.v1 import access_pb2
from tieline.api.identity.v1 import identity_pb2, identity_service_pb2
from tieline.api.identity.v1 import role_service_pb2 as pb


async def recover(
    identity: Identity,
    corp: NewCorp,
    user_id: str = "",
    *,
    metadata: Metadata | None = None,
    request_id: str = "",
    reset_second_factor: bool = False,
    reason: str = "asked for by post",
) -> pb.RecoverOwnershipResponse:
    return await identity.roles.RecoverOwnership(
        pb.RecoverOwnershipRequest(
            request_id=request_id or str(uuid.uuid4()),
            corp_id=corp.corp_id,
            user_id=user_id,
            reset_second_factor=reset_second_factor,
            reason=reason,
        ),
        metadata=metadata or identity.platform,
        timeout=TIMEOUT_S,
    )


async def test_an_owner_who_lost_the_password_gets_in_by_a_new_code(identity: Identity) -> None:
    corp = await identity.new_corp()
    request_id = str(uuid.uuid4())

    first, repeat = await asyncio.gather(
        *(recover(identity, corp, request_id=request_id) for _ in range(2))
    )

    assert first == repeat
    assert first.corp.owner_user_id == first.owner_invitation.user_id == "boss"
    # Nothing ends before the code is used.
    await identity.get_corp(corp.owner)
    session = await identity.accept(
        corp.corp_id, "boss", first.owner_invitation.code, "a new password"
    )
    assert (await identity.get_corp(bearer(session))).corp.corp_id == corp.corp_id


async def test_an_owner_who_lost_the_second_factor_as_well_gets_in_without_it(
    identity: Identity,
) -> None:
    corp = await identity.new_corp()
    await enrol(identity, corp.owner)

    kept = await recover(identity, corp)
    asked = await challenge(identity, corp.corp_id)
    reset = await recover(identity, corp, reset_second_factor=True)

    assert asked.challenge
    assert kept.owner_invitation.code != reset.owner_invitation.code
    ended = await refusal(identity.refresh(corp.owner_session.refresh_token))
    assert ended.reason == "SESSION_ENDED"
    session = await identity.accept(
        corp.corp_id, "boss", reset.owner_invitation.code, "a new password"
    )
    assert session.access_token


@pytest.mark.parametrize("state", ["left", "disabled"])
async def test_a_corp_whose_owner_is_out_gets_another_one(identity: Identity, state: str) -> None:
    corp = await identity.new_corp()
    member = await identity.new_member(corp)
    await identity.grant(corp, rights=[access_pb2.RIGHT_MANAGE_APPS])
    await identity.set_state(corp.corp_id, "boss", state)

    same = await refusal(recover(identity, corp))
    given = await recover(identity, corp, "Li.Wei")

    assert same.reason == {"left": "USER_NOT_FOUND", "disabled": "USER_NOT_ACTIVE"}[state]
    assert given.corp.owner_user_id == given.owner_invitation.user_id == "li.wei"
    # Li Wei's session, which goes on, is the owner's from now on.
    owner = bearer(await identity.refresh(member.refresh_token))
    grants = await identity.roles.ListRoleGrants(pb.ListRoleGrantsRequest(), metadata=owner)
    assert list(grants.grants) == []
    owners = await identity.execute(
        "SELECT user_id FROM identity.accounts WHERE corp_id = $1 AND role = 'owner'", corp.corp_id
    )
    assert [row["user_id"] for row in owners] == ["li.wei"]
    events = await published_events(identity.nats, "IDENTITY", corp.corp_id, 2)
    assert identity_pb2.CorpUpdated.FromString(events[-1][1]).corp == given.corp


async def test_the_new_owner_need_not_have_signed_in_before(identity: Identity) -> None:
    corp = await identity.new_corp()
    identity.directory.members.add((corp.corp_id, "li.wei"))

    given = await recover(identity, corp, "li.wei")

    session = await identity.accept(corp.corp_id, "li.wei", given.owner_invitation.code)
    granted = await identity.stub.CreateInvitations(
        identity_service_pb2.CreateInvitationsRequest(
            request_id=str(uuid.uuid4()), user_ids=["li.wei"]
        ),
        metadata=bearer(session),
    )
    assert granted.invitations


async def test_nobody_who_could_not_sign_in_becomes_the_owner(identity: Identity) -> None:
    corp = await identity.new_corp()
    await identity.new_member(corp)
    await identity.set_state(corp.corp_id, "li.wei", "disabled")

    disabled = await refusal(recover(identity, corp, "li.wei"))
    stranger = await refusal(recover(identity, corp, "nobody"))
    silent = await refusal(recover(identity, corp, "?", reason=""))
    unnamed = await refusal(recover(identity, corp, "?"))
    unknown = await refusal(
        recover(identity, NewCorp("ww" + "0" * 24, corp.owner, corp.owner_session))
    )

    assert (disabled.code, disabled.reason) == ("FAILED_PRECONDITION", "USER_NOT_ACTIVE")
    assert (stranger.code, stranger.reason) == ("NOT_FOUND", "USER_NOT_FOUND")
    assert (list(silent.violations), list(unnamed.violations)) == (["reason"], ["user_id"])
    assert unknown.reason == "CORP_NOT_FOUND"
    assert (await identity.get_corp(corp.owner)).corp.owner_user_id == "boss"


async def test_only_the_platform_recovers_a_corp_and_both_logs_say_so(identity: Identity) -> None:
    corp = await identity.new_corp()
    member = await identity.new_member(corp)
    administrator = await identity.new_administrator(
        corp, access_pb2.RIGHT_MANAGE_SIGN_IN, user_id="wang"
    )

    refused = [
        await refusal(recover(identity, corp, "li.wei", metadata=metadata))
        for metadata in (corp.owner, bearer(member), administrator)
    ]
    await recover(identity, corp, "li.wei", reason="The founder died.")

    assert {error.reason for error in refused} == {"CALLER_NOT_ALLOWED"}
    assert (await identity.get_corp(identity.platform, corp.corp_id)).corp.owner_user_id == "li.wei"

    async def stand_in_both_logs() -> bool:
        rows = await identity.execute(
            "SELECT corp_id, details::text FROM identity.audit_entries"
            " WHERE action = 'identity.ownership.recover' AND resource = $1",
            f"corps/{corp.corp_id}",
        )
        return {row["corp_id"] for row in rows} == {"", corp.corp_id} and all(
            "The founder died." in row["details"] for row in rows
        )

    await eventually(stand_in_both_logs)
