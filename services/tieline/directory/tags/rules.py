"""The rules of tags: what they may be called, and who may change them. Pure."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from tieline.chassis.errors import InvalidArgumentError, NotFoundError, PermissionDeniedError
from tieline.chassis.fields import check_text
from tieline.chassis.principals import Principal, PrincipalKind

# The open API's.
MAX_TAGS = 3000
MAX_NODES = 30_000
MAX_NAME_CHARACTERS = 32
MAX_TAG_ID = 2**31 - 1
MAX_USER_IDS = 1000
MAX_DEPARTMENT_IDS = 100


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag of a corp."""

    tag_id: int
    name: str
    app_id: str
    """The app that made it; empty for an administrator's."""

    change_number: int
    create_time: dt.datetime


def read_name(name: str, violations: dict[str, str]) -> str:
    """Return a tag's name without spaces around it."""
    name = name.strip()
    check_text(name, "tag.name", violations, minimum=1, maximum=MAX_NAME_CHARACTERS)
    return name


def check_new_id(tag_id: int, violations: dict[str, str]) -> None:
    """Refuse what can't be a tag's id; 0 has one made."""
    if not 0 <= tag_id <= MAX_TAG_ID:
        violations["tag.tag_id"] = f"must be 1 to {MAX_TAG_ID}, or 0 to have one made"


def check_nodes(user_ids: Sequence[str], department_ids: Sequence[int]) -> None:
    """Refuse a request that names nothing, or too much; what it names may be anything."""
    violations = {}
    if len(user_ids) > MAX_USER_IDS:
        violations["user_ids"] = f"must be at most {MAX_USER_IDS}"
    if len(department_ids) > MAX_DEPARTMENT_IDS:
        violations["department_ids"] = f"must be at most {MAX_DEPARTMENT_IDS}"
    if not user_ids and not department_ids:
        violations["user_ids"] = "must name a member, where department_ids names no department"
    if violations:
        raise InvalidArgumentError(violations)


def check_may_change(tag: Tag, principal: Principal) -> None:
    """Refuse whoever is not the app that made the tag, if one did."""
    is_maker = principal.kind is PrincipalKind.APP and principal.id == tag.app_id
    if tag.app_id and not is_maker:
        raise PermissionDeniedError(
            "TAG_OF_OTHER_APP",
            "the app that made the tag alone may change it",
            {"tagId": str(tag.tag_id)},
        )


def maker_of(principal: Principal) -> str:
    """Return the ``app_id`` of a tag that the principal makes."""
    return principal.id if principal.kind is PrincipalKind.APP else ""


def tag_not_found_error(tag_id: int) -> NotFoundError:
    """Return the error of a tag that the corp does not have."""
    return NotFoundError("TAG_NOT_FOUND", "the corp has no such tag", {"tagId": str(tag_id)})
