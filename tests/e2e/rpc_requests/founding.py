"""Founds the world that the walk over every RPC goes through."""

import json

from e2e.platform_process import PlatformProcess
from e2e.rpc_requests.identity import build_provider
from e2e.rpc_requests.messaging import build_scheduled
from e2e.rpc_requests.world import PARENT_MOBILE, PASSWORD, STUDENT_NAME, World
from fakes.eventually import eventually
from tieline.api.common.v1 import access_pb2
from tieline.api.contacts.v1 import contacts_service_pb2 as contacts
from tieline.api.directory.v1 import department_service_pb2 as departments
from tieline.api.directory.v1 import directory_pb2, school_pb2, visibility_pb2
from tieline.api.directory.v1 import directory_service_pb2 as directory
from tieline.api.directory.v1 import school_service_pb2 as school
from tieline.api.directory.v1 import tag_service_pb2 as tags
from tieline.api.directory.v1 import visibility_service_pb2 as visibility
from tieline.api.identity.v1 import app_pb2, corp_link_pb2, identity_pb2
from tieline.api.identity.v1 import app_service_pb2 as apps
from tieline.api.identity.v1 import corp_link_service_pb2 as corp_link
from tieline.api.identity.v1 import identity_service_pb2 as identity
from tieline.api.identity.v1 import sign_in_provider_service_pb2 as sign_in_provider
from tieline.api.messaging.v1 import archive_service_pb2 as archive
from tieline.api.messaging.v1 import compliance_service_pb2 as compliance
from tieline.api.messaging.v1 import media_service_pb2 as media
from tieline.api.messaging.v1 import messaging_pb2
from tieline.api.messaging.v1 import messaging_service_pb2 as messaging
from tieline.api.messaging.v1 import scheduled_message_service_pb2 as scheduled
from tieline.api.payments.v1 import payments_service_pb2 as payments
from tieline.client import Endpoints, SignedIn, Tieline, upload_media
from tieline.client.errors import TielineError
from tieline.demo.channel import Channel

# Of a department and a tag: those that corps make themselves are the same in each.
_CHOSEN_ID = 900


async def found_world(tieline: Tieline, platform: PlatformProcess) -> World:
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
    scheduled_message = await owner.scheduled_messages.CreateScheduledMessage(
        scheduled.CreateScheduledMessageRequest(scheduled_message=build_scheduled(conversation_id))
    )
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
    hold = await owner.compliance.CreateLegalHold(
        compliance.CreateLegalHoldRequest(scope=compliance.LEGAL_HOLD_SCOPE_CORP, reason="case 7")
    )
    archived = await owner.archive.ListArchiveEntries(archive.ListArchiveEntriesRequest())
    begun = await owner.media.BeginUpload(
        media.BeginUploadRequest(
            kind=media.MEDIA_KIND_FILE, name="begun.txt", size_bytes=100, sha256=bytes(32)
        )
    )
    whole = await upload_media(owner.media, b"whole and checked", media.MEDIA_KIND_FILE, "plan.txt")
    provider = await owner.sign_in_providers.CreateSignInProvider(
        sign_in_provider.CreateSignInProviderRequest(
            provider=build_provider(),
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
        scheduled_message_id=scheduled_message.scheduled_message.scheduled_message_id,
        group_id=group_id,
        upload_id=begun.upload.upload_id,
        media_id=whole.media_id,
        hold_id=hold.hold.hold_id,
        archive_cursor=archived.next_cursor,
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
        linked_app_token=await _let_in(tieline, partner, corp_id, link.link.link_id),
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
