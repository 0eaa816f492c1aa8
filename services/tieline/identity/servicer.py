"""IdentityService: translates between the wire and the rules."""

from tieline.api.identity.v1 import identity_pb2, identity_service_pb2, identity_service_pb2_grpc
from tieline.chassis.calls import current_principal
from tieline.chassis.fields import to_timestamp
from tieline.chassis.grpc_context import Context
from tieline.chassis.idempotency import answered_once
from tieline.chassis.ids import new_corp_id, new_uuid7
from tieline.chassis.outbox import build_event, insert_events
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.chassis.principals import Principal
from tieline.identity.corps import (
    NO_CORP,
    Corp,
    CorpKind,
    NewCorp,
    check_channel,
    check_evidence,
    check_new_corp,
    corp_not_found_error,
)
from tieline.identity.invitations import InvitationCodes, hash_code
from tieline.identity.inviting import Inviting
from tieline.identity.repositories import SCHEMA, corps, customers, invitations
from tieline.identity.session_servicer import read_device
from tieline.identity.sign_in import SignIn

CORP_CREATED = "tieline.identity.v1.corp_created"

_KINDS = {
    identity_pb2.CORP_KIND_COMPANY: CorpKind.COMPANY,
    identity_pb2.CORP_KIND_SCHOOL: CorpKind.SCHOOL,
    identity_pb2.CORP_KIND_HOSPITAL: CorpKind.HOSPITAL,
    identity_pb2.CORP_KIND_GOVERNMENT: CorpKind.GOVERNMENT,
    identity_pb2.CORP_KIND_OTHER: CorpKind.OTHER,
}
_PROTO_KINDS = {kind: number for number, kind in _KINDS.items()}


class IdentityServicer(identity_service_pb2_grpc.IdentityServiceServicer):
    """The calls of identity; those that end in a session are ``SignIn``'s."""

    def __init__(
        self, pool: Pool, sign_in: SignIn, inviting: Inviting, codes: InvitationCodes
    ) -> None:
        self._pool = pool
        self._sign_in = sign_in
        self._inviting = inviting
        self._codes = codes

    async def CreateCorp(
        self, request: identity_service_pb2.CreateCorpRequest, context: Context
    ) -> identity_service_pb2.CreateCorpResponse:
        """Create a corp with its owner's account and invitation, at most once per request id."""
        check_new_corp(_read_new_corp(request))
        principal = current_principal()
        response = await answered_once(
            self._pool,
            SCHEMA,
            request,
            identity_service_pb2.CreateCorpResponse,
            lambda connection: self._create_corp(connection, principal, request),
            corp_id=NO_CORP,
        )
        invitation = response.owner_invitation
        invitation.code = self._codes.derive(
            request.request_id, principal.id, response.corp.corp_id, invitation.user_id
        )
        return response

    async def _create_corp(
        self,
        connection: Connection,
        principal: Principal,
        request: identity_service_pb2.CreateCorpRequest,
    ) -> identity_service_pb2.CreateCorpResponse:
        """Do it; the response is stored as the first answer and so is without the code."""
        new = _read_new_corp(request)
        corp_id = new_corp_id()
        corp = _to_proto(await corps.insert_corp(connection, corp_id, new))
        owner = new.owner_user_id
        code = self._codes.derive(request.request_id, principal.id, corp_id, owner)
        expire_time = await invitations.replace_invitations(
            connection, corp_id, {owner: hash_code(code)}
        )
        event = identity_pb2.CorpCreated(corp=corp, owner_name=new.owner_name)
        await insert_events(
            connection, SCHEMA, [build_event(CORP_CREATED, corp_id, corp_id, event)]
        )
        return identity_service_pb2.CreateCorpResponse(
            corp=corp,
            owner_invitation=identity_pb2.Invitation(
                user_id=owner, expire_time=to_timestamp(expire_time)
            ),
        )

    async def VerifyCorp(
        self, request: identity_service_pb2.VerifyCorpRequest, context: Context
    ) -> identity_service_pb2.VerifyCorpResponse:
        """Record that a reviewer confirmed who the corp is; the first review stands."""
        check_evidence(request.evidence)
        principal = current_principal()
        corp_id = principal.require_corp(request.corp_id)
        async with transaction(self._pool) as connection:
            await _get_corp(connection, corp_id)
            await corps.insert_verification(connection, corp_id, request.evidence, principal.id)
            corp = await _get_corp(connection, corp_id)
        return identity_service_pb2.VerifyCorpResponse(corp=_to_proto(corp))

    async def GetCorp(
        self, request: identity_service_pb2.GetCorpRequest, context: Context
    ) -> identity_service_pb2.GetCorpResponse:
        """Return a corp: any to platform administrators, the own one to members."""
        corp_id = current_principal().require_corp(request.corp_id)
        async with self._pool.acquire() as connection:
            corp = await _get_corp(connection, corp_id)
        return identity_service_pb2.GetCorpResponse(corp=_to_proto(corp))

    async def CreateInvitations(
        self, request: identity_service_pb2.CreateInvitationsRequest, context: Context
    ) -> identity_service_pb2.CreateInvitationsResponse:
        """Make a new code for each member, at most once per request id."""
        return await self._inviting.invite(request)

    async def CreateChannel(
        self, request: identity_service_pb2.CreateChannelRequest, context: Context
    ) -> identity_service_pb2.CreateChannelResponse:
        """Make a channel trusted to vouch for customers, at most once per request id."""
        check_channel(request.display_name, request.public_key)
        return await answered_once(
            self._pool,
            SCHEMA,
            request,
            identity_service_pb2.CreateChannelResponse,
            lambda connection: _create_channel(connection, request),
            corp_id=NO_CORP,
        )

    async def AcceptInvitation(
        self, request: identity_service_pb2.AcceptInvitationRequest, context: Context
    ) -> identity_service_pb2.AcceptInvitationResponse:
        """Set the member's password by a code and sign the member in."""
        session = await self._sign_in.accept_invitation(
            request.corp_id,
            request.user_id,
            request.code,
            request.password,
            read_device(request),
        )
        return identity_service_pb2.AcceptInvitationResponse(session=session)

    async def SignInMember(
        self, request: identity_service_pb2.SignInMemberRequest, context: Context
    ) -> identity_service_pb2.SignInMemberResponse:
        """Open a session by password."""
        session = await self._sign_in.sign_in_member(
            request.corp_id, request.user_id, request.password, read_device(request)
        )
        return identity_service_pb2.SignInMemberResponse(session=session)

    async def SignInPlatformAdministrator(
        self,
        request: identity_service_pb2.SignInPlatformAdministratorRequest,
        context: Context,
    ) -> identity_service_pb2.SignInPlatformAdministratorResponse:
        """Open a session for somebody who runs the deployment."""
        session = await self._sign_in.sign_in_platform_administrator(
            request.name, request.password, read_device(request)
        )
        return identity_service_pb2.SignInPlatformAdministratorResponse(session=session)

    async def SignInCustomer(
        self, request: identity_service_pb2.SignInCustomerRequest, context: Context
    ) -> identity_service_pb2.SignInCustomerResponse:
        """Open a session for a person whom a trusted channel vouches for."""
        session, customer_id = await self._sign_in.sign_in_customer(
            request.assertion, read_device(request)
        )
        return identity_service_pb2.SignInCustomerResponse(session=session, customer_id=customer_id)

    async def RefreshSession(
        self, request: identity_service_pb2.RefreshSessionRequest, context: Context
    ) -> identity_service_pb2.RefreshSessionResponse:
        """Exchange a refresh token for a new pair of tokens."""
        session = await self._sign_in.refresh(request.refresh_token)
        return identity_service_pb2.RefreshSessionResponse(session=session)


async def _create_channel(
    connection: Connection, request: identity_service_pb2.CreateChannelRequest
) -> identity_service_pb2.CreateChannelResponse:
    channel_id = new_uuid7()
    create_time = await customers.insert_channel(
        connection, channel_id, request.display_name, request.public_key
    )
    return identity_service_pb2.CreateChannelResponse(
        channel=identity_pb2.Channel(
            channel_id=channel_id,
            display_name=request.display_name,
            public_key=request.public_key,
            create_time=to_timestamp(create_time),
        )
    )


async def _get_corp(connection: Connection, corp_id: str) -> Corp:
    corp = await corps.find_corp(connection, corp_id)
    if corp is None:
        raise corp_not_found_error(corp_id)
    return corp


def _read_new_corp(request: identity_service_pb2.CreateCorpRequest) -> NewCorp:
    return NewCorp(
        display_name=request.display_name,
        kind=_KINDS.get(request.kind),
        owner_user_id=request.owner_user_id.lower(),
        owner_name=request.owner_name,
    )


def _to_proto(corp: Corp) -> identity_pb2.Corp:
    return identity_pb2.Corp(
        corp_id=corp.corp_id,
        display_name=corp.display_name,
        kind=_PROTO_KINDS[corp.kind],
        owner_user_id=corp.owner_user_id,
        verify_time=None if corp.verify_time is None else to_timestamp(corp.verify_time),
        verified_label=corp.verified_label,
        create_time=to_timestamp(corp.create_time),
    )
