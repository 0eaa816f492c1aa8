"""The rules of invitations: who may be invited, codes that are derived and never stored. Pure.

A code is the HMAC of what made it: the request, its sender, the corp and the member. A repeat of
the request gives the same code, although only the code's SHA-256 is kept.
"""

import base64
import datetime as dt
import hashlib
import hmac
import textwrap
import uuid
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from tieline.chassis.authorization import Resource, Right, authorize
from tieline.chassis.errors import NotFoundError, PermissionDeniedError
from tieline.chassis.fields import check_user_id, raise_violations
from tieline.chassis.principals import OWNER_ROLE, Principal, PrincipalKind

LIFETIME = dt.timedelta(days=7)
MAX_INVITATIONS_PER_REQUEST = 1000

# 128 bits in 26 characters of base32: can't be guessed, can be read out over a telephone.
_CODE_BYTES = 16

# What an audit entry holds: a few of its 20 details are left to who writes it down.
_MAX_DETAIL_LENGTH = 256
_MAX_LISTS = 16

# Longest that is looked at; a typed code may have blanks and hyphens in it.
_MAX_TYPED_CODE_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Inviter:
    """Who made an invitation."""

    kind: PrincipalKind
    id: str


@dataclass(frozen=True, slots=True)
class Invitation:
    """A member's way in; the code is not in it."""

    code_hash: bytes
    expire_time: dt.datetime
    use_time: dt.datetime | None
    inviter: Inviter | None = None
    """None for one that was made before this was kept."""


class InvitationCodes:
    """Derives codes."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def derive(self, request_id: str, principal_id: str, corp_id: str, user_id: str) -> str:
        """Return the code that this request of this sender makes for this member.

        ``request_id`` is a UUID, however it is written. NUL is in none of the parts, so no two
        different requests run into one text.
        """
        parts = (str(uuid.UUID(request_id)), principal_id, corp_id, user_id)
        digest = hmac.digest(self._key, "\0".join(parts).encode(), "sha256")
        return base64.b32encode(digest[:_CODE_BYTES]).decode().rstrip("=")


def hash_code(code: str) -> bytes:
    """Return what is stored of a code and compared with one that was typed in."""
    typed = code[:_MAX_TYPED_CODE_LENGTH].upper()
    return hashlib.sha256("".join(c for c in typed if c not in " -").encode()).digest()


def opens(invitation: Invitation, code: str, now: dt.datetime) -> bool:
    """Return whether this is the invitation's code, and not too late; it may have been used."""
    return (
        hmac.compare_digest(invitation.code_hash, hash_code(code)) and now < invitation.expire_time
    )


def check_user_ids(user_ids: Sequence[str]) -> None:
    """Refuse a list with no, too many, malformed or repeated members."""
    violations: dict[str, str] = {}
    if not 1 <= len(user_ids) <= MAX_INVITATIONS_PER_REQUEST:
        violations["user_ids"] = f"must name 1 to {MAX_INVITATIONS_PER_REQUEST} members"
        raise_violations(violations)
    seen: set[str] = set()
    for index, user_id in enumerate(user_ids):
        field = f"user_ids[{index}]"
        check_user_id(user_id, field, violations)
        if user_id.lower() in seen:
            violations[field] = "must not be there twice"
        seen.add(user_id.lower())
    raise_violations(violations)


def check_may_invite(
    inviter: Principal, user_ids: Sequence[str], in_charge: AbstractSet[str], method: str
) -> None:
    """Let only the owner invite those in charge, the owner among them.

    Whoever has the code has the account, and with it what the account may do.
    """
    if OWNER_ROLE not in inviter.roles and not in_charge.isdisjoint(user_ids):
        raise PermissionDeniedError(
            "CALLER_NOT_ALLOWED",
            "only the owner may invite the owner, administrators and auditors",
            {"method": method},
        )


def may_still_invite(inviter: Principal, corp_id: str, *, is_in_charge: bool) -> bool:
    """Tell whether an invitation is good when it is used: its maker could make it now.

    Otherwise a code would outlive the right to give it out, or open an account that has come to be
    worth more than the code was. ``is_in_charge`` says whether the invited member is by now.
    """
    if inviter.kind is PrincipalKind.PLATFORM_ADMINISTRATOR:
        return True
    if not authorize(inviter, Right.MANAGE_SIGN_IN, Resource(corp_id)).is_allowed:
        return False
    return OWNER_ROLE in inviter.roles or not is_in_charge


def check_nobody_missing(missing_user_ids: Sequence[str]) -> None:
    """Refuse to invite anybody where somebody is not in the directory."""
    if missing_user_ids:
        raise NotFoundError(
            "USER_NOT_FOUND",
            "no such member in the directory",
            {"userId": missing_user_ids[0]},
        )


def describe_invited(user_ids: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
    """Return what the audit log says of those invited: resources with details.

    One member is a resource. Many share entries, in which each detail lists as many as fit: one
    entry each would keep the log busy for minutes when a whole staff is invited.
    """
    if len(user_ids) == 1:
        return [(f"members/{user_ids[0]}", {})]
    lists = textwrap.wrap(
        " ".join(user_ids), _MAX_DETAIL_LENGTH, break_long_words=False, break_on_hyphens=False
    )
    return [
        (
            "members",
            {f"user_ids_{number}": text for number, text in enumerate(lists[at : at + _MAX_LISTS])},
        )
        for at in range(0, len(lists), _MAX_LISTS)
    ]
