"""Linked corps between protobuf and the rules; what identity tells of a link, side by side."""

from collections.abc import Iterator

from tieline.api.directory.v1 import linked_corp_service_pb2
from tieline.api.identity.v1 import corp_link_pb2
from tieline.directory.linked_corps.rules import (
    LinkedCorp,
    LinkedDepartment,
    LinkedMember,
    Share,
    ShareScope,
)

_KIND_PREFIX = "CORP_LINK_KIND_"

_SCOPES = {
    corp_link_pb2.CORP_LINK_SHARE_SCOPE_DEPARTMENTS: ShareScope.DEPARTMENTS,
    corp_link_pb2.CORP_LINK_SHARE_SCOPE_WHOLE_DIRECTORY: ShareScope.WHOLE_DIRECTORY,
}

_SCOPE_VALUES = {
    ShareScope.NOTHING: corp_link_pb2.CORP_LINK_SHARE_SCOPE_NOTHING,
    **{scope: value for value, scope in _SCOPES.items()},
}


def read_sides(event: corp_link_pb2.CorpLinkChanged) -> Iterator[tuple[str, LinkedCorp]]:
    """Yield each of the two corps with the link as that one sees it."""
    link = event.link
    for own, other, is_upper in ((link.upper, link.lower, False), (link.lower, link.upper, True)):
        yield (
            own.corp.corp_id,
            LinkedCorp(
                link_id=link.link_id,
                linked_corp_id=other.corp.corp_id,
                kind=corp_link_pb2.CorpLinkKind.Name(link.kind).removeprefix(_KIND_PREFIX).lower(),
                is_active=link.state == corp_link_pb2.CORP_LINK_STATE_ACTIVE,
                is_upper=is_upper,
                share=_read_share(other.share),
                link_change_number=event.change_number,
            ),
        )


def _read_share(share: corp_link_pb2.CorpLinkShare) -> Share:
    # A scope that a later identity knows shares nothing here.
    return Share(
        _SCOPES.get(share.scope, ShareScope.NOTHING),
        frozenset(share.department_ids),
        share.mobile_shared,
        share.email_shared,
    )


def to_linked_corp(link: LinkedCorp) -> linked_corp_service_pb2.LinkedCorp:
    """Return a link as the API shows it."""
    return linked_corp_service_pb2.LinkedCorp(
        link_id=link.link_id,
        linked_corp_id=link.linked_corp_id,
        kind=corp_link_pb2.CorpLinkKind.Value(_KIND_PREFIX + link.kind.upper()),
        upper=link.is_upper,
        share=corp_link_pb2.CorpLinkShare(
            scope=_SCOPE_VALUES[link.share.scope],
            department_ids=sorted(link.share.department_ids),
            mobile_shared=link.share.is_mobile_shared,
            email_shared=link.share.is_email_shared,
        ),
    )


def to_linked_department(
    department: LinkedDepartment,
) -> linked_corp_service_pb2.LinkedDepartment:
    """Return a department as the API shows it."""
    return linked_corp_service_pb2.LinkedDepartment(
        department_id=department.department_id,
        parent_department_id=department.parent_department_id,
        name=department.name,
        order=department.order,
    )


def to_linked_member(member: LinkedMember) -> linked_corp_service_pb2.LinkedMember:
    """Return a member as the API shows it."""
    return linked_corp_service_pb2.LinkedMember(
        user_id=member.user_id,
        name=member.name,
        alias=member.alias,
        position=member.position,
        avatar_media_id=member.avatar_media_id,
        mobile=member.mobile,
        email=member.email,
        department_ids=member.department_ids,
    )
