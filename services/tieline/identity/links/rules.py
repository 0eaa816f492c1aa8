"""The rules of links between corps. Pure.

    INVITED ── accept (lower) ──▶ ACTIVE ── leave (either) ──▶ LEFT
       ├────── decline (lower) ─▶ DECLINED
       └────── leave (upper) ───▶ LEFT

An act whose result is there already changes nothing: no state is come back to, so that a repeat
can't undo what came after the first. The side that invited is the upper one.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum, auto

from tieline.chassis.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    NotFoundError,
)
from tieline.chassis.fields import is_uuid, raise_violations
from tieline.identity.corps.rules import Corp, CorpKind, CorpState
from tieline.identity.department_lists import check_department_ids

# A city's bureau has 1,300 schools, a supplier some thousand dealers.
MAX_OPEN_LINKS = 10_000


class CorpLinkKind(StrEnum):
    """What two corps are to each other; the values stand in tables."""

    GROUP = "group"
    UPSTREAM_DOWNSTREAM = "upstream_downstream"
    BUREAU_SCHOOL = "bureau_school"


class CorpLinkState(StrEnum):
    """Whether a link holds; the values stand in tables."""

    INVITED = "invited"
    ACTIVE = "active"
    DECLINED = "declined"
    LEFT = "left"


OPEN_STATES = frozenset({CorpLinkState.INVITED, CorpLinkState.ACTIVE})


class Act(Enum):
    """What a side does to a link."""

    ACCEPT = auto()
    DECLINE = auto()
    LEAVE = auto()


class ShareScope(StrEnum):
    """How much of its directory a side shares; the values stand in tables."""

    NOTHING = "nothing"
    DEPARTMENTS = "departments"
    WHOLE_DIRECTORY = "whole_directory"


@dataclass(frozen=True, slots=True)
class Share:
    """What a side lets the other one see while the link is active."""

    scope: ShareScope = ShareScope.NOTHING
    department_ids: tuple[int, ...] = ()
    mobile: bool = False
    email: bool = False


@dataclass(frozen=True, slots=True)
class CorpLink:
    """A link, with what each side shares."""

    link_id: str
    kind: CorpLinkKind
    upper_corp_id: str
    lower_corp_id: str
    state: CorpLinkState = CorpLinkState.INVITED
    upper_share: Share = field(default_factory=Share)
    lower_share: Share = field(default_factory=Share)
    change_number: int = 0
    create_time: dt.datetime | None = None
    """None for one that is still to be inserted."""

    update_time: dt.datetime | None = None

    @property
    def corp_ids(self) -> list[str]:
        """Both sides, in the order in which their rows are locked and written."""
        return sorted((self.upper_corp_id, self.lower_corp_id))

    def partner_of(self, corp_id: str) -> str:
        """Return the other side."""
        return self.lower_corp_id if corp_id == self.upper_corp_id else self.upper_corp_id

    def share_of(self, corp_id: str) -> Share:
        """Return what this side shares."""
        return self.upper_share if corp_id == self.upper_corp_id else self.lower_share


def check_share(share: Share, field_name: str = "share") -> None:
    """Refuse a share whose departments do not fit its scope, with every field that is wrong."""
    violations: dict[str, str] = {}
    path = f"{field_name}.department_ids"
    if share.scope is ShareScope.DEPARTMENTS:
        check_department_ids(share.department_ids, path, violations)
        if not share.department_ids:
            violations[path] = "must name the departments that are shared"
    elif share.department_ids:
        violations[path] = "must be empty unless the scope is DEPARTMENTS"
    raise_violations(violations)


def check_linkable(kind: CorpLinkKind, upper: Corp, lower: Corp) -> None:
    """Refuse a link that corps of these kinds can't have.

    Schools have no upstream or downstream: they are linked with their bureau (document 97213 of
    the open API).
    """
    fits = {
        CorpLinkKind.GROUP: True,
        CorpLinkKind.UPSTREAM_DOWNSTREAM: CorpKind.SCHOOL not in (upper.kind, lower.kind),
        CorpLinkKind.BUREAU_SCHOOL: (upper.kind, lower.kind)
        == (CorpKind.GOVERNMENT, CorpKind.SCHOOL),
    }
    if not fits[kind]:
        raise FailedPreconditionError(
            "CORPS_NOT_LINKABLE",
            f"a {upper.kind} can't be linked with a {lower.kind} as {kind}",
            {"kind": kind},
        )


def check_link_count(*counts: int) -> None:
    """Refuse one link more where a side has as many open ones as it may have."""
    if max(counts) >= MAX_OPEN_LINKS:
        raise FailedPreconditionError(
            "CORP_LINKS_EXHAUSTED",
            f"a corp has {MAX_OPEN_LINKS} links and invitations at most",
            {"limit": str(MAX_OPEN_LINKS)},
        )


def apply_act(link: CorpLink, corp_id: str, act: Act) -> CorpLink:
    """Return the link after one side's act, the same object where that changes nothing."""
    is_lower = corp_id == link.lower_corp_id
    match (act, link.state):
        case (Act.ACCEPT, CorpLinkState.INVITED) if is_lower:
            return replace(link, state=CorpLinkState.ACTIVE)
        case (Act.DECLINE, CorpLinkState.INVITED) if is_lower:
            return replace(link, state=CorpLinkState.DECLINED)
        case (Act.LEAVE, CorpLinkState.ACTIVE):
            return replace(link, state=CorpLinkState.LEFT)
        case (Act.LEAVE, CorpLinkState.INVITED) if not is_lower:
            return replace(link, state=CorpLinkState.LEFT)
        case (Act.ACCEPT, CorpLinkState.ACTIVE) if is_lower:
            return link
        case (Act.DECLINE, CorpLinkState.DECLINED) if is_lower:
            return link
        case (Act.LEAVE, CorpLinkState.LEFT):
            return link
    raise _state_error(link)


def with_share(link: CorpLink, corp_id: str, share: Share) -> CorpLink:
    """Return the link with what one side shares, the same object where it shared that before."""
    if link.state not in OPEN_STATES:
        raise _state_error(link)
    changed = (
        replace(link, upper_share=share)
        if corp_id == link.upper_corp_id
        else replace(link, lower_share=share)
    )
    return link if changed == link else changed


def choose_link(links: Sequence[CorpLink], kind: CorpLinkKind | None) -> CorpLink:
    """Return which of two corps' active links is meant; without a kind there must be one only."""
    chosen = [link for link in links if kind in (None, link.kind)]
    if not chosen:
        raise corp_link_not_found_error()
    if len(chosen) > 1:
        raise_violations({"kind": "must say which of the links of the two corps is meant"})
    return chosen[0]


def check_lets_in(link: CorpLink, linked_corp: Corp | None) -> None:
    """Refuse the other side's apps where a side of an active link has nothing for them."""
    if linked_corp is None:
        raise corp_link_not_found_error()
    corp_id = linked_corp.corp_id
    if linked_corp.state is not CorpState.ACTIVE:
        raise FailedPreconditionError(
            "LINKED_CORP_NOT_ACTIVE", "the linked corp is not active", {"corpId": corp_id}
        )
    if link.share_of(corp_id).scope is ShareScope.NOTHING:
        raise FailedPreconditionError(
            "NOTHING_SHARED", "the linked corp shares nothing over the link"
        )


def shuts_out(before: CorpLink, after: CorpLink) -> bool:
    """Tell whether a change of a link ends what an app was let in for."""
    if before.state is not CorpLinkState.ACTIVE:
        return False
    return after.state is not CorpLinkState.ACTIVE or any(
        after.share_of(corp_id).scope is ShareScope.NOTHING
        and before.share_of(corp_id).scope is not ShareScope.NOTHING
        for corp_id in before.corp_ids
    )


def check_link_id(link_id: str) -> str:
    """Return the id as it is stored; what can't be one names no link."""
    if not is_uuid(link_id.lower()):
        raise corp_link_not_found_error()
    return link_id.lower()


def corp_link_not_found_error() -> NotFoundError:
    """Return the error for a link that is not there, or is other corps'."""
    return NotFoundError("CORP_LINK_NOT_FOUND", "the corp has no such link")


def corp_link_exists_error(link_id: str) -> AlreadyExistsError:
    """Return the error for a second open link of a kind."""
    return AlreadyExistsError(
        "CORP_LINK_EXISTS",
        "the two corps have an open invitation or a link of this kind",
        {"linkId": link_id},
    )


def _state_error(link: CorpLink) -> FailedPreconditionError:
    return FailedPreconditionError(
        "CORP_LINK_STATE",
        f"the link is {link.state}, and this side can't do that to it",
        {"state": link.state},
    )
