"""What ends a session ends it in every service's own process, within two seconds."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest

from e2e.platform_process import PlatformProcess
from fakes.eventually import eventually
from tieline.api.directory.v1 import directory_service_pb2, directory_service_pb2_grpc
from tieline.api.identity.v1 import identity_pb2, identity_service_pb2, session_service_pb2
from tieline.api.messaging.v1 import messaging_service_pb2, messaging_service_pb2_grpc
from tieline.client import Endpoints, SignedIn, Tieline

LIMIT_S = 2.0


@pytest.fixture
async def owner(tieline: Tieline, platform: PlatformProcess) -> SignedIn:
    """The owner of a new corp, signed in."""
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
    return await tieline.accept_invitation(
        created.corp.corp_id, "owner", created.owner_invitation.code, "a long password"
    )


async def test_every_service_refuses_a_revoked_session_within_two_seconds(
    owner: SignedIn, platform: PlatformProcess
) -> None:
    endpoints = Endpoints.read(platform.data.path / "endpoints.json")
    # Without the client library, which would refresh.
    metadata = [("authorization", f"Bearer {owner.tokens.access_token}")]
    async with (
        grpc.aio.insecure_channel(endpoints.directory) as to_directory,
        grpc.aio.insecure_channel(endpoints.messaging) as to_messaging,
    ):
        directory = directory_service_pb2_grpc.DirectoryServiceStub(to_directory)
        messaging = messaging_service_pb2_grpc.MessagingServiceStub(to_messaging)

        async def ask_directory() -> None:
            await directory.ListDepartments(
                directory_service_pb2.ListDepartmentsRequest(), metadata=metadata, timeout=10
            )

        async def directory_is_ready() -> bool:
            return await _code(ask_directory) is grpc.StatusCode.OK

        await eventually(directory_is_ready)
        stream: Any = messaging.Subscribe(
            messaging_service_pb2.SubscribeRequest(), metadata=metadata
        )
        await stream.read()

        await owner.sessions.RevokeSession(
            session_service_pb2.RevokeSessionRequest(session_id=owner.tokens.session_id)
        )
        revoked_at = time.monotonic()
        while (code := await _code(ask_directory)) is grpc.StatusCode.OK:
            assert time.monotonic() - revoked_at < LIMIT_S
        assert code is grpc.StatusCode.UNAUTHENTICATED
        async with asyncio.timeout_at(asyncio.get_running_loop().time() + LIMIT_S):
            assert await _code(lambda: _read_to_the_end(stream)) is grpc.StatusCode.UNAUTHENTICATED

    assert time.monotonic() - revoked_at < LIMIT_S


async def _read_to_the_end(stream: Any) -> None:
    while await stream.read() is not grpc.aio.EOF:
        pass


async def _code(act: Callable[[], Awaitable[None]]) -> grpc.StatusCode:
    try:
        await act()
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK
