"""What a corp sees of the directory of a corp that it is linked with. Pure.

The other side says how much that is: some departments with all below them, or everything, with or
without numbers and addresses. Of a member only the departments within that are told.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from tieline.chassis.errors import FailedPreconditionError, NotFoundError
from tieline.directory.visibility.decision import CONTACT_FIELDS

HIDEABLE_FIELDS = frozenset({"alias", "position", "mobile", "email"})
"""Of those that a linked member has, what a corp's own rules can hide."""

_CONTACT_FIELDS = CONTACT_FIELDS & {"mobile", "email", "avatar_media_id"}


class ShareScope(StrEnum):
    """How much of a directory is shared; the values stand in the table."""

    NOTHING = "nothing"
    DEPARTMENTS = "departments"
    WHOLE_DIRECTORY = "whole_directory"


@dataclass(frozen=True, slots=True)
class Share:
    """What the linked corp lets the other one see."""

    scope: ShareScope = ShareScope.NOTHING
    department_ids: frozenset[int] = frozenset()
    """With all below them; only of the scope DEPARTMENTS."""

    is_mobile_shared: bool = False
    is_email_shared: bool = False

    def covers(self, ancestor_ids: frozenset[int]) -> bool:
        """Tell whether a department is shared, given its way from the root down to itself."""
        match self.scope:
            case ShareScope.WHOLE_DIRECTORY:
                return True
            case ShareScope.DEPARTMENTS:
                return not self.department_ids.isdisjoint(ancestor_ids)
            case ShareScope.NOTHING:
                return False


@dataclass(frozen=True, slots=True)
class LinkedCorp:
    """A link as one of its sides sees it."""

    link_id: str
    linked_corp_id: str
    kind: str
    is_active: bool
    is_upper: bool
    """Whether the linked corp is the upper of the two."""

    share: Share
    link_change_number: int
    """Of the change that it is from; larger ones are later."""


@dataclass(frozen=True, slots=True)
class LinkedDepartment:
    """A department of the linked corp."""

    department_id: int
    parent_department_id: int
    """0 for the root and where the one above is not shared."""

    name: str
    order: int


@dataclass(frozen=True, slots=True)
class LinkedMember:
    """A member of the linked corp."""

    user_id: str
    name: str
    alias: str
    position: str
    avatar_media_id: str
    mobile: str
    email: str
    department_ids: Sequence[int]
    """Those that are shared."""


def hide_fields(
    member: LinkedMember,
    share: Share,
    hidden_fields: Collection[str],
    *,
    gets_contact_details: bool,
) -> LinkedMember:
    """Return the member without what is not shared, and what the corp hides from everybody.

    What the link shares is for people. Of an app ``gets_contact_details`` says whether it has the
    right to read them, which takes nothing away from what the link asks.
    """
    shown = {"mobile": share.is_mobile_shared, "email": share.is_email_shared}
    hidden = HIDEABLE_FIELDS & set(hidden_fields) | {each for each in shown if not shown[each]}
    if not gets_contact_details:
        hidden |= _CONTACT_FIELDS
    changes: dict[str, Any] = dict.fromkeys(hidden, "")
    return replace(member, **changes)


def link_not_found_error(link_id: str) -> NotFoundError:
    """Return the error of a link that is over, not yet accepted, another's, or not there."""
    return NotFoundError("LINK_NOT_FOUND", "no such link", {"linkId": link_id})


def linked_corp_not_active_error(corp_id: str) -> FailedPreconditionError:
    """Return the error of a linked corp that is suspended or about to be deleted."""
    return FailedPreconditionError(
        "LINKED_CORP_NOT_ACTIVE", "the linked corp is not active", {"corpId": corp_id}
    )
