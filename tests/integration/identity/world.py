"""A running identity with what surrounds it, and short ways to what tests begin with."""

import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import grpc
import pytest
from google.rpc import status_pb2
from joserfc import jwt
from joserfc.jwk import OKPKey
from pydantic import SecretStr

from engines import Database, build_settings
from tieline.api.common.v1 import access_pb2
from tieline.api.directory.v1 import directory_requests_pb2
from tieline.api.identity.v1 import (
    app_service_pb2_grpc,
    audit_service_pb2_grpc,
    corp_link_service_pb2_grpc,
    customer_sign_in_service_pb2_grpc,
    identity_pb2,
    identity_service_pb2,
    identity_service_pb2_grpc,
    member_sign_in_service_pb2_grpc,
    role_service_pb2,
    role_service_pb2_grpc,
    second_factor_service_pb2_grpc,
    session_pb2,
    session_service_pb2_grpc,
    sign_in_provider_service_pb2_grpc,
    signing_key_service_pb2_grpc,
)
from tieline.chassis import migrations
from tieline.chassis.authentication import TOKEN_ALGORITHMS
from tieline.chassis.errors import ServiceError, UnavailableError
from tieline.chassis.requests import RequestHandler
from tieline.chassis.statuses import from_status
from tieline.embedded.nats import EmbeddedNats
from tieline.identity.app import role
from tieline.identity.settings import IdentitySettings

PLATFORM_PASSWORD = "platform password"
PASSWORD = "correct horse"
TIMEOUT_S = 20

Metadata = tuple[tuple[str, str], ...]


@dataclass
class FakeDirectory:
    """Knows the members that a test puts into it, and counts what it is asked."""

    members: set[tuple[str, str]] = field(default_factory=set)
    contacts: dict[tuple[str, str], str] = field(default_factory=dict)
    """``(corp_id, mobile or e-mail)`` -> user id."""

    leaving: set[tuple[str, str]] = field(default_factory=set)
    """Members who are gone once it has answered about members."""

    questions: int = 0
    is_away: bool = False

    def build_handlers(self) -> dict[str, RequestHandler[Any, Any]]:
        """Return what it answers."""

        async def find_missing_members(
            request: directory_requests_pb2.FindMissingMembersRequest,
        ) -> directory_requests_pb2.FindMissingMembersResponse:
            self.questions += 1
            response = directory_requests_pb2.FindMissingMembersResponse(
                missing_user_ids=[
                    user_id
                    for user_id in request.user_ids
                    if (request.corp_id, user_id) not in self.members
                ]
            )
            self.members -= self.leaving
            return response

        async def find_members_by_contact(
            request: directory_requests_pb2.FindMembersByContactRequest,
        ) -> directory_requests_pb2.FindMembersByContactResponse:
            if self.is_away:
                raise UnavailableError("SERVICE_UNAVAILABLE", "away", {"service": "directory"})
            user_id = self.contacts.get((request.corp_id, request.mobile or request.email))
            return directory_requests_pb2.FindMembersByContactResponse(
                user_ids=[] if user_id is None else [user_id]
            )

        return {
            "find_members_by_contact": RequestHandler(
                directory_requests_pb2.FindMembersByContactRequest, find_members_by_contact
            ),
            "find_missing_members": RequestHandler(
                directory_requests_pb2.FindMissingMembersRequest, find_missing_members
            ),
        }


@dataclass(frozen=True)
class NewCorp:
    """A corp whose owner has signed in with PASSWORD."""

    corp_id: str
    owner: Metadata
    owner_session: identity_pb2.Session


@dataclass
class Identity:
    """Identity over its channel, and its database behind it."""

    stub: identity_service_pb2_grpc.IdentityServiceStub
    settings: IdentitySettings
    database: Database
    nats: EmbeddedNats
    directory: FakeDirectory
    channel: grpc.aio.Channel
    sessions: session_service_pb2_grpc.SessionServiceStub
    apps: app_service_pb2_grpc.AppServiceStub
    signing_keys: signing_key_service_pb2_grpc.SigningKeyServiceStub
    platform: Metadata = ()

    @property
    def sign_ins(self) -> member_sign_in_service_pb2_grpc.MemberSignInServiceStub:
        """The ways in beside the password."""
        return member_sign_in_service_pb2_grpc.MemberSignInServiceStub(self.channel)

    @property
    def second_factors(self) -> second_factor_service_pb2_grpc.SecondFactorServiceStub:
        """Authenticators and policies."""
        return second_factor_service_pb2_grpc.SecondFactorServiceStub(self.channel)

    @property
    def providers(self) -> sign_in_provider_service_pb2_grpc.SignInProviderServiceStub:
        """Sign-in providers."""
        return sign_in_provider_service_pb2_grpc.SignInProviderServiceStub(self.channel)

    @property
    def customer_sign_ins(self) -> customer_sign_in_service_pb2_grpc.CustomerSignInServiceStub:
        """Customers' one-time codes."""
        return customer_sign_in_service_pb2_grpc.CustomerSignInServiceStub(self.channel)

    @classmethod
    def build(
        cls,
        channel: grpc.aio.Channel,
        settings: IdentitySettings,
        database: Database,
        nats: EmbeddedNats,
        directory: FakeDirectory,
    ) -> "Identity":
        """Return what calls identity over the channel, nobody signed in."""
        return cls(
            identity_service_pb2_grpc.IdentityServiceStub(channel),
            settings,
            database,
            nats,
            directory,
            channel,
            session_service_pb2_grpc.SessionServiceStub(channel),
            app_service_pb2_grpc.AppServiceStub(channel),
            signing_key_service_pb2_grpc.SigningKeyServiceStub(channel),
        )

    async def sign_in_platform(
        self, name: str = "platform", password: str = PLATFORM_PASSWORD
    ) -> identity_pb2.Session:
        """Sign in as a platform administrator."""
        response = await self.stub.SignInPlatformAdministrator(
            identity_service_pb2.SignInPlatformAdministratorRequest(name=name, password=password),
            timeout=TIMEOUT_S,
        )
        return response.session

    async def create_corp(
        self, request: identity_service_pb2.CreateCorpRequest | None = None
    ) -> identity_service_pb2.CreateCorpResponse:
        """Create a corp as the platform administrator."""
        return await self.stub.CreateCorp(
            request or corp_request(), metadata=self.platform, timeout=TIMEOUT_S
        )

    async def new_corp(self) -> NewCorp:
        """Return a corp with its owner ``boss`` signed in."""
        created = await self.create_corp()
        session = await self.accept(created.corp.corp_id, "boss", created.owner_invitation.code)
        return NewCorp(created.corp.corp_id, bearer(session), session)

    async def accept(
        self, corp_id: str, user_id: str, code: str, password: str = PASSWORD
    ) -> identity_pb2.Session:
        """Accept an invitation."""
        response = await self.stub.AcceptInvitation(
            identity_service_pb2.AcceptInvitationRequest(
                corp_id=corp_id, user_id=user_id, code=code, password=password
            ),
            timeout=TIMEOUT_S,
        )
        return response.session

    async def invite(
        self, corp: NewCorp, *user_ids: str, request_id: str = "", corp_id: str = ""
    ) -> list[identity_pb2.Invitation]:
        """Invite members as the owner."""
        response = await self.stub.CreateInvitations(
            identity_service_pb2.CreateInvitationsRequest(
                request_id=request_id or str(uuid.uuid4()), corp_id=corp_id, user_ids=user_ids
            ),
            metadata=corp.owner,
            timeout=TIMEOUT_S,
        )
        return list(response.invitations)

    async def new_member(self, corp: NewCorp, user_id: str = "li.wei") -> identity_pb2.Session:
        """Invite a member whom the directory knows, who accepts with PASSWORD."""
        self.directory.members.add((corp.corp_id, user_id))
        [invitation] = await self.invite(corp, user_id)
        return await self.accept(corp.corp_id, user_id, invitation.code)

    async def set_account_state(self, corp_id: str, user_id: str, state: str) -> None:
        """Put the account into the state behind identity's back: the sessions stay."""
        await self.execute(
            "UPDATE identity.accounts SET state = $3 WHERE corp_id = $1 AND user_id = $2",
            corp_id,
            user_id,
            state,
        )

    async def sign_in(
        self,
        corp_id: str,
        user_id: str = "boss",
        password: str = PASSWORD,
        device: session_pb2.Device | None = None,
    ) -> identity_pb2.Session:
        """Sign a member in."""
        response = await self.stub.SignInMember(
            identity_service_pb2.SignInMemberRequest(
                corp_id=corp_id, user_id=user_id, password=password, device=device
            ),
            timeout=TIMEOUT_S,
        )
        return response.session

    async def refresh(self, refresh_token: str) -> identity_pb2.Session:
        """Exchange a refresh token."""
        response = await self.stub.RefreshSession(
            identity_service_pb2.RefreshSessionRequest(refresh_token=refresh_token),
            timeout=TIMEOUT_S,
        )
        return response.session

    async def get_corp(
        self, metadata: Metadata | None, corp_id: str = ""
    ) -> identity_service_pb2.GetCorpResponse:
        """Read a corp."""
        return await self.stub.GetCorp(
            identity_service_pb2.GetCorpRequest(corp_id=corp_id),
            metadata=metadata,
            timeout=TIMEOUT_S,
        )

    @property
    def corp_links(self) -> corp_link_service_pb2_grpc.CorpLinkServiceStub:
        """The calls about links."""
        return corp_link_service_pb2_grpc.CorpLinkServiceStub(self.channel)

    @property
    def roles(self) -> role_service_pb2_grpc.RoleServiceStub:
        """The calls about roles."""
        return role_service_pb2_grpc.RoleServiceStub(self.channel)

    @property
    def audit(self) -> audit_service_pb2_grpc.AuditServiceStub:
        """The calls about the audit log."""
        return audit_service_pb2_grpc.AuditServiceStub(self.channel)

    async def grant(
        self,
        corp: NewCorp,
        user_id: str = "li.wei",
        *,
        role: "role_service_pb2.CorpRole.ValueType" = role_service_pb2.CORP_ROLE_ADMINISTRATOR,
        rights: Sequence["access_pb2.Right.ValueType"] = (),
        department_ids: Sequence[int] = (),
        etag: str = "",
    ) -> role_service_pb2.RoleGrant:
        """Grant a role to a member as the owner."""
        response = await self.roles.GrantRole(
            role_service_pb2.GrantRoleRequest(
                request_id=str(uuid.uuid4()),
                grant=role_service_pb2.RoleGrant(
                    user_id=user_id,
                    role=role,
                    rights=rights,
                    department_ids=department_ids,
                    etag=etag,
                ),
            ),
            metadata=corp.owner,
            timeout=TIMEOUT_S,
        )
        return response.grant

    async def new_administrator(
        self, corp: NewCorp, *rights: "access_pb2.Right.ValueType", user_id: str = "li.wei"
    ) -> Metadata:
        """Return the metadata of a member who was granted the rights for the whole corp."""
        await self.new_member(corp, user_id)
        await self.grant(corp, user_id, rights=rights)
        return bearer(await self.sign_in(corp.corp_id, user_id))

    async def new_in_charge(self, corp: NewCorp, user_id: str) -> identity_pb2.Session:
        """Return the session of a new ``administrator`` or ``auditor`` of that user id."""
        await self.new_member(corp, user_id)
        if user_id == "auditor":
            await self.grant(corp, user_id, role=role_service_pb2.CORP_ROLE_AUDITOR)
        else:
            await self.grant(corp, user_id, rights=[access_pb2.RIGHT_MANAGE_APPS])
        return await self.sign_in(corp.corp_id, user_id)

    async def new_channel(self) -> "Channel":
        """Return a trusted channel and its private key."""
        key = OKPKey.generate_key("Ed25519")
        response = await self.stub.CreateChannel(
            identity_service_pb2.CreateChannelRequest(
                request_id=str(uuid.uuid4()),
                display_name="Mini-program",
                public_key=key.public_key.public_bytes_raw(),
            ),
            metadata=self.platform,
            timeout=TIMEOUT_S,
        )
        return Channel(response.channel.channel_id, key)

    async def sign_in_customer(self, assertion: str) -> identity_service_pb2.SignInCustomerResponse:
        """Sign a customer in."""
        return await self.stub.SignInCustomer(
            identity_service_pb2.SignInCustomerRequest(assertion=assertion), timeout=TIMEOUT_S
        )

    async def set_state(self, corp_id: str, user_id: str, state: str) -> None:
        """Put the member's account into the state that the directory's events would."""
        await self.execute(
            "UPDATE identity.accounts SET state = $3 WHERE corp_id = $1 AND user_id = $2",
            corp_id,
            user_id,
            state,
        )

    async def execute(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        """Run SQL as the superuser, who sees and may do everything."""
        connection = await asyncpg.connect(self.database.admin_dsn)
        try:
            return await connection.fetch(query, *arguments)
        finally:
            await connection.close()


@dataclass(frozen=True)
class Channel:
    """A channel's server."""

    channel_id: str
    key: OKPKey

    def assertion(self, subject: str = "openid-1", **changes: object) -> str:
        """Vouch for a person."""
        claims = {
            "iss": self.channel_id,
            "aud": "tieline",
            "sub": subject,
            "name": "Ms Chen",
            "jti": str(uuid.uuid4()),
            "exp": int(time.time()) + 120,
            **changes,
        }
        return jwt.encode({"alg": "EdDSA"}, claims, self.key, registry=TOKEN_ALGORITHMS)


def corp_request(**changes: Any) -> identity_service_pb2.CreateCorpRequest:
    """Return a request for a corp owned by ``boss``."""
    fields: dict[str, Any] = {
        "request_id": str(uuid.uuid4()),
        "display_name": "Jinyu Jewellery",
        "kind": identity_pb2.CORP_KIND_COMPANY,
        "owner_user_id": "boss",
        "owner_name": "Zhou Jin",
        **changes,
    }
    return identity_service_pb2.CreateCorpRequest(**fields)


def bearer(session: identity_pb2.Session) -> Metadata:
    """Return the metadata of calls in the session."""
    return (("authorization", f"Bearer {session.access_token}"),)


def from_address(address: str) -> Metadata:
    """Return the metadata of a call that a trusted proxy says comes from there."""
    return (("x-forwarded-for", address),)


async def refusal(call: Awaitable[object]) -> ServiceError:
    """Return the error that a call ends with; fail if it succeeds."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    details = dict(caught.value.trailing_metadata())["grpc-status-details-bin"]
    assert isinstance(details, bytes)
    error = from_status(status_pb2.Status.FromString(details))
    assert error is not None
    return error


def describe(error: ServiceError) -> tuple[str, str, str, dict[str, str]]:
    """Return everything that a caller can see of an error."""
    return error.code, error.reason, error.text, dict(error.metadata)


async def make_database(postgres_admin_dsn: str, name: str) -> Database:
    """Make an empty database with identity's schema."""
    connection = await asyncpg.connect(postgres_admin_dsn)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    database = Database(postgres_admin_dsn.rpartition("/")[0] + f"/{name}")
    await migrations.migrate(database.admin_dsn, ["identity"])
    return database


def fast_settings(database: Database, nats: EmbeddedNats) -> IdentitySettings:
    """Return settings with cheap passwords."""
    settings = build_settings("identity", database, nats)
    assert isinstance(settings, IdentitySettings)
    return settings.model_copy(
        update={
            "password_memory_kib": 64,
            "password_time_cost": 1,
            # Each test is at an address of its own: see `from_address`.
            "trusted_proxies": "127.0.0.0/8",
            "provider_networks": "127.0.0.0/8",
            "platform_administrator_password": SecretStr(PLATFORM_PASSWORD),
        }
    )


@asynccontextmanager
async def running_identity(
    settings: IdentitySettings,
    database: Database,
    nats: EmbeddedNats,
    directory: FakeDirectory,
    *,
    name: str = "platform",
    password: str = PLATFORM_PASSWORD,
    signs_in: bool = True,
) -> AsyncIterator[Identity]:
    """Run identity and, unless told not to, sign a platform administrator in."""
    async with (
        role(settings),
        grpc.aio.insecure_channel(f"127.0.0.1:{settings.grpc_port}") as channel,
    ):
        identity = Identity.build(channel, settings, database, nats, directory)
        if signs_in:
            identity.platform = bearer(await identity.sign_in_platform(name, password))
        yield identity
