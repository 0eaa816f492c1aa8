"""Viewers: what the caller of a read sees, found out at the beginning of each read.

One statement tells at what the corp's rules, departments and tags are, and where the caller stands
in them. What that comes to is kept, and holds for as long as those numbers do: a change that was
acknowledged before a read began is never missed. In a corp without rules there is nothing to find.

    async with viewers.reading(principal, corp_id) as (connection, viewer): ...
    viewer.can_see(user_id, department_ids)            # one member
    repositories.viewers.visible(...)                  # a condition for SQL
    viewer.list_hidden_fields(user_id, department_ids) # what to leave out of one who is seen
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import lru_cache

from tieline.chassis.authorization import Right, holds, is_limited
from tieline.chassis.errors import PermissionDeniedError
from tieline.chassis.postgres import Connection, Pool
from tieline.chassis.principals import AUDITOR_ROLE, OWNER_ROLE, Principal, PrincipalKind
from tieline.directory.departments.rules import ROOT_DEPARTMENT_ID
from tieline.directory.members.cache import CorpNumbers
from tieline.directory.repositories import app_ranges, visibility_rules
from tieline.directory.repositories import viewers as repository
from tieline.directory.repositories.corps import corp_not_ready_error
from tieline.directory.visibility.app_ranges import AppRanges
from tieline.directory.visibility.decision import (
    CONTACT_FIELDS,
    EVERYBODY,
    NOBODY,
    HiddenFields,
    Reach,
    Rule,
    Scope,
    Viewer,
    build_viewer,
    plan_reach,
)

# Looking at each of so many members takes some 10 ms, as does looking for a page of those who are
# seen among a million others.
NARROW_MEMBERS = 3000

# Some 64 bytes an id: 30 MB.
_MAX_KEPT_IDS = 500_000

# Callers whose place in the corp is kept: 1 KB each.
_MAX_PLACED = 10_000

# Corps whose rules are kept as they are read.
_MAX_KEPT_CORPS = 1000


class Viewers:
    """Finds out what callers see, and keeps what is costly of it."""

    def __init__(self, pool: Pool, app_ranges: AppRanges) -> None:
        self._pool = pool
        self._app_ranges = app_ranges
        self._kept = _Kept()
        self._rules: OrderedDict[str, tuple[int, Sequence[Rule]]] = OrderedDict()
        # By corp, member and what a role adds; the one used longest ago is the first.
        self._placed: OrderedDict[tuple[str, str, Scope], _Placed] = OrderedDict()

    @asynccontextmanager
    async def reading(
        self, principal: Principal, corp_id: str
    ) -> AsyncIterator[tuple[Connection, Viewer]]:
        """Lend a connection for one read, with what the caller sees of the corp."""
        app_range = await self.learn(principal, corp_id)
        async with self._pool.acquire() as connection:
            viewer = await self.of(principal, corp_id, connection, app_range=app_range)
            yield connection, viewer

    async def learn(self, principal: Principal, corp_id: str) -> Scope:
        """Return an app's visible range, nobody for people.

        Asks identity where it is not known; no connection waits for the answer.
        """
        if principal.kind is not PrincipalKind.APP:
            return NOBODY
        async with self._pool.acquire() as connection:
            stored = await app_ranges.find(connection, corp_id, principal.id)
        if stored.scope is not None:
            return stored.scope
        scope = await self._app_ranges.fetch(corp_id, principal.id)
        async with self._pool.acquire() as connection:
            await app_ranges.keep(
                connection, corp_id, principal.id, scope, generation=stored.generation
            )
        return scope

    async def require_whole_corp(self, principal: Principal, corp_id: str) -> None:
        """Raise PermissionDeniedError for an app that was given a part of the corp.

        For what is told of the corp as a whole. Whether a member may have that is for
        ``authorization`` to say.
        """
        if principal.kind is not PrincipalKind.APP:
            return
        async with self.reading(principal, corp_id) as (_, viewer):
            if not viewer.sees_everybody:
                raise PermissionDeniedError(
                    "OUT_OF_RANGE",
                    "the app's visible range must be the whole corp",
                    {"right": Right.MANAGE_DIRECTORY.name},
                )

    async def of(
        self, principal: Principal, corp_id: str, connection: Connection, *, app_range: Scope
    ) -> Viewer:
        """Return what the caller sees of the corp; ``app_range`` is what `learn` returned.

        Takes one round trip to the database where nothing has changed since the last time.
        """
        if principal.kind is PrincipalKind.APP:
            reach = _plan_app_reach(principal, app_range)
            if reach.is_unlimited:
                return _unlimited(corp_id)
            number = await repository.find_structure_number(connection, corp_id)
            return await self._spell_out(corp_id, reach, number, connection)
        full = _list_administered(principal)
        if full.everybody:
            return _unlimited(corp_id)
        return await self._of_member(principal.id, full, corp_id, connection)

    async def of_writer(
        self, principal: Principal, corp_id: str, connection: Connection, *, app_range: Scope
    ) -> Viewer:
        """Return what the caller sees in the middle of the transaction of a write.

        Found by a memory that ends with it: what is not committed yet may never be, and its numbers
        are given to something else then.
        """
        own = Viewers(self._pool, self._app_ranges)
        return await own.of(principal, corp_id, connection, app_range=app_range)

    def recall(self, principal: Principal, corp_id: str, numbers: CorpNumbers) -> Viewer | None:
        """Return what a member sees of a corp that is at these numbers, if it is known.

        None says that it must be found out anew; no wait.
        """
        full = _list_administered(principal)
        if full.everybody or not numbers.visibility_number:
            return _unlimited(corp_id)
        placed = self._placed.get((corp_id, principal.id, full))
        if placed is None or placed.last_change_number != numbers.last_change_number:
            return None
        self._placed.move_to_end((corp_id, principal.id, full))
        if placed.reach.is_unlimited:
            return _unlimited(corp_id)
        return self._kept.find(corp_id, placed.reach, placed.structure_number)

    async def of_member(self, user_id: str, corp_id: str, connection: Connection) -> Viewer:
        """Return what a member without any role sees, whoever asks."""
        return await self._of_member(user_id, NOBODY, corp_id, connection)

    async def _of_member(
        self, user_id: str, full: Scope, corp_id: str, connection: Connection
    ) -> Viewer:
        found = await repository.find_versions(connection, corp_id, user_id)
        if found is None:
            raise corp_not_ready_error()
        versions, person = found
        if not versions.visibility_number:
            return _unlimited(corp_id)
        rules = await self._read_rules(corp_id, versions.visibility_number, connection)
        reach = plan_reach(person, rules, full=full)
        self._place(
            (corp_id, user_id, full),
            _Placed(versions.last_change_number, versions.structure_number, reach),
        )
        return await self._spell_out(corp_id, reach, versions.structure_number, connection)

    def _place(self, key: tuple[str, str, Scope], placed: "_Placed") -> None:
        self._placed[key] = placed
        self._placed.move_to_end(key)
        if len(self._placed) > _MAX_PLACED:
            self._placed.popitem(last=False)

    async def _read_rules(
        self, corp_id: str, number: int, connection: Connection
    ) -> Sequence[Rule]:
        kept = self._rules.get(corp_id)
        if kept is None or kept[0] != number:
            # May already be later ones than the number says; they are read again then.
            kept = (number, await visibility_rules.list_all(connection, corp_id))
            self._rules[corp_id] = kept
            if len(self._rules) > _MAX_KEPT_CORPS:
                self._rules.popitem(last=False)
        return kept[1]

    async def _spell_out(
        self, corp_id: str, reach: Reach, number: int, connection: Connection
    ) -> Viewer:
        if reach.is_unlimited:
            return _unlimited(corp_id)
        viewer = self._kept.find(corp_id, reach, number)
        if viewer is None:
            tree = await repository.read_tree(connection, corp_id, _list_tags(reach))
            viewer = build_viewer(corp_id, reach, tree)
            viewer = await _measure(viewer, connection)
            self._kept.put(corp_id, reach, number, viewer)
        return viewer


@dataclass(frozen=True, slots=True)
class _Placed:
    """What the rules come to for a member, while nothing in the corp changes."""

    last_change_number: int
    structure_number: int
    reach: Reach


@dataclass(frozen=True, slots=True)
class _KeptViewer:
    number: int
    viewer: Viewer


class _Kept:
    """The viewers used last, as many as hold `_MAX_KEPT_IDS` together."""

    def __init__(self) -> None:
        self._viewers: OrderedDict[tuple[str, Reach], _KeptViewer] = OrderedDict()
        self._ids = 0

    def find(self, corp_id: str, reach: Reach, number: int) -> Viewer | None:
        """Return the viewer if it was made at this number."""
        kept = self._viewers.get((corp_id, reach))
        if kept is None or kept.number != number:
            return None
        self._viewers.move_to_end((corp_id, reach))
        return kept.viewer

    def put(self, corp_id: str, reach: Reach, number: int, viewer: Viewer) -> None:
        """Keep it, in place of what was made at another number."""
        earlier = self._viewers.pop((corp_id, reach), None)
        if earlier is not None:
            self._ids -= _weigh(earlier.viewer)
        self._viewers[corp_id, reach] = _KeptViewer(number, viewer)
        self._ids += _weigh(viewer)
        while self._ids > _MAX_KEPT_IDS:
            _, dropped = self._viewers.popitem(last=False)
            self._ids -= _weigh(dropped.viewer)


@lru_cache(_MAX_KEPT_CORPS)
def _unlimited(corp_id: str) -> Viewer:
    return Viewer(corp_id, is_unlimited=True)


def _weigh(viewer: Viewer) -> int:
    """Return what keeping it costs, with a few for itself."""
    return viewer.size + 20


def _list_administered(principal: Principal) -> Scope:
    """Return whom the caller sees by a role, whatever the rules say."""
    if principal.roles & {OWNER_ROLE, AUDITOR_ROLE}:
        return EVERYBODY
    if not holds(principal, Right.MANAGE_DIRECTORY):
        return NOBODY
    if is_limited(principal, Right.MANAGE_DIRECTORY):
        return Scope(department_ids=principal.department_ids)
    return EVERYBODY


def gets_contact_details(principal: Principal) -> bool:
    """Tell whether the caller gets numbers and addresses: people do, as far as rules let them."""
    return principal.kind is not PrincipalKind.APP or (
        holds(principal, Right.READ_CONTACT_DETAILS) or holds(principal, Right.MANAGE_DIRECTORY)
    )


def _plan_app_reach(principal: Principal, app_range: Scope) -> Reach:
    """Return what an app sees. Rules are for people; an app's range is what it was given."""
    is_whole = ROOT_DEPARTMENT_ID in app_range.department_ids
    withheld: frozenset[HiddenFields] = frozenset()
    if not gets_contact_details(principal):
        withheld = frozenset({HiddenFields(EVERYBODY, CONTACT_FIELDS)})
    allowed = EVERYBODY if is_whole else app_range
    return Reach(user_id="", allowed=allowed, hidden_fields=withheld)


def _list_tags(reach: Reach) -> frozenset[int]:
    scopes = [
        reach.full,
        reach.allowed,
        reach.denied,
        *(hidden.of for hidden in reach.hidden_fields),
    ]
    return frozenset().union(*(scope.tag_ids for scope in scopes))


async def _measure(viewer: Viewer, connection: Connection) -> Viewer:
    """Find out whether the viewer sees so few that each of them can be looked at."""
    candidates = viewer.list_candidates()
    left = NARROW_MEMBERS - len(candidates.user_ids)
    if candidates.everybody or left <= 0:
        return viewer
    is_narrow = await repository.has_fewer_members(
        connection, viewer.corp_id, candidates.department_ids, left
    )
    return replace(viewer, is_narrow=is_narrow)
