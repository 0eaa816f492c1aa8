"""The rules of members: their fields, and how they are compared. Pure.

User ids are unique ignoring case; the lower-case form stands in tokens, tables and answers.
"""

import datetime as dt
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from tieline.chassis.errors import FailedPreconditionError, NotFoundError
from tieline.directory.departments.rules import ROOT_DEPARTMENT_ID

MAX_NAME_CHARACTERS = 64
MAX_POSITION_CHARACTERS = 128
MAX_QUERY_CHARACTERS = 64

MOBILE_PATTERN = re.compile(r"(?=.{5,20}\Z)\+?[0-9]+")
MOBILE_RULE = "must be 5 to 20 characters: digits, with or without a leading +"

# Addresses beyond ASCII would need a rule of their own for what differs by case alone.
EMAIL_PATTERN = re.compile(r"(?=.{6,64}\Z)[!-?A-~]+@[0-9A-Za-z.-]+", re.ASCII)
EMAIL_RULE = "must be an e-mail address of 6 to 64 bytes"

# Of a member that is not stored yet: the database's clock gives the times.
NEVER = dt.datetime.min.replace(tzinfo=dt.UTC)


MEDIA_ID_PATTERN = re.compile(r"[0-9A-Za-z_-]{0,128}")
MEDIA_ID_RULE = "must be 0 to 128 of 0-9 A-Z a-z _ -"


class MemberState(StrEnum):
    """Where a member stands; the values stand in tables."""

    INVITED = "invited"
    ACTIVE = "active"
    DISABLED = "disabled"
    LEFT = "left"


LISTED_STATES = frozenset(MemberState) - {MemberState.LEFT}
"""Those of everybody who is of the corp."""

PRESENT_STATES = frozenset({MemberState.INVITED, MemberState.ACTIVE})
"""Those of whom other services may count on."""


class MemberDepartment(NamedTuple):
    """A department that a member is in."""

    department_id: int
    order: int = 0
    is_leader: bool = False


@dataclass(frozen=True, slots=True)
class Member:
    """One person of a corp."""

    user_id: str
    name: str = ""
    department_id: int = 0
    """The main department."""

    position: str = ""
    mobile: str = ""
    email: str = ""
    alias: str = ""
    gender: str = "unknown"
    telephone: str = ""
    biz_email: str = ""
    address: str = ""
    avatar_media_id: str = ""
    direct_leader: str = ""
    external_position: str = ""
    external_profile: bytes = b""
    """A serialized ExternalProfile."""

    extended_attributes: str = "{}"
    """JSON: values by the names of the corp's attributes."""

    state: MemberState = MemberState.INVITED
    change_number: int = 0
    create_time: dt.datetime = NEVER
    update_time: dt.datetime = NEVER
    activate_time: dt.datetime | None = None
    leave_time: dt.datetime | None = None
    departments: tuple[MemberDepartment, ...] = ()
    """The main one first; empty for a member who left."""


MAIN_DEPARTMENT_RULE = "must be one of the member's departments"


def plan_departments(
    given: tuple[MemberDepartment, ...], department_id: int
) -> tuple[int, tuple[MemberDepartment, ...]]:
    """Return a member's main department and all departments, the main one first.

    Without a main department it is the first; without departments it is the only one, and without
    both the root. ValueError where the main one is not among the others.
    """
    if not given:
        given = (MemberDepartment(department_id or ROOT_DEPARTMENT_ID),)
    main_id = department_id or given[0].department_id
    ordered = sorted(given, key=lambda at: (at.department_id != main_id, at.department_id))
    if ordered[0].department_id != main_id:
        raise ValueError(MAIN_DEPARTMENT_RULE)
    return main_id, tuple(ordered)


def state_when_enabled(activate_time: dt.datetime | None) -> MemberState:
    """Return the state of somebody who is no longer disabled."""
    return MemberState.INVITED if activate_time is None else MemberState.ACTIVE


def user_not_found_error(user_id: str) -> NotFoundError:
    """Return the error of a user id that no member has."""
    return NotFoundError("USER_NOT_FOUND", "no such member", {"userId": user_id})


def member_left_error(user_id: str) -> FailedPreconditionError:
    """Return the error of a change to somebody who left."""
    return FailedPreconditionError(
        "MEMBER_LEFT", "the member left: CreateMember brings back", {"userId": user_id}
    )


class SearchPosition(NamedTuple):
    """Where a member stands among a search's results."""

    closeness: int
    """0 where a field begins with the query, 1 a later part of one, 2 where one holds it, 3 where
    the path of a department does."""

    key: str
    """What the order is by among those who are as close."""

    user_id: str


BEFORE_ALL_RESULTS = SearchPosition(-1, "", "")


def member_key(user_id: str) -> str:
    """Return the form of a user id by which a member is stored and found."""
    # Some letters outside of ASCII have ASCII ones as their lower case; no user id has them.
    return user_id.lower() if user_id.isascii() else user_id


def fold(text: str) -> str:
    """Return what a name or a query is compared by, so that case makes no difference.

    Done here and not by the database, whose folding depends on how its cluster was made.
    """
    return text.casefold()
