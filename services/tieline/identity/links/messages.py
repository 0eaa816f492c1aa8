"""Links between the wire and the rules. Pure."""

from tieline.api.identity.v1 import corp_link_pb2
from tieline.chassis.errors import InvalidArgumentError
from tieline.identity.corps.messages import optional_timestamp, to_profile
from tieline.identity.corps.rules import Corp
from tieline.identity.links.rules import (
    CorpLink,
    CorpLinkKind,
    CorpLinkState,
    Share,
    ShareScope,
    check_share,
)

LINK_KINDS = {
    corp_link_pb2.CORP_LINK_KIND_GROUP: CorpLinkKind.GROUP,
    corp_link_pb2.CORP_LINK_KIND_UPSTREAM_DOWNSTREAM: CorpLinkKind.UPSTREAM_DOWNSTREAM,
    corp_link_pb2.CORP_LINK_KIND_BUREAU_SCHOOL: CorpLinkKind.BUREAU_SCHOOL,
}
LINK_STATES = {
    corp_link_pb2.CORP_LINK_STATE_INVITED: CorpLinkState.INVITED,
    corp_link_pb2.CORP_LINK_STATE_ACTIVE: CorpLinkState.ACTIVE,
    corp_link_pb2.CORP_LINK_STATE_DECLINED: CorpLinkState.DECLINED,
    corp_link_pb2.CORP_LINK_STATE_LEFT: CorpLinkState.LEFT,
}
_SCOPES = {
    corp_link_pb2.CORP_LINK_SHARE_SCOPE_UNSPECIFIED: ShareScope.NOTHING,
    corp_link_pb2.CORP_LINK_SHARE_SCOPE_NOTHING: ShareScope.NOTHING,
    corp_link_pb2.CORP_LINK_SHARE_SCOPE_DEPARTMENTS: ShareScope.DEPARTMENTS,
    corp_link_pb2.CORP_LINK_SHARE_SCOPE_WHOLE_DIRECTORY: ShareScope.WHOLE_DIRECTORY,
}
_PROTO_KINDS = {kind: number for number, kind in LINK_KINDS.items()}
_PROTO_STATES = {state: number for number, state in LINK_STATES.items()}
_PROTO_SCOPES = {scope: number for number, scope in _SCOPES.items()}


def read_share(message: corp_link_pb2.CorpLinkShare) -> Share:
    """Return what a request wants to share, or refuse it."""
    scope = _SCOPES.get(message.scope)
    if scope is None:
        raise InvalidArgumentError({"share.scope": "must be one of the scopes"})
    share = Share(scope, tuple(message.department_ids), message.mobile_shared, message.email_shared)
    check_share(share)
    return share


def to_link(link: CorpLink, upper: Corp, lower: Corp) -> corp_link_pb2.CorpLink:
    """Return the link as both sides and the other services see it."""
    return corp_link_pb2.CorpLink(
        link_id=link.link_id,
        kind=_PROTO_KINDS[link.kind],
        state=_PROTO_STATES[link.state],
        upper=_to_side(upper, link.upper_share),
        lower=_to_side(lower, link.lower_share),
        create_time=optional_timestamp(link.create_time),
        update_time=optional_timestamp(link.update_time),
        etag=str(link.change_number),
    )


def _to_side(corp: Corp, share: Share) -> corp_link_pb2.CorpLinkSide:
    return corp_link_pb2.CorpLinkSide(
        corp=to_profile(corp),
        share=corp_link_pb2.CorpLinkShare(
            scope=_PROTO_SCOPES[share.scope],
            department_ids=share.department_ids,
            mobile_shared=share.mobile,
            email_shared=share.email,
        ),
    )
