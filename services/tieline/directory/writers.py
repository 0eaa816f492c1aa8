"""Where somebody may change a directory: administrators where they were given it, apps in range.

An app's visible range bounds what it writes as it bounds what it reads: its departments, with those
below, are what an administrator's are, and the members that it names one by one are the app's to
manage wherever they are. Whose range is the whole corp is bound by nothing.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

from tieline.chassis.authorization import Right, is_limited
from tieline.chassis.postgres import Pool
from tieline.chassis.principals import Principal, PrincipalKind
from tieline.directory.departments.rules import ROOT_DEPARTMENT_ID
from tieline.directory.repositories.viewers import read_tree
from tieline.directory.visibility.decision import NOBODY, Scope
from tieline.directory.visibility.viewers import Viewers

# No department's id. Without any department a principal would be bound by nothing.
NOWHERE = frozenset({0})


@dataclass(frozen=True, slots=True)
class DirectoryWriter:
    """Whoever changes something, with what that may be."""

    principal: Principal
    """As ``authorization`` is to see it: with an app's departments as the principal's own."""

    user_ids: frozenset[str] = frozenset()
    """Members whom an app manages wherever they are."""

    visible_range: Scope = NOBODY
    """Whom an app sees."""

    @property
    def is_limited(self) -> bool:
        """Whether it is a part of the corp."""
        return is_limited(self.principal, Right.MANAGE_DIRECTORY)

    def manages(self, user_id: str, ancestor_ids: Collection[int]) -> bool:
        """Tell whether a member of departments below or among these is within it."""
        return (
            not self.is_limited
            or user_id in self.user_ids
            or not self.principal.department_ids.isdisjoint(ancestor_ids)
        )


def build_writer(principal: Principal, visible_range: Scope) -> DirectoryWriter:
    """Return where the principal may write; the range is an app's, with its tags spelled out."""
    if (
        principal.kind is not PrincipalKind.APP
        or ROOT_DEPARTMENT_ID in visible_range.department_ids
    ):
        return DirectoryWriter(principal, visible_range=visible_range)
    department_ids = visible_range.department_ids or NOWHERE
    return DirectoryWriter(
        replace(principal, department_ids=department_ids), visible_range.user_ids, visible_range
    )


async def find_writer(
    pool: Pool, viewers: Viewers, principal: Principal, corp_id: str
) -> DirectoryWriter:
    """Find out where the caller may write, before any transaction: identity may be asked."""
    visible_range = await viewers.learn(principal, corp_id)
    if visible_range.tag_ids:
        async with pool.acquire() as connection:
            tree = await read_tree(connection, corp_id, visible_range.tag_ids)
        for tagged in tree.tagged.values():
            visible_range |= tagged
    return build_writer(principal, visible_range)
