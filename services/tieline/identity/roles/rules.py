"""The rules of roles: what can be granted, and what a member's grants make of the member. Pure."""

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from tieline.chassis.authorization import GRANTABLE_RIGHTS, Right
from tieline.chassis.errors import FailedPreconditionError, NotFoundError, PermissionDeniedError
from tieline.chassis.fields import check_user_id, raise_violations
from tieline.chassis.principals import ADMINISTRATOR_ROLE, AUDITOR_ROLE, OWNER_ROLE, Principal
from tieline.identity.department_lists import check_department_ids

MAX_GRANTS_PER_CORP = 1000

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

RANGED_RIGHTS = frozenset({Right.READ_DIRECTORY, Right.MANAGE_DIRECTORY})
"""Those that departments can limit. What the others are about lies in no department, rules of who
sees whom and schools among it: with a range they could be exercised on nothing."""


class Role(StrEnum):
    """What a member can be appointed to; the values stand in tables and tokens."""

    ADMINISTRATOR = ADMINISTRATOR_ROLE
    AUDITOR = AUDITOR_ROLE


@dataclass(frozen=True, slots=True)
class Grant:
    """A role of a member."""

    user_id: str
    role: Role
    rights: frozenset[Right]
    department_ids: tuple[int, ...]
    """Empty for the whole corp."""

    granter_user_id: str = ""
    grant_time: dt.datetime | None = None
    """When it was granted as it is now; None for one that is still to be inserted."""

    @property
    def etag(self) -> str:
        """Changes with each grant; empty for one that is still to be inserted."""
        if self.grant_time is None:
            return ""
        return str((self.grant_time - _EPOCH) // dt.timedelta(microseconds=1))


def check_grant(
    user_id: str,
    role: Role | None,
    rights: Sequence[Right | None],
    department_ids: Sequence[int],
) -> None:
    """Refuse what can't be granted, with every field that is wrong.

    ``None`` stands for what the caller did not give or this code does not know.
    """
    violations: dict[str, str] = {}
    check_user_id(user_id, "grant.user_id", violations)
    if role is None:
        violations["grant.role"] = "must be one of the roles"
    elif role is Role.AUDITOR:
        for field, given in (("rights", rights), ("department_ids", department_ids)):
            if given:
                violations[f"grant.{field}"] = "must be empty: all auditors have the same"
    else:
        _check_rights(rights, bool(department_ids), violations)
        check_department_ids(department_ids, "grant.department_ids", violations)
    raise_violations(violations)


def check_not_owner(user_id: str, owner_user_id: str) -> None:
    """Refuse to grant anything to the owner, who has every right."""
    if user_id == owner_user_id:
        raise_violations({"grant.user_id": "must not be the owner, who has every right"})


def check_can_own(user_id: str, state: str | None) -> None:
    """Refuse an owner who could not sign in: nobody else could give the corp on.

    ``state`` is the account's, None where there is none.
    """
    if state is None or state == "left":
        raise NotFoundError(
            "USER_NOT_FOUND", "no such member who has signed in once", {"userId": user_id}
        )
    if state != "active":
        raise FailedPreconditionError(
            "USER_NOT_ACTIVE",
            "the member is disabled: enable the member in the directory, or name another one",
            {"userId": user_id, "state": state},
        )


def check_may_reset(caller: Principal, member: Principal, method: str) -> None:
    """Let only the owner end the second factor of those in charge, as with invitations.

    Who may also change a number or set a provider up would be that member with it gone.
    """
    if member.roles and OWNER_ROLE not in caller.roles:
        raise PermissionDeniedError(
            "CALLER_NOT_ALLOWED",
            "only the owner may reset the owner's, an administrator's or an auditor's",
            {"method": method},
        )


def check_grant_count(count: int) -> None:
    """Refuse one grant more than a corp may have."""
    if count >= MAX_GRANTS_PER_CORP:
        raise FailedPreconditionError(
            "ROLE_GRANTS_EXHAUSTED",
            f"a corp has {MAX_GRANTS_PER_CORP} administrators and auditors at most",
            {"limit": str(MAX_GRANTS_PER_CORP)},
        )


def with_grants(principal: Principal, grants: Iterable[Grant]) -> Principal:
    """Return the member with the roles, rights and range that were granted."""
    granted = list(grants)
    administrator = next((one for one in granted if one.role is Role.ADMINISTRATOR), None)
    return replace(
        principal,
        roles=principal.roles | {one.role.value for one in granted},
        rights=frozenset() if administrator is None else administrator.rights,
        department_ids=(
            frozenset() if administrator is None else frozenset(administrator.department_ids)
        ),
    )


def parse_rights(names: Iterable[str]) -> frozenset[Right]:
    """Return stored rights; one that a newer version granted means nothing to this one."""
    return frozenset(Right(name) for name in names if name in set(Right))


def role_grant_not_found_error(user_id: str) -> NotFoundError:
    """Return the error for a role that the member does not have."""
    return NotFoundError(
        "ROLE_GRANT_NOT_FOUND", "the member does not have this role", {"userId": user_id}
    )


def _check_rights(
    rights: Collection[Right | None], is_ranged: bool, violations: dict[str, str]
) -> None:
    if not rights:
        violations["grant.rights"] = "must name at least one right"
    seen: set[Right | None] = set()
    for index, right in enumerate(rights):
        field = f"grant.rights[{index}]"
        if right not in GRANTABLE_RIGHTS:
            violations[field] = "must be a right that can be granted"
        elif right in seen:
            violations[field] = "must not be there twice"
        elif is_ranged and right not in RANGED_RIGHTS:
            violations[field] = "must be granted for the whole corp, without department_ids"
        seen.add(right)
