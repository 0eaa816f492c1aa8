"""What takes access away takes it away in every service's own process, within two seconds."""

import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from e2e.platform_process import PlatformProcess
from fakes.eventually import eventually
from tieline.api.contacts.v1 import contacts_service_pb2, contacts_service_pb2_grpc
from tieline.api.directory.v1 import (
    change_service_pb2,
    change_service_pb2_grpc,
    directory_service_pb2,
    directory_service_pb2_grpc,
    member_service_pb2,
)
from tieline.api.identity.v1 import (
    identity_pb2,
    identity_service_pb2,
    identity_service_pb2_grpc,
    member_sign_in_service_pb2,
    role_service_pb2,
    session_service_pb2,
)
from tieline.api.messaging.v1 import messaging_service_pb2, messaging_service_pb2_grpc
from tieline.api.payments.v1 import payments_service_pb2, payments_service_pb2_grpc
from tieline.client import Endpoints, SignedIn, Tieline, TielineError

LIMIT_S = 2.0
PASSWORD = "a long password"
CSV = b"user_id,name,department\nli.wei,Li Wei,Sales\n"


@dataclass(frozen=True)
class Scene:
    """A corp with its owner and an auditor called ``li.wei``."""

    tieline: Tieline
    administrator: SignedIn
    corp_id: str
    owner: SignedIn
    member: SignedIn


@pytest.fixture
async def scene(tieline: Tieline, platform: PlatformProcess) -> Scene:
    password = json.loads(platform.data.secrets_file.read_text())["platform_administrator_password"]
    administrator = await tieline.sign_in_platform_administrator("platform", password)
    created = await administrator.identity.CreateCorp(
        identity_service_pb2.CreateCorpRequest(
            display_name="Corp",
            kind=identity_pb2.CORP_KIND_COMPANY,
            owner_user_id="owner",
            owner_name="Owner",
        )
    )
    corp_id = created.corp.corp_id
    owner = await tieline.accept_invitation(
        corp_id, "owner", created.owner_invitation.code, PASSWORD
    )
    await eventually(lambda: _has_imported(owner))
    invited = await owner.identity.CreateInvitations(
        identity_service_pb2.CreateInvitationsRequest(user_ids=["li.wei"])
    )
    await tieline.accept_invitation(corp_id, "li.wei", invited.invitations[0].code, PASSWORD)
    await owner.roles.GrantRole(
        role_service_pb2.GrantRoleRequest(
            grant=role_service_pb2.RoleGrant(
                user_id="li.wei", role=role_service_pb2.CORP_ROLE_AUDITOR
            )
        )
    )
    member = await tieline.sign_in_member(corp_id, "li.wei", PASSWORD)
    return Scene(tieline, administrator, corp_id, owner, member)


async def revoke_session(scene: Scene) -> None:
    await scene.member.sessions.RevokeSession(
        session_service_pb2.RevokeSessionRequest(session_id=scene.member.tokens.session_id)
    )


async def revoke_role(scene: Scene) -> None:
    await scene.owner.roles.RevokeRole(
        role_service_pb2.RevokeRoleRequest(
            user_id="li.wei", role=role_service_pb2.CORP_ROLE_AUDITOR
        )
    )


async def disable_member(scene: Scene) -> None:
    await scene.owner.members.DisableMember(
        member_service_pb2.DisableMemberRequest(request_id=str(uuid.uuid4()), user_id="li.wei")
    )


async def suspend_corp(scene: Scene) -> None:
    await scene.administrator.identity.SuspendCorp(
        identity_service_pb2.SuspendCorpRequest(corp_id=scene.corp_id, reason="test")
    )


async def change_password(scene: Scene) -> None:
    """Change it on another device."""
    other = await scene.tieline.sign_in_member(scene.corp_id, "li.wei", PASSWORD)
    await other.member_sign_in.ChangePassword(
        member_sign_in_service_pb2.ChangePasswordRequest(
            old_password=PASSWORD, new_password="another long password"
        )
    )


# A plain read of each service.
READS: dict[str, tuple[Callable[[grpc.aio.Channel], Any], str, Message]] = {
    "identity": (
        identity_service_pb2_grpc.IdentityServiceStub,
        "GetCorp",
        identity_service_pb2.GetCorpRequest(),
    ),
    "directory": (
        directory_service_pb2_grpc.DirectoryServiceStub,
        "ListDepartments",
        directory_service_pb2.ListDepartmentsRequest(),
    ),
    "messaging": (
        messaging_service_pb2_grpc.MessagingServiceStub,
        "ListConversations",
        messaging_service_pb2.ListConversationsRequest(),
    ),
    "contacts": (
        contacts_service_pb2_grpc.ContactsServiceStub,
        "ListContacts",
        contacts_service_pb2.ListContactsRequest(),
    ),
    "payments": (
        payments_service_pb2_grpc.PaymentsServiceStub,
        "GetBalance",
        payments_service_pb2.GetBalanceRequest(),
    ),
}


@pytest.mark.parametrize(
    "take_away", [revoke_session, revoke_role, disable_member, suspend_corp, change_password]
)
async def test_every_service_refuses_and_every_stream_ends_within_two_seconds(
    scene: Scene, platform: PlatformProcess, take_away: Callable[[Scene], Awaitable[None]]
) -> None:
    endpoints = Endpoints.read(platform.data.path / "endpoints.json")
    # Without the client library, which would refresh.
    metadata = [("authorization", f"Bearer {scene.member.tokens.access_token}")]
    async with AsyncExitStack() as stack:
        channels = {
            service: await stack.enter_async_context(
                grpc.aio.insecure_channel(getattr(endpoints, service))
            )
            for service in READS
        }

        async def read(service: str) -> grpc.StatusCode:
            make_stub, method, request = READS[service]
            call = getattr(make_stub(channels[service]), method)
            return await _code(lambda: call(request, metadata=metadata, timeout=10))

        async def all_are_ready() -> bool:
            return {await read(service) for service in READS} == {grpc.StatusCode.OK}

        await eventually(all_are_ready)
        messages: Any = messaging_service_pb2_grpc.MessagingServiceStub(
            channels["messaging"]
        ).Subscribe(messaging_service_pb2.SubscribeRequest(), metadata=metadata)
        changes: Any = change_service_pb2_grpc.ChangeServiceStub(
            channels["directory"]
        ).WatchChanges(change_service_pb2.WatchChangesRequest(), metadata=metadata)
        for stream in (messages, changes):
            await stream.read()

        await take_away(scene)
        taken_at = time.monotonic()

        async def refused(service: str) -> None:
            while (code := await read(service)) is grpc.StatusCode.OK:
                assert time.monotonic() - taken_at < LIMIT_S, service
            assert code is grpc.StatusCode.UNAUTHENTICATED, service

        async def ended(stream: Any) -> None:
            code = await _code(lambda: _read_to_the_end(stream))
            assert code is grpc.StatusCode.UNAUTHENTICATED

        async with asyncio.timeout(LIMIT_S):
            await asyncio.gather(*map(refused, READS), ended(messages), ended(changes))


async def _has_imported(owner: SignedIn) -> bool:
    requests = [
        directory_service_pb2.ImportMembersRequest(
            config=directory_service_pb2.ImportMembersConfig()
        ),
        directory_service_pb2.ImportMembersRequest(chunk=CSV),
    ]
    try:
        async for _ in owner.directory.ImportMembers(iter(requests)):
            pass
    except TielineError as error:
        # The directory hears of a new corp by an event, within moments.
        if error.reason == "CORP_NOT_READY":
            return False
        raise
    return True


async def _read_to_the_end(stream: Any) -> None:
    while await stream.read() is not grpc.aio.EOF:
        pass


async def _code(act: Callable[[], Awaitable[object]]) -> grpc.StatusCode:
    try:
        await act()
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK
