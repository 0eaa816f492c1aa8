"""What auditors read beside whoever administers it. Pure."""

from tieline.chassis.authorization import Resource, Right, require
from tieline.chassis.principals import AUDITOR_ROLE, Principal, PrincipalKind


def require_reading(principal: Principal, right: Right, corp_id: str) -> str:
    """Return the corp of the request if the caller may read there what the right manages.

    For plain reads without anything secret in them.
    """
    corp_id = principal.require_corp(corp_id)
    is_auditor = principal.kind is PrincipalKind.MEMBER and AUDITOR_ROLE in principal.roles
    if not is_auditor:
        require(principal, right, Resource(corp_id))
    return corp_id
