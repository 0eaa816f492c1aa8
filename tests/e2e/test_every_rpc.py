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
from tieline.api.directory.v1 import (
    attribute_pb2,
    directory_pb2,
    school_pb2,
    visibility_pb2,
)
from tieline.api.directory.v1 import attribute_service_pb2 as attributes
from tieline.api.directory.v1 import change_service_pb2 as directory_changes
from tieline.api.directory.v1 import department_service_pb2 as departments
from tieline.api.directory.v1 import directory_service_pb2 as directory
from tieline.api.directory.v1 import export_service_pb2 as exports
from tieline.api.directory.v1 import import_service_pb2 as imports
from tieline.api.directory.v1 import linked_corp_service_pb2 as linked
from tieline.api.directory.v1 import member_service_pb2 as members
from tieline.api.directory.v1 import school_service_pb2 as school
from tieline.api.directory.v1 import tag_service_pb2 as tags
from tieline.api.directory.v1 import visibility_service_pb2 as visibility
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
from tieline.api.messaging.v1 import messaging_pb2
from tieline.api.messaging.v1 import messaging_service_pb2 as messaging
from tieline.api.payments.v1 import payments_service_pb2 as payments
from tieline.client import Endpoints, SignedIn, SignedInCustomer, Tieline
from tieline.client.errors import TielineError
from tieline.demo.channel import Channel

MODULES = (
    *(identity, corp_link, role, audit, sessions, apps, signing_keys),
    *(member_sign_in, customer_sign_in, second_factor, sign_in_provider),
    *(
        directory,
        exports,
        imports,
        departments,
        members,
        attributes,
        tags,
        directory_changes,
        school,
        linked,
        visibility,
    ),
    *(messaging, contacts, payments),
)
PLATFORM = principal_pb2.PRINCIPAL_KIND_PLATFORM_ADMINISTRATOR
MEMBER = principal_pb2.PRINCIPAL_KIND_MEMBER
CUSTOMER = principal_pb2.PRINCIPAL_KIND_CUSTOMER
APP = principal_pb2.PRINCIPAL_KIND_APP
LINKED_APP = principal_pb2.PRINCIPAL_KIND_LINKED_APP

# Of a department and a tag: those that corps make themselves are the same in each.
_CHOSEN_ID = 900

PASSWORD = "a long password"
NO_RESPONSE = b""
STUDENT_NAME = "Xiao Ming"
PARENT_MOBILE = "13911112222"
NO_CORP_ID = "ww" + "0" * 24
FIRST_RESPONSE_TIMEOUT_S = 15


@dataclass
class World:
    """One corp with something of everything, and people who have no business with it."""

    endpoints: Endpoints
    administrator: SignedIn
    owner: SignedIn
    corp_id: str
    colleague_id: str
    department_id: int
    tag_id: int
    rule_id: str
    conversation_id: str
    group_id: str
    contact_code: str
    join_code: str
    red_packet_id: str
    sign_in_provider_id: str
    app: app_pb2.App
    app_token: str
    class_id: int
    student_id: str
    parent_id: str
    link_id: str
    partner_corp_id: str
    linked_app_token: str
    """Of the partner's app, which the link lets into the world's corp."""

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
            self.sign_in_provider_id,
            self.owner.tokens.session_id,
            self.app.name,
            self.app.secrets[0].secret_id,
            self.rule_id,
            STUDENT_NAME,
            PARENT_MOBILE,
            self.link_id,
        ]


Request = Callable[[World], Message]


def _new_id() -> str:
    return str(uuid.uuid4())


def _hello(world: World) -> messaging_pb2.OutgoingMessage:
    return messaging_pb2.OutgoingMessage(
        conversation_id=world.conversation_id,
        client_message_id=_new_id(),
        content=messaging_pb2.MessageContent(text=messaging_pb2.TextContent(text="hello")),
    )


def _provider() -> sign_in_pb2.SignInProvider:
    return sign_in_pb2.SignInProvider(
        display_name="Company",
        issuer="https://login.example.org",
        client_id="tieline",
        user_claim=sign_in_pb2.PROVIDER_USER_CLAIM_EMAIL,
        redirect_uris=["https://app.example.org/back"],
        enabled=True,
    )


def _parent(world: World) -> school_pb2.Parent:
    child = school_pb2.Child(student_id=world.student_id, relation="mother")
    return school_pb2.Parent(parent_id=world.parent_id, mobile="13800000001", children=[child])


def _rename(user_id: str) -> members.MemberUpdate:
    return members.MemberUpdate(
        member=directory_pb2.Member(user_id=user_id, name="Theirs"),
        update_mask=FieldMask(paths=["name"]),
    )


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
    "IdentityService.GetCorpProfile": lambda w: identity.GetCorpProfileRequest(corp_id=w.corp_id),
    "IdentityService.ListCorps": lambda w: identity.ListCorpsRequest(),
    "IdentityService.UpdateCorp": lambda w: identity.UpdateCorpRequest(
        request_id=_new_id(),
        corp=identity_pb2.Corp(corp_id=w.corp_id, display_name="Another"),
        update_mask=FieldMask(paths=["display_name"]),
    ),
    "IdentityService.SuspendCorp": lambda w: identity.SuspendCorpRequest(
        request_id=_new_id(), corp_id=w.corp_id, reason="none"
    ),
    "IdentityService.ResumeCorp": lambda w: identity.ResumeCorpRequest(
        request_id=_new_id(), corp_id=w.corp_id
    ),
    "IdentityService.DeleteCorp": lambda w: identity.DeleteCorpRequest(
        request_id=_new_id(), corp_id=w.corp_id
    ),
    "IdentityService.UndeleteCorp": lambda w: identity.UndeleteCorpRequest(
        request_id=_new_id(), corp_id=w.corp_id
    ),
    "IdentityService.RequestVerification": lambda w: identity.RequestVerificationRequest(
        request_id=_new_id(),
        corp_id=w.corp_id,
        evidence=identity_pb2.VerificationEvidence(text="none"),
    ),
    "IdentityService.ListVerificationRequests": (
        lambda w: identity.ListVerificationRequestsRequest(corp_id=w.corp_id)
    ),
    "IdentityService.RejectVerification": lambda w: identity.RejectVerificationRequest(
        request_id=_new_id(), corp_id=w.corp_id, verification_request_id=_new_id(), reason="none"
    ),
    "CorpLinkService.InviteCorpLink": lambda w: corp_link.InviteCorpLinkRequest(
        request_id=_new_id(),
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
        request_id=_new_id(), corp_id=w.corp_id, user_id=w.colleague_id
    ),
    "RoleService.GrantRole": lambda w: role.GrantRoleRequest(
        request_id=_new_id(),
        corp_id=w.corp_id,
        grant=role.RoleGrant(user_id=w.colleague_id, role=role.CORP_ROLE_AUDITOR),
    ),
    "RoleService.RevokeRole": lambda w: role.RevokeRoleRequest(
        request_id=_new_id(),
        corp_id=w.corp_id,
        user_id=w.colleague_id,
        role=role.CORP_ROLE_AUDITOR,
    ),
    "RoleService.ListRoleGrants": lambda w: role.ListRoleGrantsRequest(corp_id=w.corp_id),
    "AuditService.ListAuditEntries": lambda w: audit.ListAuditEntriesRequest(corp_id=w.corp_id),
    "AuditService.ExportAuditEntries": lambda w: audit.ExportAuditEntriesRequest(corp_id=w.corp_id),
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
        corp_id=w.corp_id, qr_id=_new_id()
    ),
    "MemberSignInService.DecideQrSignIn": lambda w: member_sign_in.DecideQrSignInRequest(
        corp_id=w.corp_id, qr_id=_new_id(), approved=True
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
            request_id=_new_id(), corp_id=w.corp_id, code="000000"
        )
    ),
    "SecondFactorService.RegenerateRecoveryCodes": (
        lambda w: second_factor.RegenerateRecoveryCodesRequest(
            request_id=_new_id(), corp_id=w.corp_id, code="000000"
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
            request_id=_new_id(),
            corp_id=w.corp_id,
            provider=_provider(),
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
    "AppService.CreateLinkedCorpToken": lambda w: apps.CreateLinkedCorpTokenRequest(
        corp_id=w.corp_id, linked_corp_id=w.partner_corp_id
    ),
    "SigningKeyService.GetJwks": lambda w: signing_keys.GetJwksRequest(),
    "SigningKeyService.RotateSigningKey": lambda w: signing_keys.RotateSigningKeyRequest(
        request_id=_new_id()
    ),
    "DirectoryService.ImportMembers": lambda w: directory.ImportMembersRequest(
        config=directory.ImportMembersConfig(corp_id=w.corp_id)
    ),
    "ImportService.CreateImportJob": lambda w: imports.CreateImportJobRequest(
        config=imports.CreateImportJobConfig(request_id=_new_id(), corp_id=w.corp_id)
    ),
    "ImportService.GetImportJob": lambda w: imports.GetImportJobRequest(
        corp_id=w.corp_id, job_id=_new_id()
    ),
    "ImportService.ListImportJobs": lambda w: imports.ListImportJobsRequest(corp_id=w.corp_id),
    "ImportService.WatchImportJob": lambda w: imports.WatchImportJobRequest(
        corp_id=w.corp_id, job_id=_new_id()
    ),
    "ImportService.CancelImportJob": lambda w: imports.CancelImportJobRequest(
        corp_id=w.corp_id, job_id=_new_id()
    ),
    "ImportService.ListImportJobErrors": lambda w: imports.ListImportJobErrorsRequest(
        corp_id=w.corp_id, job_id=_new_id()
    ),
    "ExportService.ExportMembers": lambda w: exports.ExportMembersRequest(corp_id=w.corp_id),
    "ExportService.ExportDepartments": lambda w: exports.ExportDepartmentsRequest(
        corp_id=w.corp_id
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
    "ChangeService.ListChanges": lambda w: directory_changes.ListChangesRequest(corp_id=w.corp_id),
    "ChangeService.WatchChanges": lambda w: directory_changes.WatchChangesRequest(
        corp_id=w.corp_id
    ),
    "LinkedCorpService.ListLinkedCorps": lambda w: linked.ListLinkedCorpsRequest(corp_id=w.corp_id),
    "LinkedCorpService.ListLinkedDepartments": lambda w: linked.ListLinkedDepartmentsRequest(
        corp_id=w.corp_id, link_id=w.link_id
    ),
    "LinkedCorpService.ListLinkedMembers": lambda w: linked.ListLinkedMembersRequest(
        corp_id=w.corp_id, link_id=w.link_id
    ),
    "LinkedCorpService.GetLinkedMember": lambda w: linked.GetLinkedMemberRequest(
        corp_id=w.corp_id, link_id=w.link_id, user_id=w.colleague_id
    ),
    "SchoolService.CreateSchoolDepartment": lambda w: school.CreateSchoolDepartmentRequest(
        request_id=_new_id(),
        corp_id=w.corp_id,
        department=school_pb2.SchoolDepartment(
            kind=school_pb2.SCHOOL_DEPARTMENT_KIND_GRADE,
            name="Grade",
            parent_department_id=w.class_id,
        ),
    ),
    "SchoolService.UpdateSchoolDepartment": lambda w: school.UpdateSchoolDepartmentRequest(
        request_id=_new_id(),
        corp_id=w.corp_id,
        department=school_pb2.SchoolDepartment(department_id=w.class_id, name="Grade"),
    ),
    "SchoolService.DeleteSchoolDepartment": lambda w: school.DeleteSchoolDepartmentRequest(
        request_id=_new_id(), corp_id=w.corp_id, department_id=w.class_id
    ),
    "SchoolService.ListSchoolDepartments": lambda w: school.ListSchoolDepartmentsRequest(
        corp_id=w.corp_id
    ),
    "SchoolService.BatchCreateStudents": lambda w: school.BatchCreateStudentsRequest(
        request_id=_new_id(),
        corp_id=w.corp_id,
        students=[school_pb2.Student(student_id=w.student_id, name="S", class_ids=[w.class_id])],
    ),
    "SchoolService.BatchUpdateStudents": lambda w: school.BatchUpdateStudentsRequest(
        request_id=_new_id(),
        corp_id=w.corp_id,
        students=[school_pb2.Student(student_id=w.student_id, name="S", class_ids=[w.class_id])],
    ),
    "SchoolService.BatchDeleteStudents": lambda w: school.BatchDeleteStudentsRequest(
        request_id=_new_id(), corp_id=w.corp_id, student_ids=[w.student_id]
    ),
    "SchoolService.GetStudent": lambda w: school.GetStudentRequest(
        corp_id=w.corp_id, student_id=w.student_id
    ),
    "SchoolService.ListStudents": lambda w: school.ListStudentsRequest(
        corp_id=w.corp_id, class_id=w.class_id
    ),
    "SchoolService.BatchCreateParents": lambda w: school.BatchCreateParentsRequest(
        request_id=_new_id(), corp_id=w.corp_id, parents=[_parent(w)]
    ),
    "SchoolService.BatchUpdateParents": lambda w: school.BatchUpdateParentsRequest(
        request_id=_new_id(), corp_id=w.corp_id, parents=[_parent(w)]
    ),
    "SchoolService.BatchDeleteParents": lambda w: school.BatchDeleteParentsRequest(
        request_id=_new_id(), corp_id=w.corp_id, parent_ids=[w.parent_id]
    ),
    "SchoolService.GetParent": lambda w: school.GetParentRequest(
        corp_id=w.corp_id, parent_id=w.parent_id
    ),
    "SchoolService.ListClassParents": lambda w: school.ListClassParentsRequest(
        corp_id=w.corp_id, class_id=w.class_id
    ),
    "DepartmentService.CreateDepartment": lambda w: departments.CreateDepartmentRequest(
        request_id=_new_id(),
        corp_id=w.corp_id,
        department=directory_pb2.Department(name="Theirs", parent_department_id=1),
    ),
    "DepartmentService.GetDepartment": lambda w: departments.GetDepartmentRequest(
        corp_id=w.corp_id, department_id=w.department_id
    ),
    "DepartmentService.BatchGetDepartments": lambda w: departments.BatchGetDepartmentsRequest(
        corp_id=w.corp_id, department_ids=[w.department_id]
    ),
    "DepartmentService.GetSubtree": lambda w: departments.GetSubtreeRequest(corp_id=w.corp_id),
    "DepartmentService.UpdateDepartment": lambda w: departments.UpdateDepartmentRequest(
        request_id=_new_id(),
        corp_id=w.corp_id,
        department=directory_pb2.Department(department_id=w.department_id, order=9),
        update_mask=FieldMask(paths=["order"]),
    ),
    "DepartmentService.DeleteDepartment": lambda w: departments.DeleteDepartmentRequest(
        request_id=_new_id(), corp_id=w.corp_id, department_id=w.department_id
    ),
    "MemberService.CreateMember": lambda w: members.CreateMemberRequest(
        request_id=_new_id(),
        corp_id=w.corp_id,
        member=directory_pb2.Member(user_id="theirs", name="Theirs"),
    ),
    "MemberService.UpdateMember": lambda w: members.UpdateMemberRequest(
        request_id=_new_id(), corp_id=w.corp_id, update=_rename(w.colleague_id)
    ),
    "MemberService.BatchUpdateMembers": lambda w: members.BatchUpdateMembersRequest(
        request_id=_new_id(), corp_id=w.corp_id, updates=[_rename(w.colleague_id)]
    ),
    "MemberService.DeleteMember": lambda w: members.DeleteMemberRequest(
        request_id=_new_id(), corp_id=w.corp_id, user_id=w.colleague_id
    ),
    "MemberService.BatchDeleteMembers": lambda w: members.BatchDeleteMembersRequest(
        request_id=_new_id(), corp_id=w.corp_id, user_ids=[w.colleague_id]
    ),
    "MemberService.DisableMember": lambda w: members.DisableMemberRequest(
        request_id=_new_id(), corp_id=w.corp_id, user_id=w.colleague_id
    ),
    "MemberService.EnableMember": lambda w: members.EnableMemberRequest(
        request_id=_new_id(), corp_id=w.corp_id, user_id=w.colleague_id
    ),
    "MemberService.ListMemberIds": lambda w: members.ListMemberIdsRequest(corp_id=w.corp_id),
    "MemberService.GetMemberIdByMobile": lambda w: members.GetMemberIdByMobileRequest(
        corp_id=w.corp_id, mobile="13800000001"
    ),
    "MemberService.GetMemberIdByEmail": lambda w: members.GetMemberIdByEmailRequest(
        corp_id=w.corp_id, email="wang@example.com"
    ),
    "AttributeService.CreateAttribute": lambda w: attributes.CreateAttributeRequest(
        request_id=_new_id(),
        corp_id=w.corp_id,
        attribute=attribute_pb2.Attribute(name="a", kind=attribute_pb2.ATTRIBUTE_KIND_TEXT),
    ),
    "AttributeService.UpdateAttribute": lambda w: attributes.UpdateAttributeRequest(
        request_id=_new_id(),
        corp_id=w.corp_id,
        attribute=attribute_pb2.Attribute(name="a", order=9),
        update_mask=FieldMask(paths=["order"]),
    ),
    "AttributeService.DeleteAttribute": lambda w: attributes.DeleteAttributeRequest(
        corp_id=w.corp_id, name="a"
    ),
    "AttributeService.ListAttributes": lambda w: attributes.ListAttributesRequest(
        corp_id=w.corp_id
    ),
    "TagService.CreateTag": lambda w: tags.CreateTagRequest(
        request_id=_new_id(), corp_id=w.corp_id, tag=directory_pb2.Tag(name="Theirs")
    ),
    "TagService.GetTag": lambda w: tags.GetTagRequest(corp_id=w.corp_id, tag_id=w.tag_id),
    "TagService.ListTags": lambda w: tags.ListTagsRequest(corp_id=w.corp_id),
    "TagService.UpdateTag": lambda w: tags.UpdateTagRequest(
        request_id=_new_id(),
        corp_id=w.corp_id,
        tag=directory_pb2.Tag(tag_id=w.tag_id, name="Theirs"),
        update_mask=FieldMask(paths=["name"]),
    ),
    "TagService.DeleteTag": lambda w: tags.DeleteTagRequest(
        request_id=_new_id(), corp_id=w.corp_id, tag_id=w.tag_id
    ),
    "TagService.AddTagMembers": lambda w: tags.AddTagMembersRequest(
        request_id=_new_id(), corp_id=w.corp_id, tag_id=w.tag_id, user_ids=[w.colleague_id]
    ),
    "TagService.RemoveTagMembers": lambda w: tags.RemoveTagMembersRequest(
        request_id=_new_id(), corp_id=w.corp_id, tag_id=w.tag_id, user_ids=[w.colleague_id]
    ),
    "TagService.ListTagMembers": lambda w: tags.ListTagMembersRequest(
        corp_id=w.corp_id, tag_id=w.tag_id
    ),
    "VisibilityService.CreateVisibilityRule": lambda w: visibility.CreateVisibilityRuleRequest(
        request_id=_new_id(),
        corp_id=w.corp_id,
        rule=visibility_pb2.VisibilityRule(
            display_name="Theirs",
            kind=visibility_pb2.VISIBILITY_RULE_KIND_HIDDEN,
            # Somebody who is in every corp: a rule names only whom there is.
            targets=visibility_pb2.VisibilityScope(user_ids=["owner"]),
        ),
    ),
    "VisibilityService.GetVisibilityRule": lambda w: visibility.GetVisibilityRuleRequest(
        corp_id=w.corp_id, rule_id=w.rule_id
    ),
    "VisibilityService.ListVisibilityRules": lambda w: visibility.ListVisibilityRulesRequest(
        corp_id=w.corp_id
    ),
    "VisibilityService.UpdateVisibilityRule": lambda w: visibility.UpdateVisibilityRuleRequest(
        request_id=_new_id(),
        corp_id=w.corp_id,
        rule=visibility_pb2.VisibilityRule(rule_id=w.rule_id, display_name="Theirs"),
        update_mask=FieldMask(paths=["display_name"]),
    ),
    "VisibilityService.DeleteVisibilityRule": lambda w: visibility.DeleteVisibilityRuleRequest(
        request_id=_new_id(), corp_id=w.corp_id, rule_id=w.rule_id
    ),
    "VisibilityService.CheckVisibility": lambda w: visibility.CheckVisibilityRequest(
        corp_id=w.corp_id, viewer_user_id="owner", user_id=w.colleague_id
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
    "MessagingService.BatchSendMessages": lambda w: messaging.BatchSendMessagesRequest(
        corp_id=w.corp_id, messages=[_hello(w)]
    ),
    "MessagingService.SendMessages": lambda w: messaging.SendMessagesRequest(
        corp_id=w.corp_id, messages=[_hello(w)]
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
    "MessagingService.SendMessages": [],
    "ImportService.CreateImportJob": [imports.CreateImportJobRequest(chunk=b"user_id\n")],
}


def _all_methods() -> Iterator[MethodDescriptor]:
    for module in MODULES:
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


@pytest.fixture(scope="module")
async def world(tieline: Tieline, platform: PlatformProcess) -> World:
    """A corp with members, conversations, customers and money; another corp and a stranger."""
    password = json.loads(platform.data.secrets_file.read_text())["platform_administrator_password"]
    administrator = await tieline.sign_in_platform_administrator("platform", password)
    corp_id, owner = await _found_corp(tieline, administrator)
    partner_corp_id, partner = await _found_corp(tieline, administrator)
    _, other_owner = await _found_corp(tieline, administrator)
    csv = b"user_id,name,department\nwang.fang,Wang Fang,Sales\n"
    await eventually(lambda: _has_imported(owner, csv))
    await owner.departments.CreateDepartment(
        departments.CreateDepartmentRequest(
            department=directory_pb2.Department(
                name="Chosen", parent_department_id=1, department_id=_CHOSEN_ID
            )
        )
    )
    await owner.tags.CreateTag(
        tags.CreateTagRequest(tag=directory_pb2.Tag(name="Chosen", tag_id=_CHOSEN_ID))
    )
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
    link = await owner.corp_links.InviteCorpLink(
        corp_link.InviteCorpLinkRequest(
            invited_corp_id=partner_corp_id,
            kind=corp_link_pb2.CORP_LINK_KIND_GROUP,
            share=corp_link_pb2.CorpLinkShare(
                scope=corp_link_pb2.CORP_LINK_SHARE_SCOPE_WHOLE_DIRECTORY
            ),
        )
    )
    linked_app_token = await _let_in(tieline, partner, corp_id, link.link.link_id)
    provider = await owner.sign_in_providers.CreateSignInProvider(
        sign_in_provider.CreateSignInProviderRequest(
            provider=_provider(),
            client_secret="secret",
        )
    )
    channel = await Channel.open(administrator, "Channel")
    rule = await owner.visibility.CreateVisibilityRule(
        visibility.CreateVisibilityRuleRequest(
            rule=visibility_pb2.VisibilityRule(
                display_name="Ours",
                kind=visibility_pb2.VISIBILITY_RULE_KIND_HIDES_FIELDS,
                subjects=visibility_pb2.VisibilityScope(everybody=True),
                targets=visibility_pb2.VisibilityScope(user_ids=["wang.fang"]),
                fields=[visibility_pb2.HIDEABLE_FIELD_MOBILE],
            )
        )
    )
    return World(
        endpoints=Endpoints.read(platform.data.path / "endpoints.json"),
        administrator=administrator,
        owner=owner,
        corp_id=corp_id,
        colleague_id="wang.fang",
        department_id=_CHOSEN_ID,
        rule_id=rule.rule.rule_id,
        tag_id=_CHOSEN_ID,
        conversation_id=conversation_id,
        group_id=group_id,
        contact_code=way.contact_way.code,
        join_code=join.join_way.code,
        red_packet_id=packet.red_packet.red_packet_id,
        sign_in_provider_id=provider.provider.provider_id,
        app=app.app,
        app_token=token.access_token,
        class_id=await _add_class(owner),
        student_id="xiao.ming",
        parent_id="parent.of.xiao.ming",
        link_id=link.link.link_id,
        partner_corp_id=partner_corp_id,
        linked_app_token=linked_app_token,
        other_owner=other_owner,
        other_customer=await channel.sign_in(tieline, "stranger", "Stranger"),
    )


async def _let_in(tieline: Tieline, partner: SignedIn, corp_id: str, link_id: str) -> str:
    """Accept the link; return the token by which an app of the partner reads in the corp."""
    await partner.corp_links.AcceptCorpLink(corp_link.AcceptCorpLinkRequest(link_id=link_id))
    rights = [access_pb2.RIGHT_READ_DIRECTORY]
    app = await partner.apps.CreateApp(
        apps.CreateAppRequest(app=app_pb2.App(name="Theirs", rights=rights))
    )
    token = await tieline.apps.CreateAppToken(
        apps.CreateAppTokenRequest(corp_id=app.app.corp_id, secret=app.secret)
    )
    linked_token = await tieline.apps.CreateLinkedCorpToken(
        apps.CreateLinkedCorpTokenRequest(linked_corp_id=corp_id),
        metadata=[("authorization", f"Bearer {token.access_token}")],
    )
    return linked_token.access_token


async def _add_class(owner: SignedIn) -> int:
    """Add a class with one student, who has one parent; return its id."""
    parent_id = 1
    for kind in (school_pb2.SCHOOL_DEPARTMENT_KIND_GRADE, school_pb2.SCHOOL_DEPARTMENT_KIND_CLASS):
        department = school_pb2.SchoolDepartment(
            kind=kind, name="Grade", parent_department_id=parent_id
        )
        created = await owner.schools.CreateSchoolDepartment(
            school.CreateSchoolDepartmentRequest(department=department)
        )
        parent_id = created.department.department_id
    student = school_pb2.Student(student_id="xiao.ming", name=STUDENT_NAME, class_ids=[parent_id])
    await owner.schools.BatchCreateStudents(school.BatchCreateStudentsRequest(students=[student]))
    child = school_pb2.Child(student_id="xiao.ming", relation="mother")
    parent = school_pb2.Parent(
        parent_id="parent.of.xiao.ming", mobile=PARENT_MOBILE, children=[child]
    )
    await owner.schools.BatchCreateParents(school.BatchCreateParentsRequest(parents=[parent]))
    return parent_id


async def _found_corp(tieline: Tieline, administrator: SignedIn) -> tuple[str, SignedIn]:
    created = await administrator.identity.CreateCorp(
        identity.CreateCorpRequest(
            display_name="Corp",
            kind=identity_pb2.CORP_KIND_SCHOOL,
            owner_user_id="owner",
            owner_name="Owner",
        )
    )
    owner = await tieline.accept_invitation(
        created.corp.corp_id, "owner", created.owner_invitation.code, PASSWORD
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
    if isinstance(request, imports.CreateImportJobRequest):
        config = imports.CreateImportJobConfig(request_id=request.config.request_id)
        return imports.CreateImportJobRequest(config=config)
    bare = type(request).FromString(request.SerializeToString())
    if isinstance(bare, identity.UpdateCorpRequest):
        bare.corp.ClearField("corp_id")
    else:
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
        await owner.schools.GetStudent(school.GetStudentRequest(student_id=world.student_id)),
        await owner.directory.ListDepartments(directory.ListDepartmentsRequest()),
        await owner.tags.ListTags(tags.ListTagsRequest()),
        await owner.tags.ListTagMembers(tags.ListTagMembersRequest(tag_id=world.tag_id)),
        await owner.attributes.ListAttributes(attributes.ListAttributesRequest()),
        await owner.contacts.ListContacts(contacts.ListContactsRequest()),
        await owner.sign_in_providers.ListSignInProviders(
            sign_in_provider.ListSignInProvidersRequest()
        ),
        await owner.second_factors.GetSignInPolicy(second_factor.GetSignInPolicyRequest()),
        await owner.apps.ListApps(apps.ListAppsRequest()),
        await owner.sessions.ListSessions(sessions.ListSessionsRequest()),
        await owner.identity.GetCorp(identity.GetCorpRequest()),
        await owner.corp_links.ListCorpLinks(corp_link.ListCorpLinksRequest()),
        await owner.roles.ListRoleGrants(role.ListRoleGrantsRequest()),
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
        LINKED_APP: world.linked_app_token,
    }
    wrong = [token for kind, token in parties.items() if kind not in _access(name).kinds]
    assert wrong, "no method is for everybody"

    for token in wrong:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await _call(world, name, REQUESTS[name](world), token)

        assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("name", [n for n in OPEN_TO_MEMBERS if n not in PUBLIC_METHODS])
async def test_a_member_of_another_corp_finds_nothing(world: World, name: str) -> None:
    request = REQUESTS[name](world)
    before = await _state(world)

    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await _call(world, name, request, world.other_owner.tokens.access_token)

    assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    assert await _state(world) == before


@pytest.mark.parametrize("name", [n for n in OPEN_TO_MEMBERS if n not in CORP_NAMING_METHODS])
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
        # Unauthenticated: proofs of who one is that are wrong, whosever they are.
        if error.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAUTHENTICATED):
            return NO_RESPONSE
        raise
