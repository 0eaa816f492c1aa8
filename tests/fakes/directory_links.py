"""A link of two corps as the directory's tests use it: told by events, as identity would."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from nats.aio.client import Client

from calls import call
from fakes.directory_corps import Corp, publish_event
from fakes.eventually import eventually
from tieline.api.directory.v1 import linked_corp_service_pb2, linked_corp_service_pb2_grpc
from tieline.api.identity.v1 import corp_link_pb2, identity_pb2
from tieline.chassis.ids import new_uuid7

Stub = linked_corp_service_pb2_grpc.LinkedCorpServiceStub
ACTIVE = corp_link_pb2.CORP_LINK_STATE_ACTIVE
LEFT = corp_link_pb2.CORP_LINK_STATE_LEFT
CORP_LINK_CHANGED = "tieline.identity.v1.corp_link_changed"

WHOLE = corp_link_pb2.CorpLinkShare(scope=corp_link_pb2.CORP_LINK_SHARE_SCOPE_WHOLE_DIRECTORY)
NOTHING = corp_link_pb2.CorpLinkShare(scope=corp_link_pb2.CORP_LINK_SHARE_SCOPE_NOTHING)


def departments(*ids: int, mobile: bool = False, email: bool = False) -> Any:
    return corp_link_pb2.CorpLinkShare(
        scope=corp_link_pb2.CORP_LINK_SHARE_SCOPE_DEPARTMENTS,
        department_ids=ids,
        mobile_shared=mobile,
        email_shared=email,
    )


@dataclass
class Link:
    """A link of two corps, told to the directory by events as identity would."""

    stub: Stub
    broker: Client
    upper: Corp
    lower: Corp
    link_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    change_number: int = 0

    @property
    def token(self) -> str:
        """Of a member of the lower corp, who looks at the upper one."""
        return self.lower.tokens.member(self.lower.corp_id, "reader")

    async def publish(
        self,
        share: corp_link_pb2.CorpLinkShare,
        state: corp_link_pb2.CorpLinkState.ValueType = ACTIVE,
        *,
        change_number: int = 0,
    ) -> None:
        """Tell what the upper corp shares; the lower one shares nothing."""
        self.change_number += 1
        profiles = [identity_pb2.CorpProfile(corp_id=each.corp_id) for each in self.corps]
        event = corp_link_pb2.CorpLinkChanged(
            event_id=new_uuid7(),
            link=corp_link_pb2.CorpLink(
                link_id=self.link_id,
                kind=corp_link_pb2.CORP_LINK_KIND_GROUP,
                state=state,
                upper=corp_link_pb2.CorpLinkSide(corp=profiles[0], share=share),
                lower=corp_link_pb2.CorpLinkSide(corp=profiles[1], share=NOTHING),
            ),
            change_number=change_number or self.change_number,
        )
        await publish_event(self.broker, CORP_LINK_CHANGED, self.upper.corp_id, event)

    @property
    def corps(self) -> tuple[Corp, Corp]:
        return self.upper, self.lower

    async def list_links(self, corp: Corp) -> list[linked_corp_service_pb2.LinkedCorp]:
        response = await call(
            self.stub.ListLinkedCorps,
            linked_corp_service_pb2.ListLinkedCorpsRequest(),
            corp.tokens.member(corp.corp_id, "reader"),
        )
        return list(response.linked_corps)

    async def has_share(self, share: corp_link_pb2.CorpLinkShare) -> bool:
        return await self.find_share() == share

    async def find_share(self) -> corp_link_pb2.CorpLinkShare | None:
        """Return what the lower corp is told that the upper one shares."""
        links = await self.list_links(self.lower)
        return next((link.share for link in links if link.link_id == self.link_id), None)

    async def share(
        self, share: corp_link_pb2.CorpLinkShare, shown_ids: Sequence[int] | None = None
    ) -> None:
        """Have the upper corp share this; return when the directory knows.

        ``shown_ids`` are the departments of the share that the upper corp hides from nobody; None
        for all.
        """
        await self.publish(share)
        told = corp_link_pb2.CorpLinkShare()
        told.CopyFrom(share)
        if shown_ids is not None:
            told.department_ids[:] = shown_ids
        await eventually(lambda: self.has_share(told))

    async def list_members(
        self, department_id: int = 0
    ) -> list[linked_corp_service_pb2.LinkedMember]:
        request = linked_corp_service_pb2.ListLinkedMembersRequest(
            link_id=self.link_id, department_id=department_id
        )
        response = await call(self.stub.ListLinkedMembers, request, self.token)
        return list(response.members)

    async def list_departments(self) -> dict[int, int]:
        """Return the parents of the shared departments."""
        request = linked_corp_service_pb2.ListLinkedDepartmentsRequest(link_id=self.link_id)
        response = await call(self.stub.ListLinkedDepartments, request, self.token)
        return {each.department_id: each.parent_department_id for each in response.departments}
