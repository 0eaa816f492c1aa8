"""Walks every RPC of every service: without a token, as the wrong kind, and as another corp.

Nobody without a token gets anywhere, nobody of another corp learns or changes anything. A new RPC
fails here until ``REQUESTS`` knows how it is called with one corp's ids.
"""

import json
import secrets
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from e2e.platform_process import PlatformProcess
from fakes.eventually import eventually
from tieline.api.common.v1 import access_pb2, principal_pb2
from tieline.api.contacts.v1 import contacts_service_pb2 as contacts
from tieline.api.directory.v1 import directory_service_pb2 as directory
from tieline.api.identity.v1 import app_pb2, identity_pb2
from tieline.api.identity.v1 import app_service_pb2 as apps
from tieline.api.identity.v1 import identity_service_pb2 as identity
from tieline.api.identity.v1 import session_service_pb2 as sessions
from tieline.api.identity.v1 import signing_key_service_pb2 as signing_keys
from tieline.api.messaging.v1 import messaging_pb2
from tieline.api.messaging.v1 import messaging_service_pb2 as messaging
from tieline.api.payments.v1 import payments_service_pb2 as payments
from tieline.client import Endpoints, SignedIn, SignedInCustomer, Tieline
from tieline.client.errors import TielineError
from tieline.demo.channel import Channel

MODULES = (
    identity,
    sessions,
    apps,
    signing_keys,
    directory,
    messaging,
    contacts,
    payments,
)
PLATFORM = principal_pb2.PRINCIPAL_KIND_PLATFORM_ADMINISTRATOR
MEMBER = principal_pb2.PRINCIPAL_KIND_MEMBER
CUSTOMER = principal_pb2.PRINCIPAL_KIND_CUSTOMER
APP = principal_pb2.PRINCIPAL_KIND_APP

NO_RESPONSE = b""
FIRST_RESPONSE_TIMEOUT_S = 15


@dataclass
class World:
    """One corp with something of everything, and people who have no business with it."""

    endpoints: Endpoints
    administrator: SignedIn
    owner: SignedIn
    corp_id: str
    colleague_id: str
    conversation_id: str
    group_id: str
    contact_code: str
    join_code: str
    red_packet_id: str
    app: app_pb2.App
    app_token: str
    other_owner: SignedIn
    other_customer: SignedInCustomer

    def secrets_of_the_corp(self) -> list[str]:
        """What must never appear in an answer to somebody of another corp."""
        return [
            self.colleague_id,
            self.conversation_id,
            self.group_id,
            self.contact_code,
            self.join_code,
            self.red_packet_id,
            self.owner.tokens.session_id,
            self.app.name,
            self.app.secrets[0].secret_id,
        ]


Request = Callable[[World], Message]


def _new_id() -> str:
    return str(uuid.uuid4())


# How each method is called with the ids of the world's corp. Methods by which people sign in name
# no corp's data; what they refuse is tested with identity.
REQUESTS: dict[str, Request] = {
    "IdentityService.CreateCorp": lambda w: identity.CreateCorpRequest(
        request_id=_new_id(),
        display_name="Other",
        kind=identity_pb2.CORP_KIND_COMPANY,
        owner_user_id="owner",
        owner_name="Owner",
    ),
    "IdentityService.VerifyCorp": lambda w: identity.VerifyCorpRequest(
        corp_id=w.corp_id, evidence="none"
    ),
    "IdentityService.GetCorp": lambda w: identity.GetCorpRequest(corp_id=w.corp_id),
    "IdentityService.CreateInvitations": lambda w: identity.CreateInvitationsRequest(
        request_id=_new_id(), corp_id=w.corp_id, user_ids=[w.colleague_id]
    ),
    "IdentityService.AcceptInvitation": lambda w: identity.AcceptInvitationRequest(),
    "IdentityService.SignInMember": lambda w: identity.SignInMemberRequest(),
    "IdentityService.SignInPlatformAdministrator": (
        lambda w: identity.SignInPlatformAdministratorRequest()
    ),
    "IdentityService.SignInCustomer": lambda w: identity.SignInCustomerRequest(),
    "IdentityService.RefreshSession": lambda w: identity.RefreshSessionRequest(),
    "IdentityService.CreateChannel": lambda w: identity.CreateChannelRequest(
        request_id=_new_id(), display_name="Channel", public_key=secrets.token_bytes(32)
    ),
    "SessionService.ListSessions": lambda w: sessions.ListSessionsRequest(
        corp_id=w.corp_id, user_id="owner"
    ),
    "SessionService.RevokeSession": lambda w: sessions.RevokeSessionRequest(
        corp_id=w.corp_id, session_id=w.owner.tokens.session_id
    ),
    "SessionService.RevokeAllSessions": lambda w: sessions.RevokeAllSessionsRequest(
        corp_id=w.corp_id, user_id=w.colleague_id
    ),
    "SessionService.SignOut": lambda w: sessions.SignOutRequest(),
    "AppService.CreateApp": lambda w: apps.CreateAppRequest(
        request_id=_new_id(), corp_id=w.corp_id, app=app_pb2.App(name="App")
    ),
    "AppService.GetApp": lambda w: apps.GetAppRequest(corp_id=w.corp_id, agent_id=w.app.agent_id),
    "AppService.ListApps": lambda w: apps.ListAppsRequest(corp_id=w.corp_id),
    "AppService.UpdateApp": lambda w: apps.UpdateAppRequest(
        request_id=_new_id(),
        corp_id=w.corp_id,
        app=app_pb2.App(agent_id=w.app.agent_id, disabled=True),
        update_mask=FieldMask(paths=["disabled"]),
    ),
    "AppService.DeleteApp": lambda w: apps.DeleteAppRequest(
        request_id=_new_id(), corp_id=w.corp_id, agent_id=w.app.agent_id
    ),
    "AppService.RotateAppSecret": lambda w: apps.RotateAppSecretRequest(
        request_id=_new_id(), corp_id=w.corp_id, agent_id=w.app.agent_id
    ),
    "AppService.RevokeAppSecret": lambda w: apps.RevokeAppSecretRequest(
        corp_id=w.corp_id, agent_id=w.app.agent_id, secret_id=w.app.secrets[0].secret_id
    ),
    "AppService.CreateAppToken": lambda w: apps.CreateAppTokenRequest(),
    "SigningKeyService.GetJwks": lambda w: signing_keys.GetJwksRequest(),
    "SigningKeyService.RotateSigningKey": lambda w: signing_keys.RotateSigningKeyRequest(
        request_id=_new_id()
    ),
    "DirectoryService.ImportMembers": lambda w: directory.ImportMembersRequest(
        config=directory.ImportMembersConfig(corp_id=w.corp_id)
    ),
    "DirectoryService.GetMember": lambda w: directory.GetMemberRequest(
        corp_id=w.corp_id, user_id=w.colleague_id
    ),
    "DirectoryService.BatchGetMembers": lambda w: directory.BatchGetMembersRequest(
        corp_id=w.corp_id, user_ids=[w.colleague_id]
    ),
    "DirectoryService.SearchMembers": lambda w: directory.SearchMembersRequest(
        corp_id=w.corp_id, query=w.colleague_id
    ),
    "DirectoryService.ListMembers": lambda w: directory.ListMembersRequest(corp_id=w.corp_id),
    "DirectoryService.ListDepartments": lambda w: directory.ListDepartmentsRequest(
        corp_id=w.corp_id
    ),
    "MessagingService.CreateConversation": lambda w: messaging.CreateConversationRequest(
        request_id=_new_id(),
        corp_id=w.corp_id,
        kind=messaging_pb2.CONVERSATION_KIND_DIRECT,
        user_ids=[w.colleague_id],
    ),
    "MessagingService.GetConversation": lambda w: messaging.GetConversationRequest(
        corp_id=w.corp_id, conversation_id=w.conversation_id
    ),
    "MessagingService.ListConversations": lambda w: messaging.ListConversationsRequest(
        corp_id=w.corp_id
    ),
    "MessagingService.ListParticipants": lambda w: messaging.ListParticipantsRequest(
        corp_id=w.corp_id, conversation_id=w.conversation_id
    ),
    "MessagingService.SendMessage": lambda w: messaging.SendMessageRequest(
        corp_id=w.corp_id,
        conversation_id=w.conversation_id,
        client_message_id=_new_id(),
        content=messaging_pb2.MessageContent(text=messaging_pb2.TextContent(text="hello")),
    ),
    "MessagingService.ListMessages": lambda w: messaging.ListMessagesRequest(
        corp_id=w.corp_id, conversation_id=w.conversation_id
    ),
    "MessagingService.Subscribe": lambda w: messaging.SubscribeRequest(corp_id=w.corp_id),
    "ContactsService.CreateContactWay": lambda w: contacts.CreateContactWayRequest(
        request_id=_new_id(), corp_id=w.corp_id
    ),
    "ContactsService.AddContact": lambda w: contacts.AddContactRequest(
        corp_id=w.corp_id, code="0" * len(w.contact_code)
    ),
    "ContactsService.ListContacts": lambda w: contacts.ListContactsRequest(corp_id=w.corp_id),
    "ContactsService.CreateCustomerGroup": lambda w: contacts.CreateCustomerGroupRequest(
        request_id=_new_id(), corp_id=w.corp_id, name="Group"
    ),
    "ContactsService.GetCustomerGroup": lambda w: contacts.GetCustomerGroupRequest(
        corp_id=w.corp_id, customer_group_id=w.group_id
    ),
    "ContactsService.CreateJoinWay": lambda w: contacts.CreateJoinWayRequest(
        request_id=_new_id(), corp_id=w.corp_id, customer_group_id=w.group_id
    ),
    "ContactsService.JoinCustomerGroup": lambda w: contacts.JoinCustomerGroupRequest(
        corp_id=w.corp_id, code="0" * len(w.join_code)
    ),
    "PaymentsService.CreateDeposit": lambda w: payments.CreateDepositRequest(
        request_id=_new_id(),
        corp_id=w.corp_id,
        amount_minor=1,
        currency_code="CNY",
        bank_reference="reference",
    ),
    "PaymentsService.GetBalance": lambda w: payments.GetBalanceRequest(corp_id=w.corp_id),
    "PaymentsService.CreateRedPacket": lambda w: payments.CreateRedPacketRequest(
        request_id=_new_id(),
        corp_id=w.corp_id,
        conversation_id=w.conversation_id,
        amount_minor=100,
        currency_code="CNY",
        share_count=1,
    ),
    "PaymentsService.OpenRedPacket": lambda w: payments.OpenRedPacketRequest(
        corp_id=w.corp_id, red_packet_id=w.red_packet_id
    ),
    "PaymentsService.GetRedPacket": lambda w: payments.GetRedPacketRequest(
        corp_id=w.corp_id, red_packet_id=w.red_packet_id
    ),
    "PaymentsService.CheckLedger": lambda w: payments.CheckLedgerRequest(corp_id=w.corp_id),
}

# What follows the first message of a request stream.
FOLLOWING: dict[str, list[Message]] = {
    "DirectoryService.ImportMembers": [
        directory.ImportMembersRequest(chunk=b"user_id,name,department\nli.na,Li Na,Sales\n")
    ],
}


def _all_methods() -> Iterator[MethodDescriptor]:
    for module in MODULES:
        for service in module.DESCRIPTOR.services_by_name.values():
            yield from service.methods


METHODS = {f"{method.containing_service.name}.{method.name}": method for method in _all_methods()}


def _access(name: str) -> access_pb2.Access:
    return METHODS[name].GetOptions().Extensions[access_pb2.access]


SIGNED_IN = [name for name in METHODS if not _access(name).anonymous]
OPEN_TO_MEMBERS = [name for name in SIGNED_IN if MEMBER in _access(name).kinds]
OPEN_TO_CUSTOMERS = [name for name in SIGNED_IN if CUSTOMER in _access(name).kinds]


@pytest.fixture(scope="module")
async def world(tieline: Tieline, platform: PlatformProcess) -> World:
    """A corp with members, conversations, customers and money; another corp and a stranger."""
    password = json.loads(platform.data.secrets_file.read_text())["platform_administrator_password"]
    administrator = await tieline.sign_in_platform_administrator("platform", password)
    corp_id, owner = await _found_corp(tieline, administrator)
    _, other_owner = await _found_corp(tieline, administrator)
    csv = b"user_id,name,department\nwang.fang,Wang Fang,Sales\n"
    await eventually(lambda: _has_imported(owner, csv))
    conversation = await owner.messaging.CreateConversation(
        messaging.CreateConversationRequest(
            kind=messaging_pb2.CONVERSATION_KIND_GROUP, name="Team", user_ids=["wang.fang"]
        )
    )
    conversation_id = conversation.conversation.conversation_id
    group = await owner.contacts.CreateCustomerGroup(
        contacts.CreateCustomerGroupRequest(name="Club")
    )
    group_id = group.group.customer_group_id
    way = await owner.contacts.CreateContactWay(contacts.CreateContactWayRequest())
    join = await owner.contacts.CreateJoinWay(
        contacts.CreateJoinWayRequest(customer_group_id=group_id)
    )
    await administrator.payments.CreateDeposit(
        payments.CreateDepositRequest(
            corp_id=corp_id, amount_minor=1000, currency_code="CNY", bank_reference="1"
        )
    )
    packet = await owner.payments.CreateRedPacket(
        payments.CreateRedPacketRequest(
            conversation_id=conversation_id, amount_minor=100, currency_code="CNY", share_count=2
        )
    )
    app = await owner.apps.CreateApp(apps.CreateAppRequest(app=app_pb2.App(name="Attendance")))
    token = await tieline.apps.CreateAppToken(
        apps.CreateAppTokenRequest(corp_id=corp_id, secret=app.secret)
    )
    channel = await Channel.open(administrator, "Channel")
    return World(
        endpoints=Endpoints.read(platform.data.path / "endpoints.json"),
        administrator=administrator,
        owner=owner,
        corp_id=corp_id,
        colleague_id="wang.fang",
        conversation_id=conversation_id,
        group_id=group_id,
        contact_code=way.contact_way.code,
        join_code=join.join_way.code,
        red_packet_id=packet.red_packet.red_packet_id,
        app=app.app,
        app_token=token.access_token,
        other_owner=other_owner,
        other_customer=await channel.sign_in(tieline, "stranger", "Stranger"),
    )


async def _found_corp(tieline: Tieline, administrator: SignedIn) -> tuple[str, SignedIn]:
    created = await administrator.identity.CreateCorp(
        identity.CreateCorpRequest(
            display_name="Corp",
            kind=identity_pb2.CORP_KIND_COMPANY,
            owner_user_id="owner",
            owner_name="Owner",
        )
    )
    owner = await tieline.accept_invitation(
        created.corp.corp_id, "owner", created.owner_invitation.code, "a long password"
    )
    return created.corp.corp_id, owner


async def _has_imported(owner: SignedIn, csv: bytes) -> bool:
    requests = [
        directory.ImportMembersRequest(config=directory.ImportMembersConfig()),
        directory.ImportMembersRequest(chunk=csv),
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


def _response_type(method: MethodDescriptor) -> Any:
    pool = descriptor_pool.Default()
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(method.output_type.full_name))


async def _call(world: World, name: str, request: Message, token: str | None) -> bytes:
    """Call a method as raw gRPC; return the serialized first response, or raise AioRpcError."""
    method = METHODS[name]
    service = method.containing_service
    target = getattr(world.endpoints, service.full_name.split(".")[2])
    metadata = [] if token is None else [("authorization", f"Bearer {token}")]
    shape = ("stream" if method.client_streaming else "unary") + (
        "_stream" if method.server_streaming else "_unary"
    )
    async with grpc.aio.insecure_channel(target) as channel:
        multicallable = getattr(channel, shape)(
            f"/{service.full_name}/{method.name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=_response_type(method).FromString,
        )
        argument = iter([request, *FOLLOWING[name]]) if method.client_streaming else request
        call = multicallable(argument, metadata=metadata, timeout=FIRST_RESPONSE_TIMEOUT_S)
        if not method.server_streaming:
            return bytes((await call).SerializeToString())
        first = await call.read()
        call.cancel()
        return NO_RESPONSE if first is grpc.aio.EOF else first.SerializeToString()


def _without_corp(request: Message) -> Message:
    if isinstance(request, directory.ImportMembersRequest):
        return directory.ImportMembersRequest(config=directory.ImportMembersConfig())
    bare = type(request).FromString(request.SerializeToString())
    bare.ClearField("corp_id")
    return bare


async def _state(world: World) -> list[bytes]:
    """What the corp's owner sees of everything that a stranger might have changed."""
    owner = world.owner
    responses = [
        await owner.messaging.GetConversation(
            messaging.GetConversationRequest(conversation_id=world.conversation_id)
        ),
        await owner.contacts.GetCustomerGroup(
            contacts.GetCustomerGroupRequest(customer_group_id=world.group_id)
        ),
        await owner.payments.GetBalance(payments.GetBalanceRequest()),
        await owner.payments.GetRedPacket(
            payments.GetRedPacketRequest(red_packet_id=world.red_packet_id)
        ),
        await owner.directory.ListMembers(directory.ListMembersRequest()),
        await owner.contacts.ListContacts(contacts.ListContactsRequest()),
        await owner.apps.ListApps(apps.ListAppsRequest()),
        await owner.sessions.ListSessions(sessions.ListSessionsRequest()),
    ]
    return [response.SerializeToString(deterministic=True) for response in responses]


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
    }
    wrong = [token for kind, token in parties.items() if kind not in _access(name).kinds]
    assert wrong, "no method is for everybody"

    for token in wrong:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await _call(world, name, REQUESTS[name](world), token)

        assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("name", OPEN_TO_MEMBERS)
async def test_a_member_of_another_corp_finds_nothing(world: World, name: str) -> None:
    request = REQUESTS[name](world)
    before = await _state(world)

    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await _call(world, name, request, world.other_owner.tokens.access_token)

    assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    assert await _state(world) == before


@pytest.mark.parametrize("name", OPEN_TO_MEMBERS)
async def test_ids_of_another_corp_mean_nothing_in_the_own_one(world: World, name: str) -> None:
    request = _without_corp(REQUESTS[name](world))
    before = await _state(world)

    response = await _call_or_not_found(world, name, request, world.other_owner)

    assert [each for each in world.secrets_of_the_corp() if each.encode() in response] == []
    assert await _state(world) == before


@pytest.mark.parametrize("name", OPEN_TO_CUSTOMERS)
async def test_a_customer_whom_the_corp_does_not_know_finds_nothing(
    world: World, name: str
) -> None:
    request = REQUESTS[name](world)
    before = await _state(world)

    response = await _call_or_not_found(world, name, request, world.other_customer)

    assert [each for each in world.secrets_of_the_corp() if each.encode() in response] == []
    assert await _state(world) == before


async def _call_or_not_found(world: World, name: str, request: Message, party: SignedIn) -> bytes:
    try:
        return await _call(world, name, request, party.tokens.access_token)
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return NO_RESPONSE
        raise
