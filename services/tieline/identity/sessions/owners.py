"""Whose sessions somebody may see and end. Pure."""

from dataclasses import dataclass

from tieline.chassis.authorization import Resource, Right, authorize, require
from tieline.chassis.errors import NotFoundError
from tieline.chassis.fields import check_user_id, raise_violations
from tieline.chassis.principals import CORP_KINDS, Principal, PrincipalKind


@dataclass(frozen=True, slots=True)
class SessionOwner:
    """A party with sessions."""

    corp_id: str
    """Empty for customers and platform administrators."""

    kind: PrincipalKind
    principal_id: str


def find_session_corp(caller: Principal, corp_id: str) -> str:
    """Return the corp that the caller's request means: the own one, empty for who has none."""
    if caller.kind in CORP_KINDS:
        return caller.require_corp(corp_id)
    if corp_id:
        raise NotFoundError("CORP_NOT_FOUND", "no such corp")
    return ""


def find_session_owner(
    caller: Principal, corp_id: str, user_id: str, *, keep_current: bool = False
) -> SessionOwner:
    """Return whose sessions the caller's request means, or refuse it.

    Another member's need RIGHT_MANAGE_SIGN_IN for the whole corp: which departments a member is in
    is not identity's to know.
    """
    corp_id = find_session_corp(caller, corp_id)
    user_id = user_id.lower()
    if user_id in ("", caller.id):
        return SessionOwner(corp_id, caller.kind, caller.id)
    violations: dict[str, str] = {}
    if caller.kind is not PrincipalKind.MEMBER:
        violations["user_id"] = "must be empty"
    else:
        check_user_id(user_id, "user_id", violations)
    if keep_current:
        violations["keep_current"] = "must be false for another member"
    raise_violations(violations)
    require(caller, Right.MANAGE_SIGN_IN, Resource(corp_id))
    return SessionOwner(corp_id, PrincipalKind.MEMBER, user_id)


def may_end_session(caller: Principal, owner: SessionOwner) -> bool:
    """Tell whether the caller may end a session of this owner."""
    if (owner.corp_id, owner.kind, owner.principal_id) == (caller.corp_id, caller.kind, caller.id):
        return True
    # Of the parties that belong to no corp, none may end another's.
    return (
        owner.kind is PrincipalKind.MEMBER
        and authorize(caller, Right.MANAGE_SIGN_IN, Resource(owner.corp_id)).is_allowed
    )
