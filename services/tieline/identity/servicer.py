"""IdentityService: translates between the wire and the rules."""

from tieline.api.identity.v1 import identity_service_pb2, identity_service_pb2_grpc
from tieline.chassis.grpc_context import Context
from tieline.identity.corps.corp_calls import CorpCalls
from tieline.identity.corps.life_calls import CorpLifeCalls
from tieline.identity.corps.verification_calls import VerificationCalls
from tieline.identity.roles.inviting import Inviting
from tieline.identity.sessions.device_messages import read_device
from tieline.identity.sign_in.channel_calls import ChannelCalls
from tieline.identity.sign_in.flows import SignIn


class IdentityServicer(identity_service_pb2_grpc.IdentityServiceServicer):
    """The calls of IdentityService; each passes on to what knows its noun."""

    def __init__(
        self,
        sign_in: SignIn,
        inviting: Inviting,
        corps: CorpCalls,
        corp_life: CorpLifeCalls,
        verification: VerificationCalls,
        channels: ChannelCalls,
    ) -> None:
        self._sign_in = sign_in
        self._inviting = inviting
        self._corps = corps
        self._corp_life = corp_life
        self._verification = verification
        self._channels = channels

    async def CreateCorp(
        self, request: identity_service_pb2.CreateCorpRequest, context: Context
    ) -> identity_service_pb2.CreateCorpResponse:
        """Create a corp with its owner's account and invitation."""
        return await self._corps.create(request)

    async def GetCorp(
        self, request: identity_service_pb2.GetCorpRequest, context: Context
    ) -> identity_service_pb2.GetCorpResponse:
        """Return a corp: any to platform administrators, the own one to members."""
        return await self._corps.get(request)

    async def GetCorpProfile(
        self, request: identity_service_pb2.GetCorpProfileRequest, context: Context
    ) -> identity_service_pb2.GetCorpProfileResponse:
        """Return what outsiders see of a corp."""
        return await self._corps.get_profile(request)

    async def ListCorps(
        self, request: identity_service_pb2.ListCorpsRequest, context: Context
    ) -> identity_service_pb2.ListCorpsResponse:
        """Return a page of the deployment's corps."""
        return await self._corps.list_corps(request)

    async def UpdateCorp(
        self, request: identity_service_pb2.UpdateCorpRequest, context: Context
    ) -> identity_service_pb2.UpdateCorpResponse:
        """Rename a corp, which drops its verification."""
        return await self._corps.update(request)

    async def SuspendCorp(
        self, request: identity_service_pb2.SuspendCorpRequest, context: Context
    ) -> identity_service_pb2.SuspendCorpResponse:
        """Stop a corp's people from signing in."""
        return await self._corp_life.suspend(request)

    async def ResumeCorp(
        self, request: identity_service_pb2.ResumeCorpRequest, context: Context
    ) -> identity_service_pb2.ResumeCorpResponse:
        """Let a suspended corp's people sign in again."""
        return await self._corp_life.resume(request)

    async def DeleteCorp(
        self, request: identity_service_pb2.DeleteCorpRequest, context: Context
    ) -> identity_service_pb2.DeleteCorpResponse:
        """Ask for a corp's deletion."""
        return await self._corp_life.delete(request)

    async def UndeleteCorp(
        self, request: identity_service_pb2.UndeleteCorpRequest, context: Context
    ) -> identity_service_pb2.UndeleteCorpResponse:
        """Call a corp's deletion off."""
        return await self._corp_life.undelete(request)

    async def RequestVerification(
        self, request: identity_service_pb2.RequestVerificationRequest, context: Context
    ) -> identity_service_pb2.RequestVerificationResponse:
        """Ask for a review of who the corp is."""
        return await self._verification.request(request)

    async def ListVerificationRequests(
        self, request: identity_service_pb2.ListVerificationRequestsRequest, context: Context
    ) -> identity_service_pb2.ListVerificationRequestsResponse:
        """Return a page of requests for verification."""
        return await self._verification.list_requests(request)

    async def VerifyCorp(
        self, request: identity_service_pb2.VerifyCorpRequest, context: Context
    ) -> identity_service_pb2.VerifyCorpResponse:
        """Record that a reviewer confirmed who the corp is."""
        return await self._verification.verify(request)

    async def RejectVerification(
        self, request: identity_service_pb2.RejectVerificationRequest, context: Context
    ) -> identity_service_pb2.RejectVerificationResponse:
        """Reject an open request for verification."""
        return await self._verification.reject(request)

    async def CreateInvitations(
        self, request: identity_service_pb2.CreateInvitationsRequest, context: Context
    ) -> identity_service_pb2.CreateInvitationsResponse:
        """Make a new code for each member, at most once per request id."""
        return await self._inviting.invite(request)

    async def CreateChannel(
        self, request: identity_service_pb2.CreateChannelRequest, context: Context
    ) -> identity_service_pb2.CreateChannelResponse:
        """Make a channel trusted to vouch for customers, at most once per request id."""
        return await self._channels.create(request)

    async def ListChannels(
        self, request: identity_service_pb2.ListChannelsRequest, context: Context
    ) -> identity_service_pb2.ListChannelsResponse:
        """Return a page of trusted channels."""
        return await self._channels.list_channels(request)

    async def UpdateChannel(
        self, request: identity_service_pb2.UpdateChannelRequest, context: Context
    ) -> identity_service_pb2.UpdateChannelResponse:
        """Rename a channel, give it another key, disable or enable it."""
        return await self._channels.update(request)

    async def DeleteChannel(
        self, request: identity_service_pb2.DeleteChannelRequest, context: Context
    ) -> identity_service_pb2.DeleteChannelResponse:
        """Delete a channel."""
        return await self._channels.delete(request)

    async def AcceptInvitation(
        self, request: identity_service_pb2.AcceptInvitationRequest, context: Context
    ) -> identity_service_pb2.AcceptInvitationResponse:
        """Set the member's password by a code and sign the member in."""
        entered = await self._sign_in.accept_invitation(
            request.corp_id,
            request.user_id,
            request.code,
            request.password,
            read_device(request),
        )
        return identity_service_pb2.AcceptInvitationResponse(
            session=entered.session, second_factor_challenge=entered.challenge
        )

    async def SignInMember(
        self, request: identity_service_pb2.SignInMemberRequest, context: Context
    ) -> identity_service_pb2.SignInMemberResponse:
        """Open a session by password, or ask for the second factor."""
        entered = await self._sign_in.sign_in_member(
            request.corp_id, request.user_id, request.password, read_device(request)
        )
        return identity_service_pb2.SignInMemberResponse(
            session=entered.session, second_factor_challenge=entered.challenge
        )

    async def SignInPlatformAdministrator(
        self,
        request: identity_service_pb2.SignInPlatformAdministratorRequest,
        context: Context,
    ) -> identity_service_pb2.SignInPlatformAdministratorResponse:
        """Open a session for somebody who runs the deployment."""
        entered = await self._sign_in.sign_in_platform_administrator(
            request.name, request.password, read_device(request)
        )
        return identity_service_pb2.SignInPlatformAdministratorResponse(
            session=entered.session, second_factor_challenge=entered.challenge
        )

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
