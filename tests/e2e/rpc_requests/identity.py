"""How identity's methods are called with the ids of a world's corp."""

import secrets

from google.protobuf.field_mask_pb2 import FieldMask

from e2e.rpc_requests.world import NO_CORP_ID, PASSWORD, Request, new_id
from tieline.api.identity.v1 import app_pb2, corp_link_pb2, identity_pb2, sign_in_pb2
from tieline.api.identity.v1 import app_service_pb2 as apps
from tieline.api.identity.v1 import audit_service_pb2 as audit
from tieline.api.identity.v1 import corp_link_service_pb2 as corp_link
from tieline.api.identity.v1 import customer_sign_in_service_pb2 as customer_sign_in
from tieline.api.identity.v1 import identity_service_pb2 as identity
from tieline.api.identity.v1 import member_sign_in_service_pb2 as member_sign_in
from tieline.api.identity.v1 import role_service_pb2 as role
from tieline.api.identity.v1 import second_factor_service_pb2 as second_factor
from tieline.api.identity.v1 import session_service_pb2 as sessions
from tieline.api.identity.v1 import sign_in_provider_service_pb2 as sign_in_provider
from tieline.api.identity.v1 import signing_key_service_pb2 as signing_keys

MODULES = (
    *(identity, corp_link, role, audit, sessions, apps, signing_keys),
    *(member_sign_in, customer_sign_in, second_factor, sign_in_provider),
)


def build_provider() -> sign_in_pb2.SignInProvider:
    return sign_in_pb2.SignInProvider(
        display_name="Company",
        issuer="https://login.example.org",
        client_id="tieline",
        user_claim=sign_in_pb2.PROVIDER_USER_CLAIM_EMAIL,
        redirect_uris=["https://app.example.org/back"],
        enabled=True,
    )


REQUESTS: dict[str, Request] = {
    "IdentityService.CreateCorp": lambda w: identity.CreateCorpRequest(
        request_id=new_id(),
        display_name="Other",
        kind=identity_pb2.CORP_KIND_COMPANY,
        owner_user_id="owner",
        owner_name="Owner",
    ),
    "IdentityService.VerifyCorp": lambda w: identity.VerifyCorpRequest(
        corp_id=w.corp_id, evidence="none"
    ),
    "IdentityService.GetCorp": lambda w: identity.GetCorpRequest(corp_id=w.corp_id),
    "IdentityService.GetCorpProfile": lambda w: identity.GetCorpProfileRequest(corp_id=w.corp_id),
    "IdentityService.ListCorps": lambda w: identity.ListCorpsRequest(),
    "IdentityService.UpdateCorp": lambda w: identity.UpdateCorpRequest(
        request_id=new_id(),
        corp=identity_pb2.Corp(corp_id=w.corp_id, display_name="Another"),
        update_mask=FieldMask(paths=["display_name"]),
    ),
    "IdentityService.SuspendCorp": lambda w: identity.SuspendCorpRequest(
        request_id=new_id(), corp_id=w.corp_id, reason="none"
    ),
    "IdentityService.ResumeCorp": lambda w: identity.ResumeCorpRequest(
        request_id=new_id(), corp_id=w.corp_id
    ),
    "IdentityService.DeleteCorp": lambda w: identity.DeleteCorpRequest(
        request_id=new_id(), corp_id=w.corp_id
    ),
    "IdentityService.UndeleteCorp": lambda w: identity.UndeleteCorpRequest(
        request_id=new_id(), corp_id=w.corp_id
    ),
    "IdentityService.RequestVerification": lambda w: identity.RequestVerificationRequest(
        request_id=new_id(),
        corp_id=w.corp_id,
        evidence=identity_pb2.VerificationEvidence(text="none"),
    ),
    "IdentityService.ListVerificationRequests": (
        lambda w: identity.ListVerificationRequestsRequest(corp_id=w.corp_id)
    ),
    "IdentityService.RejectVerification": lambda w: identity.RejectVerificationRequest(
        request_id=new_id(), corp_id=w.corp_id, verification_request_id=new_id(), reason="none"
    ),
    "CorpLinkService.InviteCorpLink": lambda w: corp_link.InviteCorpLinkRequest(
        request_id=new_id(),
        corp_id=w.corp_id,
        invited_corp_id=NO_CORP_ID,
        kind=corp_link_pb2.CORP_LINK_KIND_GROUP,
    ),
    "CorpLinkService.AcceptCorpLink": lambda w: corp_link.AcceptCorpLinkRequest(
        corp_id=w.corp_id, link_id=w.link_id
    ),
    "CorpLinkService.DeclineCorpLink": lambda w: corp_link.DeclineCorpLinkRequest(
        corp_id=w.corp_id, link_id=w.link_id
    ),
    "CorpLinkService.LeaveCorpLink": lambda w: corp_link.LeaveCorpLinkRequest(
        corp_id=w.corp_id, link_id=w.link_id
    ),
    "CorpLinkService.UpdateCorpLinkShare": lambda w: corp_link.UpdateCorpLinkShareRequest(
        corp_id=w.corp_id, link_id=w.link_id
    ),
    "CorpLinkService.ListCorpLinks": lambda w: corp_link.ListCorpLinksRequest(corp_id=w.corp_id),
    "RoleService.TransferOwnership": lambda w: role.TransferOwnershipRequest(
        request_id=new_id(), corp_id=w.corp_id, user_id=w.colleague_id
    ),
    "RoleService.RecoverOwnership": lambda w: role.RecoverOwnershipRequest(
        request_id=new_id(), corp_id=w.corp_id, reason="none"
    ),
    "RoleService.GrantRole": lambda w: role.GrantRoleRequest(
        request_id=new_id(),
        corp_id=w.corp_id,
        grant=role.RoleGrant(user_id=w.colleague_id, role=role.CORP_ROLE_AUDITOR),
    ),
    "RoleService.RevokeRole": lambda w: role.RevokeRoleRequest(
        request_id=new_id(),
        corp_id=w.corp_id,
        user_id=w.colleague_id,
        role=role.CORP_ROLE_AUDITOR,
    ),
    "RoleService.ListRoleGrants": lambda w: role.ListRoleGrantsRequest(corp_id=w.corp_id),
    "AuditService.ListAuditEntries": lambda w: audit.ListAuditEntriesRequest(corp_id=w.corp_id),
    "AuditService.ExportAuditEntries": lambda w: audit.ExportAuditEntriesRequest(corp_id=w.corp_id),
    "IdentityService.CreateInvitations": lambda w: identity.CreateInvitationsRequest(
        request_id=new_id(), corp_id=w.corp_id, user_ids=[w.colleague_id]
    ),
    "IdentityService.AcceptInvitation": lambda w: identity.AcceptInvitationRequest(),
    "IdentityService.SignInMember": lambda w: identity.SignInMemberRequest(),
    "IdentityService.SignInPlatformAdministrator": (
        lambda w: identity.SignInPlatformAdministratorRequest()
    ),
    "IdentityService.SignInCustomer": lambda w: identity.SignInCustomerRequest(),
    "IdentityService.RefreshSession": lambda w: identity.RefreshSessionRequest(),
    "IdentityService.CreateChannel": lambda w: identity.CreateChannelRequest(
        request_id=new_id(), display_name="Channel", public_key=secrets.token_bytes(32)
    ),
    "IdentityService.ListChannels": lambda w: identity.ListChannelsRequest(),
    "IdentityService.UpdateChannel": lambda w: identity.UpdateChannelRequest(
        request_id=new_id(),
        channel=identity_pb2.Channel(channel_id=new_id(), disabled=True),
        update_mask=FieldMask(paths=["disabled"]),
    ),
    "IdentityService.DeleteChannel": lambda w: identity.DeleteChannelRequest(
        request_id=new_id(), channel_id=new_id()
    ),
    "MemberSignInService.RequestSignInCode": lambda w: member_sign_in.RequestSignInCodeRequest(),
    "MemberSignInService.SignInByCode": lambda w: member_sign_in.SignInByCodeRequest(),
    "MemberSignInService.ResetPassword": lambda w: member_sign_in.ResetPasswordRequest(),
    "MemberSignInService.ChangePassword": lambda w: member_sign_in.ChangePasswordRequest(
        corp_id=w.corp_id, old_password=PASSWORD, new_password="another long password"
    ),
    "MemberSignInService.BeginProviderSignIn": (
        lambda w: member_sign_in.BeginProviderSignInRequest()
    ),
    "MemberSignInService.CompleteProviderSignIn": (
        lambda w: member_sign_in.CompleteProviderSignInRequest()
    ),
    "MemberSignInService.LinkProviderAccount": (
        lambda w: member_sign_in.LinkProviderAccountRequest(corp_id=w.corp_id)
    ),
    "MemberSignInService.BeginQrSignIn": lambda w: member_sign_in.BeginQrSignInRequest(),
    "MemberSignInService.WatchQrSignIn": lambda w: member_sign_in.WatchQrSignInRequest(),
    "MemberSignInService.ScanQrSignIn": lambda w: member_sign_in.ScanQrSignInRequest(
        corp_id=w.corp_id, qr_id=new_id()
    ),
    "MemberSignInService.DecideQrSignIn": lambda w: member_sign_in.DecideQrSignInRequest(
        corp_id=w.corp_id, qr_id=new_id(), approved=True
    ),
    "CustomerSignInService.RequestCustomerSignInCode": (
        lambda w: customer_sign_in.RequestCustomerSignInCodeRequest()
    ),
    "CustomerSignInService.SignInCustomerByCode": (
        lambda w: customer_sign_in.SignInCustomerByCodeRequest()
    ),
    "SecondFactorService.CompleteSecondFactor": (
        lambda w: second_factor.CompleteSecondFactorRequest()
    ),
    "SecondFactorService.BeginTotpEnrolmentAtSignIn": (
        lambda w: second_factor.BeginTotpEnrolmentAtSignInRequest()
    ),
    "SecondFactorService.GetSecondFactor": (
        lambda w: second_factor.GetSecondFactorRequest(corp_id=w.corp_id)
    ),
    "SecondFactorService.BeginTotpEnrolment": (
        lambda w: second_factor.BeginTotpEnrolmentRequest(corp_id=w.corp_id)
    ),
    "SecondFactorService.ConfirmTotpEnrolment": (
        lambda w: second_factor.ConfirmTotpEnrolmentRequest(
            request_id=new_id(), corp_id=w.corp_id, code="000000"
        )
    ),
    "SecondFactorService.RegenerateRecoveryCodes": (
        lambda w: second_factor.RegenerateRecoveryCodesRequest(
            request_id=new_id(), corp_id=w.corp_id, code="000000"
        )
    ),
    "SecondFactorService.DisableTotp": lambda w: second_factor.DisableTotpRequest(
        corp_id=w.corp_id, code="000000"
    ),
    "SecondFactorService.ResetSecondFactor": lambda w: second_factor.ResetSecondFactorRequest(
        corp_id=w.corp_id, user_id=w.colleague_id
    ),
    "SecondFactorService.GetSignInPolicy": lambda w: second_factor.GetSignInPolicyRequest(
        corp_id=w.corp_id
    ),
    "SecondFactorService.UpdateSignInPolicy": lambda w: second_factor.UpdateSignInPolicyRequest(
        corp_id=w.corp_id,
        policy=sign_in_pb2.SignInPolicy(
            second_factor_requirement=sign_in_pb2.SECOND_FACTOR_REQUIREMENT_NONE
        ),
    ),
    "SignInProviderService.CreateSignInProvider": (
        lambda w: sign_in_provider.CreateSignInProviderRequest(
            request_id=new_id(),
            corp_id=w.corp_id,
            provider=build_provider(),
            client_secret="secret",
        )
    ),
    "SignInProviderService.GetSignInProvider": (
        lambda w: sign_in_provider.GetSignInProviderRequest(
            corp_id=w.corp_id, provider_id=w.sign_in_provider_id
        )
    ),
    "SignInProviderService.ListSignInProviders": (
        lambda w: sign_in_provider.ListSignInProvidersRequest(corp_id=w.corp_id)
    ),
    "SignInProviderService.UpdateSignInProvider": (
        lambda w: sign_in_provider.UpdateSignInProviderRequest(
            corp_id=w.corp_id,
            provider=sign_in_pb2.SignInProvider(
                provider_id=w.sign_in_provider_id, display_name="Other"
            ),
            update_mask=FieldMask(paths=["display_name"]),
        )
    ),
    "SignInProviderService.DeleteSignInProvider": (
        lambda w: sign_in_provider.DeleteSignInProviderRequest(
            corp_id=w.corp_id, provider_id=w.sign_in_provider_id
        )
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
        request_id=new_id(), corp_id=w.corp_id, app=app_pb2.App(name="App")
    ),
    "AppService.GetApp": lambda w: apps.GetAppRequest(corp_id=w.corp_id, agent_id=w.app.agent_id),
    "AppService.ListApps": lambda w: apps.ListAppsRequest(corp_id=w.corp_id),
    "AppService.UpdateApp": lambda w: apps.UpdateAppRequest(
        request_id=new_id(),
        corp_id=w.corp_id,
        app=app_pb2.App(agent_id=w.app.agent_id, disabled=True),
        update_mask=FieldMask(paths=["disabled"]),
    ),
    "AppService.DeleteApp": lambda w: apps.DeleteAppRequest(
        request_id=new_id(), corp_id=w.corp_id, agent_id=w.app.agent_id
    ),
    "AppService.RotateAppSecret": lambda w: apps.RotateAppSecretRequest(
        request_id=new_id(), corp_id=w.corp_id, agent_id=w.app.agent_id
    ),
    "AppService.RevokeAppSecret": lambda w: apps.RevokeAppSecretRequest(
        corp_id=w.corp_id, agent_id=w.app.agent_id, secret_id=w.app.secrets[0].secret_id
    ),
    "AppService.CreateAppToken": lambda w: apps.CreateAppTokenRequest(),
    "AppService.CreateLinkedCorpToken": lambda w: apps.CreateLinkedCorpTokenRequest(
        corp_id=w.corp_id, linked_corp_id=w.partner_corp_id
    ),
    "SigningKeyService.GetJwks": lambda w: signing_keys.GetJwksRequest(),
    "SigningKeyService.RotateSigningKey": lambda w: signing_keys.RotateSigningKeyRequest(
        request_id=new_id()
    ),
}
