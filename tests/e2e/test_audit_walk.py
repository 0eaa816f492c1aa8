"""Walks every RPC that changes something: it leaves an entry in the audit log, or says why not.

A new RPC fails here until it is a step of the walk or stands in ``WRITES_NOTHING`` with its reason.
What needs an administrator's right, or is the platform's alone, can't stand there.
"""

import uuid

import grpc
import pytest
from google.protobuf.message import Message

from e2e.audit_steps import STEPS, Step, Walk
from e2e.platform_process import PlatformProcess
from e2e.rpc_requests.founding import found_world
from e2e.rpc_requests.world import PASSWORD
from e2e.test_every_rpc import METHODS, REQUESTS, find_target, start_call
from fakes.eventually import eventually
from tieline.api.common.v1 import access_pb2, audit_pb2, principal_pb2
from tieline.api.identity.v1 import audit_service_pb2
from tieline.client import SignedIn, Tieline

# What a method's name begins with that changes nothing. Exports, which read much, are walked.
READS = (
    *("Get", "BatchGet", "List", "BatchList", "Search"),
    *("Watch", "Check", "Download", "Subscribe"),
)

# Rights by which nothing is changed that the corp owns.
NO_ADMINISTRATION = {
    access_pb2.RIGHT_UNSPECIFIED,
    access_pb2.RIGHT_READ_DIRECTORY,
    access_pb2.RIGHT_READ_AUDIT_LOG,
    access_pb2.RIGHT_READ_COMPLIANCE,
    access_pb2.RIGHT_SEND_APP_MESSAGES,
}

_SAID = "what is said: the archive has it"
_GROUP = "a conversation's own life: its log has it as notes, and the archive"
_OWN = "how the caller reads and is told, nobody else's matter"
_ASKS = "a step of a sign-in, which opens nothing yet"
_SIGNS_IN = "identity writes the sign-in down; its own tests have every way in"
_OWN_SECOND_FACTOR = "identity writes down what became of it; its own tests have it"
_TOKEN = "tokens of a session or secret that is written down: each quarter of an hour"
_OUTSIDER = "a customer's act, by a way that is written down; an event tells of it"

# Everyday use, and what is proved elsewhere, each with its reason.
WRITES_NOTHING = {
    "AppMessageService.RecallAppMessage": _SAID,
    "AppMessageService.SendAppMessage": _SAID,
    "AppMessageService.UpdateCard": _SAID,
    "AppService.CreateAppToken": _TOKEN,
    "AppService.CreateLinkedCorpToken": _TOKEN,
    "ArchiveService.AcknowledgeArchive": "how far a program has read",
    "ContactsService.AddContact": _OUTSIDER,
    "ContactsService.JoinCustomerGroup": _OUTSIDER,
    "ContactsService.LeaveCustomerGroup": _OUTSIDER,
    "ConversationService.AddParticipants": _GROUP,
    "ConversationService.CreateJoinCode": _GROUP,
    "ConversationService.DecideJoinRequest": _GROUP,
    "ConversationService.DeleteJoinCode": _GROUP,
    "ConversationService.DismissConversation": _GROUP,
    "ConversationService.JoinConversation": _GROUP,
    "ConversationService.LeaveConversation": _GROUP,
    "ConversationService.OpenAppConversation": _GROUP,
    "ConversationService.RemoveParticipants": _GROUP,
    "ConversationService.TransferConversation": _GROUP,
    "ConversationService.UpdateParticipantRole": _GROUP,
    "ConversationService.UpdateSettings": _GROUP,
    "CustomerSignInService.RequestCustomerSignInCode": _ASKS,
    "CustomerSignInService.SignInCustomerByCode": "customers belong to no corp, and so to no log",
    "IdentityService.AcceptInvitation": _SIGNS_IN,
    "IdentityService.RefreshSession": _TOKEN,
    "IdentityService.SignInCustomer": "customers belong to no corp, and so to no log",
    "IdentityService.SignInMember": _SIGNS_IN,
    "IdentityService.SignInPlatformAdministrator": _SIGNS_IN,
    "MediaService.BeginUpload": _SAID,
    "MediaService.UploadMedia": _SAID,
    "MemberSignInService.BeginProviderSignIn": _ASKS,
    "MemberSignInService.BeginQrSignIn": _ASKS,
    "MemberSignInService.ChangePassword": _SIGNS_IN,
    "MemberSignInService.CompleteProviderSignIn": _SIGNS_IN,
    "MemberSignInService.DecideQrSignIn": _SIGNS_IN,
    "MemberSignInService.LinkProviderAccount": _SIGNS_IN,
    "MemberSignInService.RequestSignInCode": _ASKS,
    "MemberSignInService.ResetPassword": _SIGNS_IN,
    "MemberSignInService.ScanQrSignIn": _ASKS,
    "MemberSignInService.SignInByCode": _SIGNS_IN,
    "MessageService.AnswerMessage": _SAID,
    "MessageService.EditMessage": _SAID,
    "MessageService.ForwardMessages": _SAID,
    "MessageService.RecallMessage": _SAID,
    "MessageService.SetPin": _SAID,
    "MessageService.SetReaction": _SAID,
    "MessagingService.BatchSendMessages": _SAID,
    "MessagingService.CreateConversation": _GROUP,
    "MessagingService.SendMessage": _SAID,
    "MessagingService.SendMessages": _SAID,
    "PaymentsService.OpenRedPacket": "the ledger has every share",
    "PushService.RegisterPushTarget": _OWN,
    "PushService.SetPushPreviews": _OWN,
    "PushService.SetQuietHours": _OWN,
    "PushService.UnregisterPushTarget": _OWN,
    "ReadingService.LookAt": _OWN,
    "ReadingService.MarkRead": _OWN,
    "ReadingService.MuteConversation": _OWN,
    "ReadingService.PinConversation": _OWN,
    "ReadingService.SaveDraft": _OWN,
    "ReadingService.ShowTyping": _OWN,
    "ScheduledMessageService.CancelScheduledMessage": _SAID,
    "ScheduledMessageService.CreateScheduledMessage": _SAID,
    "ScheduledMessageService.UpdateScheduledMessage": _SAID,
    "SecondFactorService.BeginTotpEnrolment": _ASKS,
    "SecondFactorService.BeginTotpEnrolmentAtSignIn": _ASKS,
    "SecondFactorService.CompleteSecondFactor": _SIGNS_IN,
    "SecondFactorService.ConfirmTotpEnrolment": _OWN_SECOND_FACTOR,
    "SecondFactorService.DisableTotp": _OWN_SECOND_FACTOR,
    "SecondFactorService.RegenerateRecoveryCodes": _OWN_SECOND_FACTOR,
    "SessionService.SignOut": _SIGNS_IN,
}

# Written down, and proved where it can be brought about.
PROVED_ELSEWHERE = {
    "ImportService.CancelImportJob": "a job that is still under way: directory's test_import_jobs",
}


def _access(name: str) -> access_pb2.Access:
    return METHODS[name].GetOptions().Extensions[access_pb2.access]


def _is_read(name: str) -> bool:
    return name.partition(".")[2].startswith(READS)


def _is_administrative(name: str) -> bool:
    """Tell whether a method changes something by an administrator's right."""
    access = _access(name)
    is_platforms = list(access.kinds) == [principal_pb2.PRINCIPAL_KIND_PLATFORM_ADMINISTRATOR]
    has_right = access.right not in NO_ADMINISTRATION or access.corp_administrator
    return not _is_read(name) and (has_right or is_platforms)


def test_every_method_that_changes_something_is_decided_about() -> None:
    """Each is a step of the walk or has a reason, and none is both."""
    changing = {name for name in METHODS if not _is_read(name)}
    walked = {step.name for step in STEPS}

    assert walked | WRITES_NOTHING.keys() | PROVED_ELSEWHERE.keys() == changing
    assert walked.isdisjoint(WRITES_NOTHING)
    assert len(walked) == len(STEPS)


@pytest.mark.parametrize("name", sorted(WRITES_NOTHING))
def test_nothing_is_administered_without_an_entry(name: str) -> None:
    """A right that the owner gives, or being the platform's, takes a method off the list."""
    assert not _is_administrative(name)


async def test_every_administrative_act_stands_in_the_audit_log(
    tieline: Tieline, platform: PlatformProcess
) -> None:
    """Each step's entry has the request id of its call, in the corp's log or the platform's."""
    walk = Walk(tieline, await found_world(tieline, platform))
    request_ids = {step.name: str(uuid.uuid4()) for step in STEPS}

    for step in STEPS:
        await _take(walk, step, request_ids[step.name])
        if step.find_request_id is not None:
            request_ids[step.name] = step.find_request_id(walk.responses[step.name])

    # Whom TransferOwnership has made the owner.
    owner = await tieline.sign_in_member(walk.world.corp_id, walk.world.colleague_id, PASSWORD)

    async def list_missing() -> list[str]:
        entries = [*await _list(owner), *await _list(walk.world.administrator)]
        found = {entry.request_id for entry in entries}
        return [name for name, request_id in request_ids.items() if request_id not in found]

    async def are_all_there() -> bool:
        return await list_missing() == []

    try:
        await eventually(are_all_there)
    except AssertionError:
        assert await list_missing() == []
        raise


async def _take(walk: Walk, step: Step, request_id: str) -> None:
    if step.before is not None:
        await step.before(walk)
    request: Message = (
        REQUESTS[step.name](walk.world) if step.request is None else step.request(walk)
    )
    try:
        walk.responses[step.name] = await _call(walk, step, request, request_id)
    except grpc.aio.AioRpcError as error:
        raise AssertionError(f"{step.name} was refused: {error.details()}") from error


async def _call(walk: Walk, step: Step, request: Message, request_id: str) -> Message | None:
    """Call the step's method to its end; return the response, None of a stream."""
    party: SignedIn = getattr(walk.world, step.by)
    metadata = [
        ("authorization", f"Bearer {party.tokens.access_token}"),
        ("x-request-id", request_id),
    ]
    async with grpc.aio.insecure_channel(find_target(walk.world, step.name)) as channel:
        call = start_call(channel, step.name, request, metadata, step.following)
        if not METHODS[step.name].server_streaming:
            response: Message = await call
            return response
        async for _ in call:
            pass
        return None


async def _list(party: SignedIn) -> list[audit_pb2.AuditEntry]:
    request = audit_service_pb2.ListAuditEntriesRequest(page_size=200)
    entries = await party.audit.ListAuditEntries(request)
    return list(entries.entries)
