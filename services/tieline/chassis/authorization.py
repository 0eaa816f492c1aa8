"""Who may do what to which resource: the one function that decides it. Pure.

A method declares the right that its callers need (``tieline.api.common.v1.access``), and the
interceptor refuses whoever holds it nowhere. Where a resource lies in departments, the service asks
again with the resource, since only it knows where that is.

    owner           every right of the corp, everywhere in it
    administrator   the rights that were granted, in the granted departments and below them
    auditor         the rights that change nothing, everywhere in the corp
    member          READ_DIRECTORY, within what the directory lets the member see
    app             the rights that were granted; its visible range is the directory's to apply
    linked app      READ_DIRECTORY in the corp that lets it in; what that shares is the directory's
                    to apply
    platform administrator   REVIEW_CORPS alone: who runs the deployment has no business in a corp
    customer        none
"""

from dataclasses import dataclass
from enum import StrEnum

from tieline.chassis.errors import NotFoundError, PermissionDeniedError
from tieline.chassis.principals import (
    ADMINISTRATOR_ROLE,
    AUDITOR_ROLE,
    CORP_KINDS,
    OWNER_ROLE,
    Principal,
    PrincipalKind,
)


class Right(StrEnum):
    """What somebody may be trusted with; the values stand in tokens and tables.

    The same names as in ``tieline.api.common.v1.Right``, where each is explained.
    """

    REVIEW_CORPS = "review_corps"
    MANAGE_CORP = "manage_corp"
    MANAGE_ROLES = "manage_roles"
    MANAGE_APPS = "manage_apps"
    MANAGE_SIGN_IN = "manage_sign_in"
    READ_AUDIT_LOG = "read_audit_log"
    READ_DIRECTORY = "read_directory"
    MANAGE_DIRECTORY = "manage_directory"
    MANAGE_VISIBILITY = "manage_visibility"
    MANAGE_SCHOOL = "manage_school"
    MANAGE_COMPLIANCE = "manage_compliance"
    READ_COMPLIANCE = "read_compliance"
    SEND_APP_MESSAGES = "send_app_messages"
    READ_CONTACT_DETAILS = "read_contact_details"


CORP_RIGHTS = frozenset(Right) - {Right.REVIEW_CORPS}
"""Those that somebody of a corp can hold."""

READING_RIGHTS = frozenset(
    {
        Right.READ_AUDIT_LOG,
        Right.READ_DIRECTORY,
        Right.READ_COMPLIANCE,
        Right.READ_CONTACT_DETAILS,
    }
)
"""Those that change nothing: an auditor's."""

LINKED_APP_RIGHTS = frozenset({Right.READ_DIRECTORY, Right.READ_CONTACT_DETAILS})
"""Those that an app keeps in a linked corp, of what it was granted in its own."""

GRANTABLE_RIGHTS = CORP_RIGHTS - {Right.MANAGE_ROLES}
"""Those that an administrator or an app can be given: who gives rights away is the owner."""


@dataclass(frozen=True, slots=True)
class Resource:
    """What somebody wants to do something to."""

    corp_id: str
    """Empty for what belongs to no corp."""

    department_ids: frozenset[int] | None = None
    """The departments that it lies in, with all those above them; None for what belongs to the
    corp as a whole."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether, and why not."""

    is_allowed: bool
    reason: str = ""
    """``CORP_NOT_FOUND``, ``CALLER_NOT_ALLOWED`` or ``OUT_OF_RANGE``; empty if allowed."""


ALLOWED = Decision(True)
_OTHER_CORP = Decision(False, "CORP_NOT_FOUND")
_RIGHT_MISSING = Decision(False, "CALLER_NOT_ALLOWED")
_OUT_OF_RANGE = Decision(False, "OUT_OF_RANGE")


def authorize(principal: Principal, right: Right, resource: Resource) -> Decision:
    """Decide whether the principal may exercise the right on the resource."""
    if principal.kind in CORP_KINDS and resource.corp_id != principal.corp_id:
        return _OTHER_CORP
    if not holds(principal, right):
        return _RIGHT_MISSING
    if is_limited(principal, right) and (
        resource.department_ids is None
        or principal.department_ids.isdisjoint(resource.department_ids)
    ):
        return _OUT_OF_RANGE
    return ALLOWED


def holds(principal: Principal, right: Right) -> bool:
    """Tell whether the principal has the right anywhere at all."""
    match principal.kind:
        case PrincipalKind.PLATFORM_ADMINISTRATOR:
            return right is Right.REVIEW_CORPS
        case PrincipalKind.APP:
            return right in GRANTABLE_RIGHTS and right in principal.rights
        case PrincipalKind.LINKED_APP:
            return right in LINKED_APP_RIGHTS and right in principal.rights
        case PrincipalKind.MEMBER:
            return right in CORP_RIGHTS and _member_holds(principal, right)
        case PrincipalKind.CUSTOMER:
            return False


def is_limited(principal: Principal, right: Right) -> bool:
    """Tell whether the principal has the right in some departments only, of those who hold it.

    Reading the directory is every member's, so that an administrator's range does not narrow it.
    """
    return (
        bool(principal.department_ids)
        and right is not Right.READ_DIRECTORY
        and OWNER_ROLE not in principal.roles
        and not (AUDITOR_ROLE in principal.roles and right in READING_RIGHTS)
    )


def require(principal: Principal, right: Right, resource: Resource) -> None:
    """Raise NotFoundError for another corp's resource, PermissionDeniedError without the right."""
    decision = authorize(principal, right, resource)
    if decision.is_allowed:
        return
    if decision.reason == _OTHER_CORP.reason:
        raise NotFoundError(decision.reason, "no such corp", {"corpId": resource.corp_id})
    raise PermissionDeniedError(
        decision.reason, f"this needs the right {right.name} there", {"right": right.name}
    )


def _member_holds(principal: Principal, right: Right) -> bool:
    roles = principal.roles
    return (
        right is Right.READ_DIRECTORY
        or OWNER_ROLE in roles
        or (ADMINISTRATOR_ROLE in roles and right in GRANTABLE_RIGHTS and right in principal.rights)
        or (AUDITOR_ROLE in roles and right in READING_RIGHTS)
    )
