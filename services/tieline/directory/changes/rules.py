"""The rules of the feed of changes: who may read it, and what a cursor is good for. Pure.

Everything that changes gets the next number of its corp, given under the lock of the corp's row. So
whoever has read up to a number has missed nothing before it, and the feed is what has a larger
number, in the order of the numbers: of each resource its latest state, or that it is gone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from tieline.chassis.authorization import Resource as Authorized
from tieline.chassis.authorization import Right, holds, require
from tieline.chassis.errors import FailedPreconditionError
from tieline.chassis.principals import AUDITOR_ROLE, Principal


class ChangedKind(StrEnum):
    """What a change is of; the values stand in the table of removals."""

    DEPARTMENT = "department"
    MEMBER = "member"
    TAG = "tag"
    TAG_MEMBER = "tag_member"
    TAG_DEPARTMENT = "tag_department"


class ChangedRow(NamedTuple):
    """One line of the feed, before what it names is read."""

    kind: str
    change_number: int
    resource_id: str
    """Of a tag's member or department, tag id and its id with a / between."""

    is_removal: bool


@dataclass(frozen=True, slots=True)
class FeedState:
    """Where a corp's feed stands."""

    epoch: str
    last_change_number: int
    removals_purged_through: int
    """The number of the last removal that was forgotten."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far somebody has read."""

    epoch: str
    change_number: int
    """All changes up to this one are read."""

    snapshot_number: int
    """The corp's last number when the snapshot began: what was gone by then was never told."""

    @property
    def removals_after(self) -> int:
        """The number from behind which on removals matter."""
        return max(self.change_number, self.snapshot_number)


def begin_snapshot(state: FeedState) -> Cursor:
    """Return the cursor of somebody who has nothing yet."""
    return Cursor(state.epoch, 0, state.last_change_number)


def check_cursor(cursor: Cursor, state: FeedState) -> None:
    """Raise FailedPreconditionError where going on from the cursor could miss something."""
    is_known = cursor.epoch == state.epoch and cursor.removals_after <= state.last_change_number
    if not is_known or cursor.removals_after < state.removals_purged_through:
        raise FailedPreconditionError(
            "CURSOR_TOO_OLD",
            "what was removed since this cursor is no longer known: "
            "forget the copy and take a snapshot, by an empty cursor",
        )


def turn_page(
    rows: Sequence[ChangedRow], size: int, cursor: Cursor, state: FeedState
) -> tuple[Sequence[ChangedRow], Cursor, bool]:
    """Return a page of ``size`` rows, the cursor behind it, and whether more follow.

    ``rows`` are read with the limit ``size`` + 1 together with ``state``. The last page ends at the
    corp's last number, so that gaps and what does not matter are not looked through again.
    """
    has_more = len(rows) > size
    page = rows[:size]
    read_through = page[-1].change_number if has_more else state.last_change_number
    return page, replace(cursor, change_number=read_through), has_more


def check_sees_whole_corp(principal: Principal, corp_id: str) -> None:
    """Raise PermissionDeniedError for a caller from whom the directory hides a part."""
    if AUDITOR_ROLE in principal.roles and holds(principal, Right.READ_DIRECTORY):
        return
    require(principal, Right.MANAGE_DIRECTORY, Authorized(corp_id))
