"""An invitation is worth what its maker may invite at the moment of its use."""

import uuid

import pytest

from integration.identity.test_ownership import recover
from integration.identity.world import (
    PASSWORD,
    PLATFORM_PASSWORD,
    TIMEOUT_S,
    Identity,
    Metadata,
    NewCorp,
    bearer,
    corp_request,
    refusal,
)
from tieline.api.common.v1 import access_pb2
from tieline.api.identity.v1 import identity_service_pb2, role_service_pb2

NEW_PASSWORD = "of whoever has the code"


async def invite_as(identity: Identity, inviter: Metadata, user_id: str) -> str:
    """Return the code that the inviter makes for the member."""
    response = await identity.stub.CreateInvitations(
        identity_service_pb2.CreateInvitationsRequest(
            request_id=str(uuid.uuid4()), user_ids=[user_id]
        ),
        metadata=inviter,
        timeout=TIMEOUT_S,
    )
    return response.invitations[0].code


async def revoke(identity: Identity, corp: NewCorp, user_id: str) -> None:
    await identity.roles.RevokeRole(
        role_service_pb2.RevokeRoleRequest(
            request_id=str(uuid.uuid4()),
            user_id=user_id,
            role=role_service_pb2.CORP_ROLE_ADMINISTRATOR,
        ),
        metadata=corp.owner,
        timeout=TIMEOUT_S,
    )


@pytest.fixture
async def corp(identity: Identity) -> NewCorp:
    return await identity.new_corp()


@pytest.fixture
async def administrator(identity: Identity, corp: NewCorp) -> Metadata:
    """Somebody who may invite, and the member ``wang`` has a password already."""
    await identity.new_member(corp, "wang")
    return await identity.new_administrator(
        corp, access_pb2.RIGHT_MANAGE_SIGN_IN, user_id="inviter"
    )


async def test_an_administrators_code_opens_no_account_that_was_put_in_charge_since(
    identity: Identity, corp: NewCorp, administrator: Metadata
) -> None:
    """The code is refused and the account as it was; the owner's own code opens it."""
    code = await invite_as(identity, administrator, "wang")
    await identity.grant(corp, "wang", role=role_service_pb2.CORP_ROLE_AUDITOR)

    error = await refusal(identity.accept(corp.corp_id, "wang", code, NEW_PASSWORD))

    assert (error.code, error.reason) == ("UNAUTHENTICATED", "CREDENTIALS_REJECTED")
    await identity.sign_in(corp.corp_id, "wang", PASSWORD)
    [owners] = await identity.invite(corp, "wang")
    await identity.accept(corp.corp_id, "wang", owners.code, NEW_PASSWORD)


@pytest.mark.parametrize("loss", ["revoked", "other right", "left", "disabled"])
async def test_a_code_ends_when_its_maker_may_not_invite_any_more(
    identity: Identity, corp: NewCorp, administrator: Metadata, loss: str
) -> None:
    """However the right was lost; the code of the same maker was good before."""
    first = await invite_as(identity, administrator, "wang")
    await identity.accept(corp.corp_id, "wang", first, PASSWORD)
    code = await invite_as(identity, administrator, "wang")
    match loss:
        case "revoked":
            await revoke(identity, corp, "inviter")
        case "other right":
            await identity.grant(corp, "inviter", rights=[access_pb2.RIGHT_MANAGE_APPS])
        case state:
            await identity.set_state(corp.corp_id, "inviter", state)

    error = await refusal(identity.accept(corp.corp_id, "wang", code, NEW_PASSWORD))

    assert error.reason == "CREDENTIALS_REJECTED"
    await identity.sign_in(corp.corp_id, "wang", PASSWORD)


async def test_a_former_owners_codes_end_with_the_ownership(
    identity: Identity, corp: NewCorp, administrator: Metadata
) -> None:
    """Who gave the corp on lets nobody in any more."""
    [invitation] = await identity.invite(corp, "inviter")
    await identity.roles.TransferOwnership(
        role_service_pb2.TransferOwnershipRequest(request_id=str(uuid.uuid4()), user_id="wang"),
        metadata=corp.owner,
        timeout=TIMEOUT_S,
    )

    error = await refusal(identity.accept(corp.corp_id, "inviter", invitation.code, NEW_PASSWORD))

    assert error.reason == "CREDENTIALS_REJECTED"


async def test_an_owners_code_of_a_removed_platform_administrator_opens_nothing(
    identity: Identity,
) -> None:
    """Whoever is an administrator still lets the owner in by RecoverOwnership."""
    name = f"a-{uuid.uuid4().hex[:8]}"
    await identity.execute(
        "INSERT INTO identity.platform_administrators (name, password_hash)"
        " SELECT $1, password_hash FROM identity.platform_administrators WHERE name = 'platform'",
        name,
    )
    session = await identity.sign_in_platform(name, PLATFORM_PASSWORD)
    created = await identity.stub.CreateCorp(
        corp_request(), metadata=bearer(session), timeout=TIMEOUT_S
    )
    await identity.execute("DELETE FROM identity.platform_administrators WHERE name = $1", name)
    corp_id = created.corp.corp_id

    error = await refusal(identity.accept(corp_id, "boss", created.owner_invitation.code))
    recovered = await recover(identity, NewCorp(corp_id, (), session))

    assert error.reason == "CREDENTIALS_REJECTED"
    await identity.accept(corp_id, "boss", recovered.owner_invitation.code)


async def test_a_code_of_before_inviters_were_kept_opens_as_it_did(
    identity: Identity, corp: NewCorp, administrator: Metadata
) -> None:
    """Until the seven days are over that it is good for."""
    code = await invite_as(identity, administrator, "wang")
    await identity.execute(
        "UPDATE identity.invitations SET inviter_kind = NULL, inviter_id = NULL WHERE corp_id = $1",
        corp.corp_id,
    )
    await revoke(identity, corp, "inviter")

    await identity.accept(corp.corp_id, "wang", code, NEW_PASSWORD)
