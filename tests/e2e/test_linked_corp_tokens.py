"""An app's token for a linked corp, over real services: it reads exactly what is shared."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from e2e.platform_process import PlatformProcess
from fakes.eventually import eventually
from tieline.api.common.v1 import access_pb2
from tieline.api.directory.v1 import (
    department_service_pb2,
    directory_pb2,
    linked_corp_service_pb2,
    member_service_pb2,
)
from tieline.api.identity.v1 import (
    app_pb2,
    app_service_pb2,
    corp_link_pb2,
    corp_link_service_pb2,
    identity_pb2,
    identity_service_pb2,
)
from tieline.client import SignedIn, Tieline
from tieline.client.errors import TielineError

GROUP = corp_link_pb2.CORP_LINK_KIND_GROUP
SHARED_DEPARTMENT, OTHER_DEPARTMENT = 100, 200

Metadata = Sequence[tuple[str, str]]


@dataclass
class Partners:
    """The app of one corp, and the corp that shares one of its two departments with it."""

    tieline: Tieline
    corp_id: str
    partner: SignedIn
    partner_corp_id: str
    link_id: str
    token: Metadata

    async def list_members(self, **fields: object) -> list[linked_corp_service_pb2.LinkedMember]:
        response = await self.tieline.linked_corps.ListLinkedMembers(
            linked_corp_service_pb2.ListLinkedMembersRequest(**fields),  # type: ignore[arg-type]
            metadata=self.token,
        )
        return list(response.members)

    async def find_reason(self, **fields: object) -> str:
        """Return why the list is refused; empty if it is not."""
        try:
            await self.list_members(**fields)
        except TielineError as error:
            return error.reason
        return ""


@pytest.fixture(scope="module")
async def administrator(tieline: Tieline, platform: PlatformProcess) -> SignedIn:
    secrets = json.loads(platform.data.secrets_file.read_text())
    return await tieline.sign_in_platform_administrator(
        "platform", secrets["platform_administrator_password"]
    )


@pytest.fixture
async def partners(tieline: Tieline, administrator: SignedIn) -> Partners:
    corp_id, owner = await found_corp(tieline, administrator)
    partner_corp_id, partner = await found_corp(tieline, administrator)
    await add_people(partner)
    link_id = await link_corps(owner, partner, partner_corp_id)
    app = await owner.apps.CreateApp(
        app_service_pb2.CreateAppRequest(
            app=app_pb2.App(
                name="Partner list",
                rights=[
                    access_pb2.RIGHT_READ_DIRECTORY,
                    access_pb2.RIGHT_READ_CONTACT_DETAILS,
                ],
            )
        )
    )
    own = await tieline.apps.CreateAppToken(
        app_service_pb2.CreateAppTokenRequest(corp_id=corp_id, secret=app.secret)
    )
    linked = await tieline.apps.CreateLinkedCorpToken(
        app_service_pb2.CreateLinkedCorpTokenRequest(linked_corp_id=partner_corp_id),
        metadata=bearer(own.access_token),
    )
    assert linked.link_id == link_id
    token = bearer(linked.access_token)
    found = Partners(tieline, corp_id, partner, partner_corp_id, link_id, token)

    async def is_known() -> bool:
        # The directory hears of the link by an event.
        return await found.find_reason() == ""

    await eventually(is_known)
    return found


async def test_exactly_what_is_shared_is_read(partners: Partners) -> None:
    members = await partners.list_members()

    assert [(each.user_id, each.mobile, each.email) for each in members] == [
        ("shared.one", "13800000001", "")
    ]
    assert list(members[0].department_ids) == [SHARED_DEPARTMENT]
    named = {"corp_id": partners.partner_corp_id, "link_id": partners.link_id}
    assert await partners.list_members(**named) == members
    assert await partners.find_reason(department_id=OTHER_DEPARTMENT) == "DEPARTMENT_NOT_FOUND"
    with pytest.raises(TielineError) as raised:
        await partners.tieline.linked_corps.GetLinkedMember(
            linked_corp_service_pb2.GetLinkedMemberRequest(user_id="other.one"),
            metadata=partners.token,
        )
    assert (raised.value.code.name, raised.value.reason) == ("NOT_FOUND", "USER_NOT_FOUND")


async def test_another_corp_is_not_found(
    partners: Partners, tieline: Tieline, administrator: SignedIn
) -> None:
    stranger_corp_id, _ = await found_corp(tieline, administrator)

    for corp_id in (partners.corp_id, stranger_corp_id):
        with pytest.raises(TielineError) as raised:
            await partners.list_members(corp_id=corp_id)
        assert (raised.value.code.name, raised.value.reason) == ("NOT_FOUND", "CORP_NOT_FOUND")


async def test_a_left_link_shuts_the_app_out_within_two_seconds(partners: Partners) -> None:
    await partners.partner.corp_links.LeaveCorpLink(
        corp_link_service_pb2.LeaveCorpLinkRequest(link_id=partners.link_id)
    )
    left_at = time.monotonic()

    async def is_shut_out() -> bool:
        return await partners.find_reason() == "TOKEN_EXPIRED"

    await eventually(is_shut_out)
    assert time.monotonic() - left_at < 2


def bearer(token: str) -> Metadata:
    return [("authorization", f"Bearer {token}")]


async def found_corp(tieline: Tieline, administrator: SignedIn) -> tuple[str, SignedIn]:
    created = await administrator.identity.CreateCorp(
        identity_service_pb2.CreateCorpRequest(
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


async def add_people(partner: SignedIn) -> None:
    """Give the corp two departments with one member each."""

    async def has_departments() -> bool:
        try:
            for department_id in (SHARED_DEPARTMENT, OTHER_DEPARTMENT):
                await partner.departments.CreateDepartment(
                    department_service_pb2.CreateDepartmentRequest(
                        department=directory_pb2.Department(
                            name=f"Department {department_id}",
                            parent_department_id=1,
                            department_id=department_id,
                        )
                    )
                )
        except TielineError as error:
            if error.reason != "CORP_NOT_READY":
                raise
            return False
        return True

    await eventually(has_departments)
    for user_id, mobile, department_id in (
        ("shared.one", "13800000001", SHARED_DEPARTMENT),
        ("other.one", "13800000002", OTHER_DEPARTMENT),
    ):
        await partner.members.CreateMember(
            member_service_pb2.CreateMemberRequest(
                member=directory_pb2.Member(
                    user_id=user_id,
                    name=user_id,
                    mobile=mobile,
                    email=f"{user_id}@example.com",
                    departments=[directory_pb2.MemberDepartment(department_id=department_id)],
                )
            )
        )


async def link_corps(owner: SignedIn, partner: SignedIn, partner_corp_id: str) -> str:
    """Link the corps; the partner shares one department with mobile numbers."""
    invited = await owner.corp_links.InviteCorpLink(
        corp_link_service_pb2.InviteCorpLinkRequest(invited_corp_id=partner_corp_id, kind=GROUP)
    )
    await partner.corp_links.AcceptCorpLink(
        corp_link_service_pb2.AcceptCorpLinkRequest(
            link_id=invited.link.link_id,
            share=corp_link_pb2.CorpLinkShare(
                scope=corp_link_pb2.CORP_LINK_SHARE_SCOPE_DEPARTMENTS,
                department_ids=[SHARED_DEPARTMENT],
                mobile_shared=True,
            ),
        )
    )
    return invited.link.link_id
