"""RoleService: who is granted what, and that tokens say so."""

import asyncio
import base64
import json
import uuid
from typing import Any

from integration.identity.world import TIMEOUT_S, Identity, Metadata, NewCorp, bearer, refusal
from published_events import published_events
from tieline.api.common.v1 import access_pb2
from tieline.api.identity.v1 import identity_pb2
from tieline.api.identity.v1 import role_service_pb2 as pb

ADMINISTRATOR = pb.CORP_ROLE_ADMINISTRATOR
AUDITOR = pb.CORP_ROLE_AUDITOR
DIRECTORY = access_pb2.RIGHT_MANAGE_DIRECTORY


async def revoke(
    identity: Identity,
    corp: NewCorp,
    user_id: str = "li.wei",
    role: "pb.CorpRole.ValueType" = ADMINISTRATOR,
    *,
    etag: str = "",
    request_id: str = "",
) -> None:
    await identity.roles.RevokeRole(
        pb.RevokeRoleRequest(
            request_id=request_id or str(uuid.uuid4()), user_id=user_id, role=role, etag=etag
        ),
        metadata=corp.owner,
        timeout=TIMEOUT_S,
    )


async def transfer(
    identity: Identity, metadata: Metadata, user_id: str, request_id: str = ""
) -> identity_pb2.Corp:
    response = await identity.roles.TransferOwnership(
        pb.TransferOwnershipRequest(request_id=request_id or str(uuid.uuid4()), user_id=user_id),
        metadata=metadata,
        timeout=TIMEOUT_S,
    )
    return response.corp


async def list_grants(identity: Identity, metadata: Metadata) -> list[pb.RoleGrant]:
    found: list[pb.RoleGrant] = []
    token = ""
    while True:
        response = await identity.roles.ListRoleGrants(
            pb.ListRoleGrantsRequest(page_size=2, page_token=token),
            metadata=metadata,
            timeout=TIMEOUT_S,
        )
        found += response.grants
        token = response.next_page_token
        if not token:
            return found


def claims(session: identity_pb2.Session) -> dict[str, Any]:
    payload = session.access_token.split(".")[1]
    read: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return read


async def test_a_grant_stands_in_new_and_refreshed_tokens_until_it_is_revoked(
    identity: Identity,
) -> None:
    corp = await identity.new_corp()
    before = await identity.new_member(corp)

    granted = await identity.grant(corp, "Li.Wei", rights=[DIRECTORY], department_ids=[7, 9])
    refreshed = await identity.refresh(before.refresh_token)
    signed_in = await identity.sign_in(corp.corp_id, "li.wei")
    await revoke(identity, corp)
    after = await identity.refresh(refreshed.refresh_token)

    assert (granted.user_id, granted.granter_user_id) == ("li.wei", "boss")
    for session in (refreshed, signed_in):
        token = claims(session)
        assert token["roles"] == ["administrator"]
        assert token["rights"] == ["manage_directory"]
        assert token["departments"] == [7, 9]
    for session in (before, after):
        token = claims(session)
        assert (token["roles"], token.get("rights"), token.get("departments")) == ([], None, None)


async def test_granting_and_signing_in_at_once_do_not_wait_for_each_other(
    identity: Identity,
) -> None:
    corp = await identity.new_corp()
    await identity.new_member(corp)

    await asyncio.gather(
        *(identity.sign_in(corp.corp_id, "li.wei") for _ in range(12)),
        *(identity.grant(corp, rights=[DIRECTORY]) for _ in range(12)),
    )

    assert claims(await identity.sign_in(corp.corp_id, "li.wei"))["rights"] == ["manage_directory"]


async def test_an_auditor_reads_who_is_in_charge_and_changes_nothing(identity: Identity) -> None:
    corp = await identity.new_corp()
    await identity.new_member(corp)
    await identity.grant(corp, role=AUDITOR)
    auditor = bearer(await identity.sign_in(corp.corp_id, "li.wei"))

    [grant] = await list_grants(identity, auditor)
    error = await refusal(transfer(identity, auditor, "li.wei"))

    assert (grant.user_id, grant.role) == ("li.wei", AUDITOR)
    assert error.reason == "CALLER_NOT_ALLOWED"


async def test_granting_again_replaces_and_a_repeat_grants_once(identity: Identity) -> None:
    corp = await identity.new_corp()
    identity.directory.members |= {(corp.corp_id, user_id) for user_id in ("a", "b", "c")}
    request = pb.GrantRoleRequest(
        request_id=str(uuid.uuid4()),
        grant=pb.RoleGrant(user_id="a", role=ADMINISTRATOR, rights=[DIRECTORY]),
    )

    first, *others = await asyncio.gather(
        *(identity.roles.GrantRole(request, metadata=corp.owner) for _ in range(4))
    )
    stale = await refusal(identity.grant(corp, "a", rights=[DIRECTORY], etag="1"))
    replaced = await identity.grant(
        corp, "a", rights=[access_pb2.RIGHT_MANAGE_APPS], etag=first.grant.etag
    )
    await identity.grant(corp, "a", role=AUDITOR)
    await identity.grant(corp, "b", role=AUDITOR)
    repeat = await identity.roles.GrantRole(request, metadata=corp.owner)

    assert all(response == first for response in [*others, repeat])
    assert (stale.code, stale.reason) == ("ABORTED", "ETAG_MISMATCH")
    found = await list_grants(identity, corp.owner)
    assert [(grant.user_id, grant.role) for grant in found] == [
        ("a", ADMINISTRATOR),
        ("a", AUDITOR),
        ("b", AUDITOR),
    ]
    assert found[0] == replaced


async def test_a_role_is_revoked_once(identity: Identity) -> None:
    corp = await identity.new_corp()
    await identity.new_member(corp)
    granted = await identity.grant(corp, role=AUDITOR)
    request_id = str(uuid.uuid4())

    stale = await refusal(revoke(identity, corp, role=AUDITOR, etag="1"))
    await revoke(identity, corp, role=AUDITOR, etag=granted.etag, request_id=request_id)
    await revoke(identity, corp, role=AUDITOR, etag=granted.etag, request_id=request_id)
    another = await refusal(revoke(identity, corp, role=AUDITOR))

    assert stale.reason == "ETAG_MISMATCH"
    assert (another.code, another.reason) == ("NOT_FOUND", "ROLE_GRANT_NOT_FOUND")


async def test_nothing_is_granted_to_strangers_nor_to_the_owner(identity: Identity) -> None:
    corp, other = await identity.new_corp(), await identity.new_corp()
    identity.directory.members |= {(other.corp_id, "li.wei"), (corp.corp_id, "boss")}

    stranger = await refusal(identity.grant(corp, rights=[DIRECTORY]))
    owner = await refusal(identity.grant(corp, "boss", rights=[DIRECTORY]))
    unknown = await refusal(identity.grant(corp, rights=[99]))  # type: ignore[list-item]

    assert (stranger.reason, stranger.metadata) == ("USER_NOT_FOUND", {"userId": "li.wei"})
    assert list(owner.violations) == ["grant.user_id"]
    assert list(unknown.violations) == ["grant.rights[0]"]
    assert await list_grants(identity, corp.owner) == []


async def test_the_new_owner_has_every_right_and_the_former_one_none(identity: Identity) -> None:
    corp = await identity.new_corp()
    identity.directory.members.add((corp.corp_id, "boss"))
    member = await identity.new_member(corp)
    await identity.grant(corp, role=AUDITOR)
    request_id = str(uuid.uuid4())

    # At once: the first one's success voids the token of both.
    owned, repeat = await asyncio.gather(
        *(transfer(identity, corp.owner, "Li.Wei", request_id) for _ in range(2))
    )
    former = bearer(await identity.sign_in(corp.corp_id))
    by_former = await refusal(transfer(identity, former, "boss"))

    assert owned == repeat
    assert owned.owner_user_id == "li.wei"
    assert by_former.reason == "CALLER_NOT_ALLOWED"
    assert claims(await identity.refresh(corp.owner_session.refresh_token))["roles"] == []
    new_owner = await identity.refresh(member.refresh_token)
    assert claims(new_owner)["roles"] == ["owner"]
    back = await transfer(identity, bearer(new_owner), "boss")
    assert back.owner_user_id == "boss"
    events = await published_events(identity.nats, "IDENTITY", corp.corp_id, 3)
    told = [identity_pb2.CorpUpdated.FromString(payload).corp for _, payload in events[1:]]
    assert told == [owned, back]


async def test_two_transfers_at_once_leave_one_owner(identity: Identity) -> None:
    corp = await identity.new_corp()
    for user_id in ("li.wei", "wang"):
        await identity.new_member(corp, user_id)

    outcomes = await asyncio.gather(
        transfer(identity, corp.owner, "li.wei"),
        transfer(identity, corp.owner, "wang"),
        return_exceptions=True,
    )

    [owned] = [outcome for outcome in outcomes if isinstance(outcome, identity_pb2.Corp)]
    owners = await identity.execute(
        "SELECT user_id FROM identity.accounts WHERE corp_id = $1 AND role = 'owner'", corp.corp_id
    )
    assert [row["user_id"] for row in owners] == [owned.owner_user_id]


async def test_a_corp_is_not_given_to_who_left_or_is_disabled(identity: Identity) -> None:
    corp = await identity.new_corp()
    for user_id in ("left", "disabled"):
        await identity.new_member(corp, user_id)
        await identity.set_state(corp.corp_id, user_id, user_id)
    await identity.new_member(corp, "gone")
    # Identity has not heard of it yet.
    identity.directory.members.remove((corp.corp_id, "gone"))

    left, disabled, gone = [
        await refusal(transfer(identity, corp.owner, user_id))
        for user_id in ("left", "disabled", "gone")
    ]

    assert (left.code, left.reason) == (gone.code, gone.reason) == ("NOT_FOUND", "USER_NOT_FOUND")
    assert (disabled.code, disabled.reason) == ("FAILED_PRECONDITION", "USER_NOT_ACTIVE")
    assert disabled.metadata == {"userId": "disabled", "state": "disabled"}
    assert (await identity.get_corp(corp.owner)).corp.owner_user_id == "boss"
    same = await transfer(identity, corp.owner, "boss")
    assert same.owner_user_id == "boss"


async def test_a_corp_is_not_given_to_who_never_signed_in(identity: Identity) -> None:
    corp = await identity.new_corp()
    identity.directory.members.add((corp.corp_id, "li.wei"))

    error = await refusal(transfer(identity, corp.owner, "li.wei"))

    assert (error.code, error.reason) == ("NOT_FOUND", "USER_NOT_FOUND")
    assert (await identity.get_corp(corp.owner)).corp.owner_user_id == "boss"
