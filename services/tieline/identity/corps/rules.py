"""The rules of corps. Pure: no clock, no database, no network."""

import datetime as dt
import re
from dataclasses import dataclass
from enum import StrEnum

from tieline.chassis.errors import NotFoundError
from tieline.chassis.fields import USER_ID_PATTERN, check_text, check_user_id, raise_violations

MEMBER_ROLE = "member"
"""Role of accounts that administer nothing; it stands in no token."""

MAX_NAME_LENGTH = 64
MAX_EVIDENCE_LENGTH = 1000

# What `ids.new_corp_id` makes. Anything else names no corp, and is never sent to the database.
_CORP_ID_PATTERN = re.compile(r"ww[0-9a-z]{24}")


class CorpState(StrEnum):
    """Whether a corp's people can sign in; the values stand in metadata of errors."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETING = "deleting"
    """Its deletion was asked for; until its ``purge_time`` that can be called off."""

    DELETED = "deleted"
    """Only its id is left. To callers it is not there."""


class CorpKind(StrEnum):
    """What sort of body a corp is; the values stand in tables and labels."""

    COMPANY = "company"
    SCHOOL = "school"
    HOSPITAL = "hospital"
    GOVERNMENT = "government"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class NewCorp:
    """A corp as it is asked for."""

    display_name: str
    kind: CorpKind | None
    """None for a kind that was not given or is not known."""

    owner_user_id: str
    owner_name: str


@dataclass(frozen=True, slots=True)
class Corp:
    """A tenant."""

    corp_id: str
    display_name: str
    kind: CorpKind
    owner_user_id: str
    create_time: dt.datetime
    verify_time: dt.datetime | None = None
    suspend_time: dt.datetime | None = None
    suspend_reason: str = ""
    delete_request_time: dt.datetime | None = None
    purge_time: dt.datetime | None = None
    """When the time of grace ends and the purge begins; None unless its deletion was asked for."""

    delete_time: dt.datetime | None = None
    session_floor_time: dt.datetime | None = None
    """Sessions opened before it are over; None for all are good."""

    change_number: int = 0
    """The corp's etag."""

    @property
    def state(self) -> CorpState:
        """What the times say."""
        if self.delete_time is not None:
            return CorpState.DELETED
        if self.delete_request_time is not None:
            return CorpState.DELETING
        return CorpState.ACTIVE if self.suspend_time is None else CorpState.SUSPENDED

    @property
    def verified_label(self) -> str:
        """What outsiders see beside a verified corp's people; empty until it is verified."""
        return "" if self.verify_time is None else f"{self.display_name} · {self.kind} · verified"


def check_new_corp(corp: NewCorp) -> None:
    """Refuse a corp that could not be created, with every field that is wrong."""
    violations: dict[str, str] = {}
    check_text(corp.display_name, "display_name", violations, minimum=1, maximum=MAX_NAME_LENGTH)
    if corp.kind is None:
        violations["kind"] = "must be one of the kinds of corps"
    check_user_id(corp.owner_user_id, "owner_user_id", violations)
    check_text(corp.owner_name, "owner_name", violations, minimum=1, maximum=MAX_NAME_LENGTH)
    raise_violations(violations)


def check_display_name(display_name: str) -> None:
    """Refuse a corp's new name that could not be one."""
    violations: dict[str, str] = {}
    check_text(display_name, "corp.display_name", violations, minimum=1, maximum=MAX_NAME_LENGTH)
    raise_violations(violations)


def check_evidence(evidence: str) -> None:
    """Refuse a verification that says nothing or too much."""
    violations: dict[str, str] = {}
    check_text(evidence, "evidence", violations, minimum=1, maximum=MAX_EVIDENCE_LENGTH)
    raise_violations(violations)


def corp_not_found_error(corp_id: str) -> NotFoundError:
    """Return the error for a corp that is not there."""
    return NotFoundError("CORP_NOT_FOUND", "no such corp", {"corpId": corp_id})


def is_corp_id(corp_id: str) -> bool:
    """Tell whether this has the form of a corp's id; what has not is never looked up."""
    return _CORP_ID_PATTERN.fullmatch(corp_id) is not None


def find_account_key(corp_id: str, user_id: str) -> tuple[str, str] | None:
    """Return the key under which the member's account would stand, or None where it can't exist.

    User ids are one regardless of case and stored in lower case.
    """
    if not is_corp_id(corp_id) or not USER_ID_PATTERN.fullmatch(user_id):
        return None
    return corp_id, user_id.lower()
