"""Walks every RPC of every service: without a token, as the wrong kind, and as another corp.

Nobody without a token gets anywhere, nobody of another corp learns or changes anything. A new RPC
fails here until ``rpc_requests`` knows how it is called with one corp's ids.
"""

import asyncio
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from e2e.platform_process import PlatformProcess
from e2e.rpc_requests import contacts as contacts_area
from e2e.rpc_requests import directory as directory_area
from e2e.rpc_requests import identity as identity_area
from e2e.rpc_requests import messaging as messaging_area
from e2e.rpc_requests import payments as payments_area
from e2e.rpc_requests.founding import found_world
from e2e.rpc_requests.world import Request, World
from tieline.api.common.v1 import access_pb2, principal_pb2
from tieline.api.contacts.v1 import contacts_service_pb2 as contacts
from tieline.api.directory.v1 import attribute_service_pb2 as attributes
from tieline.api.directory.v1 import directory_service_pb2 as directory
from tieline.api.directory.v1 import import_service_pb2 as imports
from tieline.api.directory.v1 import school_service_pb2 as school
from tieline.api.directory.v1 import tag_service_pb2 as tags
from tieline.api.identity.v1 import app_service_pb2 as apps
from tieline.api.identity.v1 import corp_link_service_pb2 as corp_link
from tieline.api.identity.v1 import identity_service_pb2 as identity
from tieline.api.identity.v1 import role_service_pb2 as role
from tieline.api.identity.v1 import second_factor_service_pb2 as second_factor
from tieline.api.identity.v1 import session_service_pb2 as sessions
from tieline.api.identity.v1 import sign_in_provider_service_pb2 as sign_in_provider
from tieline.api.messaging.v1 import media_service_pb2 as media
from tieline.api.messaging.v1 import messaging_service_pb2 as messaging
from tieline.api.messaging.v1 import scheduled_message_service_pb2 as scheduled
from tieline.api.payments.v1 import payments_service_pb2 as payments
from tieline.client import SignedIn, Tieline

AREAS = (identity_area, directory_area, messaging_area, contacts_area, payments_area)

# How each method is called with the ids of the world's corp. Methods by which people sign in name
# no corp's data; what they refuse is tested with identity.
REQUESTS: dict[str, Request] = {
    name: request for area in AREAS for name, request in area.REQUESTS.items()
}

# What follows the first request of a client's stream.
FOLLOWING: dict[str, list[Message]] = {
    **directory_area.FOLLOWING,
    **messaging_area.FOLLOWING,
}

PLATFORM = principal_pb2.PRINCIPAL_KIND_PLATFORM_ADMINISTRATOR
MEMBER = principal_pb2.PRINCIPAL_KIND_MEMBER
CUSTOMER = principal_pb2.PRINCIPAL_KIND_CUSTOMER
APP = principal_pb2.PRINCIPAL_KIND_APP
LINKED_APP = principal_pb2.PRINCIPAL_KIND_LINKED_APP


NO_RESPONSE = b""
FIRST_RESPONSE_TIMEOUT_S = 15


def _all_methods() -> Iterator[MethodDescriptor]:
    for module in chain.from_iterable(area.MODULES for area in AREAS):
        for service in module.DESCRIPTOR.services_by_name.values():
            yield from service.methods


METHODS = {f"{method.containing_service.name}.{method.name}": method for method in _all_methods()}


def _access(name: str) -> access_pb2.Access:
    return METHODS[name].GetOptions().Extensions[access_pb2.access]


# Says of any corp what every outsider may know.
PUBLIC_METHODS = {"IdentityService.GetCorpProfile"}

# Refuses a request that leaves the corp out.
CORP_NAMING_METHODS = {"IdentityService.DeleteCorp"}

SIGNED_IN = [name for name in METHODS if not _access(name).anonymous]
OPEN_TO_MEMBERS = [name for name in SIGNED_IN if MEMBER in _access(name).kinds]
OPEN_TO_CUSTOMERS = [name for name in SIGNED_IN if CUSTOMER in _access(name).kinds]


def _by_service(names: Iterable[str]) -> pytest.MarkDecorator:
    """Run a test once for the methods of each service: reading the corp's state is what costs."""
    methods: dict[str, list[str]] = {}
    for name in names:
        methods.setdefault(name.partition(".")[0], []).append(name)
    return pytest.mark.parametrize("names", methods.values(), ids=methods)


@pytest.fixture(scope="module")
async def world(tieline: Tieline, platform: PlatformProcess) -> World:
    return await found_world(tieline, platform)


def _response_type(method: MethodDescriptor) -> Any:
    pool = descriptor_pool.Default()
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(method.output_type.full_name))


def find_target(world: World, name: str) -> str:
    """Return where the method is served."""
    target: str = getattr(world.endpoints, METHODS[name].containing_service.full_name.split(".")[2])
    return target


def start_call(
    channel: grpc.aio.Channel,
    name: str,
    request: Message,
    metadata: list[tuple[str, str]],
    following: Sequence[Message] = (),
) -> Any:
    """Start a call of the method, with what follows the request in a client's stream."""
    method = METHODS[name]
    shape = ("stream" if method.client_streaming else "unary") + (
        "_stream" if method.server_streaming else "_unary"
    )
    multicallable = getattr(channel, shape)(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=type(request).SerializeToString,
        response_deserializer=_response_type(method).FromString,
    )
    argument: Any = request
    if method.client_streaming:
        argument = iter([request, *(following or FOLLOWING[name])])
    return multicallable(argument, metadata=metadata, timeout=FIRST_RESPONSE_TIMEOUT_S)


async def _call(world: World, name: str, request: Message, token: str | None) -> bytes:
    """Call a method as raw gRPC; return the serialized first response, or raise AioRpcError."""
    metadata = [] if token is None else [("authorization", f"Bearer {token}")]
    async with grpc.aio.insecure_channel(find_target(world, name)) as channel:
        call = start_call(channel, name, request, metadata)
        if not METHODS[name].server_streaming:
            return bytes((await call).SerializeToString())
        first = await call.read()
        call.cancel()
        return NO_RESPONSE if first is grpc.aio.EOF else first.SerializeToString()


def _without_corp(request: Message) -> Message:
    if isinstance(request, directory.ImportMembersRequest):
        return directory.ImportMembersRequest(config=directory.ImportMembersConfig())
    if isinstance(request, imports.CreateImportJobRequest):
        config = imports.CreateImportJobConfig(request_id=request.config.request_id)
        return imports.CreateImportJobRequest(config=config)
    if isinstance(request, media.UploadMediaRequest):
        header = media.UploadHeader(upload_id=request.header.upload_id)
        return media.UploadMediaRequest(header=header)
    bare = type(request).FromString(request.SerializeToString())
    if isinstance(bare, identity.UpdateCorpRequest):
        bare.corp.ClearField("corp_id")
    else:
        bare.ClearField("corp_id")
    return bare


async def _state(world: World) -> list[bytes]:
    """What the corp's owner sees of everything that a stranger might have changed."""
    owner = world.owner
    reads: list[Awaitable[Message]] = [
        owner.messaging.GetConversation(
            messaging.GetConversationRequest(conversation_id=world.conversation_id)
        ),
        owner.scheduled_messages.GetScheduledMessage(
            scheduled.GetScheduledMessageRequest(scheduled_message_id=world.scheduled_message_id)
        ),
        owner.contacts.GetCustomerGroup(
            contacts.GetCustomerGroupRequest(customer_group_id=world.group_id)
        ),
        owner.payments.GetBalance(payments.GetBalanceRequest()),
        owner.payments.GetRedPacket(
            payments.GetRedPacketRequest(red_packet_id=world.red_packet_id)
        ),
        owner.directory.ListMembers(directory.ListMembersRequest()),
        owner.schools.GetStudent(school.GetStudentRequest(student_id=world.student_id)),
        owner.directory.ListDepartments(directory.ListDepartmentsRequest()),
        owner.tags.ListTags(tags.ListTagsRequest()),
        owner.tags.ListTagMembers(tags.ListTagMembersRequest(tag_id=world.tag_id)),
        owner.attributes.ListAttributes(attributes.ListAttributesRequest()),
        owner.contacts.ListContacts(contacts.ListContactsRequest()),
        owner.sign_in_providers.ListSignInProviders(sign_in_provider.ListSignInProvidersRequest()),
        owner.second_factors.GetSignInPolicy(second_factor.GetSignInPolicyRequest()),
        owner.apps.ListApps(apps.ListAppsRequest()),
        owner.sessions.ListSessions(sessions.ListSessionsRequest()),
        owner.identity.GetCorp(identity.GetCorpRequest()),
        owner.corp_links.ListCorpLinks(corp_link.ListCorpLinksRequest()),
        owner.roles.ListRoleGrants(role.ListRoleGrantsRequest()),
    ]
    responses = await asyncio.gather(*reads)
    return [response.SerializeToString(deterministic=True) for response in responses]


@pytest.fixture(scope="module")
async def settled(world: World) -> list[bytes]:
    """The state that nobody's calls below may change."""
    return await _state(world)


def test_every_method_is_walked() -> None:
    assert set(REQUESTS) == set(METHODS)


@pytest.mark.parametrize("name", SIGNED_IN)
async def test_nobody_gets_in_without_a_token(world: World, name: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await _call(world, name, REQUESTS[name](world), token=None)

    assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("name", SIGNED_IN)
async def test_nobody_gets_in_with_a_made_up_token(world: World, name: str) -> None:
    forged = world.owner.tokens.access_token[:-8] + "AAAAAAAA"

    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await _call(world, name, REQUESTS[name](world), token=forged)

    assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("name", SIGNED_IN)
async def test_a_kind_that_the_method_is_not_for_is_refused(world: World, name: str) -> None:
    parties = {
        PLATFORM: world.administrator.tokens.access_token,
        MEMBER: world.owner.tokens.access_token,
        CUSTOMER: world.other_customer.tokens.access_token,
        APP: world.app_token,
        LINKED_APP: world.linked_app_token,
    }
    wrong = [token for kind, token in parties.items() if kind not in _access(name).kinds]
    assert wrong, "no method is for everybody"

    for token in wrong:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await _call(world, name, REQUESTS[name](world), token)

        assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED


@_by_service(n for n in OPEN_TO_MEMBERS if n not in PUBLIC_METHODS)
async def test_a_member_of_another_corp_finds_nothing(
    world: World, settled: list[bytes], names: list[str]
) -> None:
    for name in names:
        request = REQUESTS[name](world)

        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await _call(world, name, request, world.other_owner.tokens.access_token)

        assert raised.value.code() is grpc.StatusCode.NOT_FOUND, name
    assert await _state(world) == settled


@_by_service(n for n in OPEN_TO_MEMBERS if n not in CORP_NAMING_METHODS)
async def test_ids_of_another_corp_mean_nothing_in_the_own_one(
    world: World, settled: list[bytes], names: list[str]
) -> None:
    for name in names:
        request = _without_corp(REQUESTS[name](world))

        response = await _call_or_not_found(world, name, request, world.other_owner)

        leaks = [each for each in world.secrets_of_the_corp() if each.encode() in response]
        assert leaks == [], name
    assert await _state(world) == settled


@_by_service(OPEN_TO_CUSTOMERS)
async def test_a_customer_whom_the_corp_does_not_know_finds_nothing(
    world: World, settled: list[bytes], names: list[str]
) -> None:
    for name in names:
        request = REQUESTS[name](world)

        response = await _call_or_not_found(world, name, request, world.other_customer)

        leaks = [each for each in world.secrets_of_the_corp() if each.encode() in response]
        assert leaks == [], name
    assert await _state(world) == settled


async def _call_or_not_found(world: World, name: str, request: Message, party: SignedIn) -> bytes:
    try:
        return await _call(world, name, request, party.tokens.access_token)
    except grpc.aio.AioRpcError as error:
        # Unauthenticated: proofs of who one is that are wrong, whosever they are.
        if error.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAUTHENTICATED):
            return NO_RESPONSE
        raise
