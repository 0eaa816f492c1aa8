"""The steps of the walk over everything that stands in the audit log.

Each calls one method so that it does something; what one makes others change and delete.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from e2e.rpc_requests.world import PASSWORD, World, new_id
from integration.identity.authenticators import code_of
from tieline.api.directory.v1 import directory_pb2, school_pb2
from tieline.api.directory.v1 import import_service_pb2 as imports
from tieline.api.directory.v1 import member_service_pb2 as members
from tieline.api.directory.v1 import school_service_pb2 as school
from tieline.api.directory.v1 import tag_service_pb2 as tags
from tieline.api.identity.v1 import corp_link_pb2, identity_pb2, sign_in_pb2
from tieline.api.identity.v1 import corp_link_service_pb2 as corp_link
from tieline.api.identity.v1 import identity_service_pb2 as identity
from tieline.api.identity.v1 import second_factor_service_pb2 as second_factor
from tieline.api.identity.v1 import session_service_pb2 as sessions
from tieline.api.messaging.v1 import push_service_pb2 as push
from tieline.client import SignedIn, Tieline


@dataclass
class Walk:
    """What the steps know of one another."""

    tieline: Tieline
    world: World
    responses: dict[str, Any] = field(default_factory=dict)
    """Of the methods that were called, the last one of each."""

    colleague: SignedIn | None = None

    @property
    def colleague_session_id(self) -> str:
        assert self.colleague is not None, "signed in by a step before"
        return self.colleague.tokens.session_id


@dataclass(frozen=True)
class Step:
    """One call."""

    name: str
    by: str = "owner"
    """Whose of the world: ``owner``, ``administrator`` or ``other_owner``."""

    request: Callable[[Walk], Message] | None = None
    """None for the one of ``rpc_requests``."""

    following: tuple[Message, ...] = ()
    """What follows the request in a client's stream; empty for that of ``rpc_requests``."""

    before: Callable[[Walk], Awaitable[None]] | None = None
    find_request_id: Callable[[Any], str] | None = None
    """Of the response: what the entry has in its place that was written by what the call began."""


async def _enter_colleague(walk: Walk) -> None:
    """Have the colleague accept the invitation and enrol an authenticator."""
    invited = walk.responses["IdentityService.CreateInvitations"]
    walk.colleague = await walk.tieline.accept_invitation(
        walk.world.corp_id, walk.world.colleague_id, invited.invitations[0].code, PASSWORD
    )
    begun = await walk.colleague.second_factors.BeginTotpEnrolment(
        second_factor.BeginTotpEnrolmentRequest()
    )
    await walk.colleague.second_factors.ConfirmTotpEnrolment(
        second_factor.ConfirmTotpEnrolmentRequest(code=code_of(begun.enrolment.secret))
    )


async def _sign_colleague_in(walk: Walk) -> None:
    walk.colleague = await walk.tieline.sign_in_member(
        walk.world.corp_id, walk.world.colleague_id, PASSWORD
    )


async def _be_invited(walk: Walk) -> None:
    """Have the other corp invite this one."""
    walk.responses["invited"] = await walk.world.other_owner.corp_links.InviteCorpLink(
        corp_link.InviteCorpLinkRequest(
            invited_corp_id=walk.world.corp_id, kind=corp_link_pb2.CORP_LINK_KIND_GROUP
        )
    )


async def _be_declined_and_invited(walk: Walk) -> None:
    """Two corps have one link of a kind: have the other one answer with its own."""
    invited = walk.responses["CorpLinkService.InviteCorpLink"]
    await walk.world.other_owner.corp_links.DeclineCorpLink(
        corp_link.DeclineCorpLinkRequest(link_id=invited.link.link_id)
    )
    await _be_invited(walk)


async def _find_other_corp(walk: Walk) -> None:
    walk.responses["other"] = await walk.world.other_owner.identity.GetCorp(
        identity.GetCorpRequest()
    )


def _decide_link(request: type[Message]) -> Callable[[Walk], Message]:
    return lambda walk: request(link_id=walk.responses["invited"].link.link_id)


def _students(walk: Walk) -> Message:
    student = school_pb2.Student(
        student_id="xiao.hong", name="Xiao Hong", class_ids=[walk.world.class_id]
    )
    return school.BatchCreateStudentsRequest(request_id=new_id(), students=[student])


def _parents(_: Walk) -> Message:
    child = school_pb2.Child(student_id="xiao.hong", relation="father")
    parent = school_pb2.Parent(
        parent_id="parent.of.xiao.hong", mobile="13800000009", children=[child]
    )
    return school.BatchCreateParentsRequest(request_id=new_id(), parents=[parent])


def _rename_again(walk: Walk) -> Message:
    update = members.MemberUpdate(
        member=directory_pb2.Member(user_id=walk.world.colleague_id, name="Renamed"),
        update_mask=FieldMask(paths=["name"]),
    )
    return members.BatchUpdateMembersRequest(request_id=new_id(), updates=[update])


def _of(request: type[Any]) -> Message:
    """Return the request about the member whom ``MemberService.CreateMember`` has made."""
    made: Message = request(request_id=new_id(), user_id="theirs")
    return made


def _channel(walk: Walk) -> identity_pb2.Channel:
    channel: identity_pb2.Channel = walk.responses["IdentityService.CreateChannel"].channel
    return channel


_DIRECTORY = (
    Step("AttributeService.CreateAttribute"),
    Step("AttributeService.UpdateAttribute"),
    Step("AttributeService.DeleteAttribute"),
    Step("DepartmentService.CreateDepartment"),
    Step("DepartmentService.UpdateDepartment"),
    Step("DepartmentService.DeleteDepartment"),
    Step("DirectoryService.ImportMembers"),
    Step(
        "ImportService.CreateImportJob",
        following=(
            imports.CreateImportJobRequest(
                chunk=b"user_id,name,department\nchen.jie,Chen Jie,Sales\n"
            ),
        ),
        find_request_id=lambda response: response.job.job_id,
    ),
    Step("ExportService.ExportMembers"),
    Step("ExportService.ExportDepartments"),
    Step("MemberService.CreateMember"),
    Step("MemberService.UpdateMember"),
    Step("MemberService.BatchUpdateMembers", request=_rename_again),
    Step("TagService.CreateTag"),
    Step(
        "TagService.UpdateTag",
        request=lambda walk: tags.UpdateTagRequest(
            request_id=new_id(),
            tag=directory_pb2.Tag(tag_id=walk.world.tag_id, name="Renamed"),
            update_mask=FieldMask(paths=["name"]),
        ),
    ),
    Step("TagService.AddTagMembers"),
    Step("TagService.RemoveTagMembers"),
    Step("TagService.DeleteTag"),
    Step("VisibilityService.CreateVisibilityRule"),
    Step("VisibilityService.UpdateVisibilityRule"),
    Step("VisibilityService.DeleteVisibilityRule"),
    Step(
        "SchoolService.CreateSchoolDepartment",
        request=lambda _: school.CreateSchoolDepartmentRequest(
            request_id=new_id(),
            department=school_pb2.SchoolDepartment(
                kind=school_pb2.SCHOOL_DEPARTMENT_KIND_GRADE, name="New", parent_department_id=1
            ),
        ),
    ),
    Step(
        "SchoolService.UpdateSchoolDepartment",
        request=lambda walk: school.UpdateSchoolDepartmentRequest(
            request_id=new_id(),
            department=school_pb2.SchoolDepartment(
                department_id=walk.world.class_id, name="Class 1"
            ),
            update_mask=FieldMask(paths=["name"]),
        ),
    ),
    Step("SchoolService.BatchCreateStudents", request=_students),
    Step("SchoolService.BatchUpdateStudents"),
    Step("SchoolService.BatchCreateParents", request=_parents),
    Step("SchoolService.BatchUpdateParents"),
    Step("SchoolService.BatchDeleteParents"),
    Step("SchoolService.BatchDeleteStudents"),
    Step(
        "SchoolService.DeleteSchoolDepartment",
        request=lambda walk: school.DeleteSchoolDepartmentRequest(
            request_id=new_id(),
            department_id=walk.responses[
                "SchoolService.CreateSchoolDepartment"
            ].department.department_id,
        ),
    ),
)

_SIGN_IN = (
    Step("IdentityService.CreateInvitations"),
    Step("SecondFactorService.ResetSecondFactor", before=_enter_colleague),
    Step(
        "SessionService.RevokeSession",
        before=_sign_colleague_in,
        request=lambda walk: sessions.RevokeSessionRequest(session_id=walk.colleague_session_id),
    ),
    Step("SessionService.RevokeAllSessions", before=_sign_colleague_in),
    Step(
        "SecondFactorService.UpdateSignInPolicy",
        request=lambda _: second_factor.UpdateSignInPolicyRequest(
            policy=sign_in_pb2.SignInPolicy(provider_counts_as_second_factor=True),
            update_mask=FieldMask(paths=["provider_counts_as_second_factor"]),
        ),
    ),
    Step("SignInProviderService.CreateSignInProvider"),
    Step("SignInProviderService.UpdateSignInProvider"),
    Step("SignInProviderService.DeleteSignInProvider"),
    Step("RoleService.GrantRole"),
    Step("RoleService.RevokeRole"),
)

_CORP = (
    Step("AppService.CreateApp"),
    Step("AppService.UpdateApp"),
    Step("AppService.RotateAppSecret"),
    Step("AppService.RevokeAppSecret"),
    Step("AppService.DeleteApp"),
    Step(
        "CorpLinkService.DeclineCorpLink",
        before=_be_invited,
        request=_decide_link(corp_link.DeclineCorpLinkRequest),
    ),
    Step(
        "CorpLinkService.InviteCorpLink",
        before=_find_other_corp,
        request=lambda walk: corp_link.InviteCorpLinkRequest(
            request_id=new_id(),
            invited_corp_id=walk.responses["other"].corp.corp_id,
            kind=corp_link_pb2.CORP_LINK_KIND_GROUP,
        ),
    ),
    Step(
        "CorpLinkService.AcceptCorpLink",
        before=_be_declined_and_invited,
        request=_decide_link(corp_link.AcceptCorpLinkRequest),
    ),
    Step("CorpLinkService.UpdateCorpLinkShare"),
    Step("CorpLinkService.LeaveCorpLink"),
    Step("IdentityService.UpdateCorp"),
    Step("IdentityService.RequestVerification"),
    Step(
        "IdentityService.RejectVerification",
        by="administrator",
        request=lambda walk: identity.RejectVerificationRequest(
            request_id=new_id(),
            corp_id=walk.world.corp_id,
            verification_request_id=walk.responses[
                "IdentityService.RequestVerification"
            ].verification_request.verification_request_id,
            reason="not ours",
        ),
    ),
    Step("IdentityService.VerifyCorp", by="administrator"),
)

_USE = (
    Step("ContactsService.CreateContactWay"),
    Step("ContactsService.CreateCustomerGroup"),
    Step("ContactsService.CreateJoinWay"),
    Step("ComplianceService.SetRetentionPolicy"),
    Step("ComplianceService.CreateLegalHold"),
    Step("ComplianceService.ReleaseLegalHold"),
    Step("SensitiveWordService.UpdateSensitiveWords"),
    Step(
        "PushService.SetCorpPushPreviews",
        request=lambda _: push.SetCorpPushPreviewsRequest(hidden=True),
    ),
    Step("PaymentsService.CreateDeposit", by="administrator"),
    Step("PaymentsService.CreateRedPacket"),
    Step("ArchiveService.ExportArchive"),
    Step("AuditService.ExportAuditEntries"),
)

_PLATFORM = (
    Step("IdentityService.CreateCorp", by="administrator"),
    Step("IdentityService.CreateChannel", by="administrator"),
    Step(
        "IdentityService.UpdateChannel",
        by="administrator",
        request=lambda walk: identity.UpdateChannelRequest(
            request_id=new_id(),
            channel=identity_pb2.Channel(channel_id=_channel(walk).channel_id, disabled=True),
            update_mask=FieldMask(paths=["disabled"]),
        ),
    ),
    Step(
        "IdentityService.DeleteChannel",
        by="administrator",
        request=lambda walk: identity.DeleteChannelRequest(
            request_id=new_id(), channel_id=_channel(walk).channel_id
        ),
    ),
    Step("SigningKeyService.RotateSigningKey", by="administrator"),
)

# What ends what the other steps stand on.
_LAST = (
    Step("MemberService.DisableMember", request=lambda _: _of(members.DisableMemberRequest)),
    Step("MemberService.EnableMember", request=lambda _: _of(members.EnableMemberRequest)),
    Step("MemberService.DeleteMember", request=lambda _: _of(members.DeleteMemberRequest)),
    Step(
        "MemberService.BatchDeleteMembers",
        request=lambda _: members.BatchDeleteMembersRequest(
            request_id=new_id(), user_ids=["li.na"]
        ),
    ),
    Step("RoleService.TransferOwnership"),
    Step("RoleService.RecoverOwnership", by="administrator"),
    Step("IdentityService.SuspendCorp", by="administrator"),
    Step("IdentityService.ResumeCorp", by="administrator"),
    Step("IdentityService.DeleteCorp", by="administrator"),
    Step("IdentityService.UndeleteCorp", by="administrator"),
)

STEPS = (*_DIRECTORY, *_SIGN_IN, *_CORP, *_USE, *_PLATFORM, *_LAST)
