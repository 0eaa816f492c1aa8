"""A write to a corp's directory: its lock, the numbers of its changes, and who is told of it.

Every change to a corp's departments, members, tags and attributes goes through one ``CorpWrite`` in
the transaction of the change. It holds the lock of the corp's row, so that writers of one corp come
one after the other and the numbers stand in the order of the commits.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from google.protobuf.message import Message

from tieline.api.directory.v1 import directory_pb2, school_pb2
from tieline.chassis.audit import build_audit_event
from tieline.chassis.authorization import Resource, Right, require
from tieline.chassis.calls import current_principal
from tieline.chassis.idempotency import answered_once
from tieline.chassis.outbox import insert_events
from tieline.chassis.postgres import Connection, Pool
from tieline.directory.id_events import build_id_events
from tieline.directory.members.rules import Member
from tieline.directory.reads import find_seen
from tieline.directory.repositories import SCHEMA, corps
from tieline.directory.repositories.corps import LockedCorp
from tieline.directory.visibility.decision import Viewer
from tieline.directory.visibility.disclosure import sees_member
from tieline.directory.visibility.viewers import Viewers
from tieline.directory.writers import DirectoryWriter, find_writer

M = TypeVar("M", bound=Message)


@dataclass(slots=True)
class CorpWrite:
    """What one transaction changes in a corp, and what is told of it when it is done."""

    connection: Connection
    corp_id: str
    corp: LockedCorp
    last_change_number: int
    """The corp's last number, with those that this write has taken."""

    writer: DirectoryWriter | None = None
    """Whoever changes it; None for what happens without a caller."""

    viewer: Viewer | None = None
    """What the caller sees as the write begins; None for everything. Who and what is not seen is
    missing in the same words as what is not there: to be out of range tells that it is."""

    _members: dict[str, None] = field(default_factory=dict)
    _departments: dict[int, None] = field(default_factory=dict)
    _tags: dict[int, None] = field(default_factory=dict)
    _school_departments: dict[int, None] = field(default_factory=dict)
    _told: list[tuple[str, type[Message], Sequence[str]]] = field(default_factory=list)
    _acts: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    @classmethod
    async def begin(
        cls, connection: Connection, corp_id: str, writer: DirectoryWriter | None = None
    ) -> "CorpWrite":
        """Wait for the corp's other writers; their changes are seen from here on."""
        corp = await corps.lock_corp(connection, corp_id)
        return cls(connection, corp_id, corp, corp.last_change_number, writer)

    def sees_member(self, member: Member) -> bool:
        """Tell whether the member is there for the caller."""
        return self.viewer is None or sees_member(self.viewer, member)

    async def find_seen(self, user_ids: Collection[str]) -> Collection[str]:
        """Return which of the members are there for the caller."""
        if self.viewer is None:
            return user_ids
        return await find_seen(self.connection, self.viewer, user_ids)

    def sees_department(self, department_id: int) -> bool:
        """Tell whether the department is there for the caller."""
        return self.viewer is None or self.viewer.can_see_department(department_id)

    def require_range(self, ancestor_ids: Iterable[int] | None) -> None:
        """Refuse a caller who may not manage what lies in these departments.

        ``ancestor_ids`` are the departments with those above them; None for what belongs to the
        corp as a whole.
        """
        assert self.writer is not None, "only callers are refused anything"
        department_ids = None if ancestor_ids is None else frozenset(ancestor_ids)
        resource = Resource(self.corp_id, department_ids)
        require(self.writer.principal, Right.MANAGE_DIRECTORY, resource)

    def manages_anywhere(self, user_id: str) -> bool:
        """Tell whether the member is the caller's to manage in whatever departments."""
        return self.writer is None or user_id in self.writer.user_ids

    def require_member(self, user_id: str, ancestor_ids: Iterable[int]) -> None:
        """Refuse a caller who may not manage a member of departments below or among these."""
        if not self.manages_anywhere(user_id):
            self.require_range(ancestor_ids)

    async def take_numbers(self, count: int) -> int:
        """Return the first of as many numbers of changes."""
        first = await corps.advance_change_number(self.connection, self.corp_id, count)
        self.last_change_number = first + count - 1
        return first

    async def record_removals(self, kind: str, resource_ids: Sequence[str]) -> None:
        """Leave tombstones of what is gone."""
        if resource_ids:
            first = await self.take_numbers(len(resource_ids))
            await corps.insert_removals(self.connection, self.corp_id, kind, resource_ids, first)

    def note_members(self, user_ids: Iterable[str]) -> None:
        """Remember whom to name in ``members_changed``."""
        self._members.update(dict.fromkeys(user_ids))

    def note_departments(self, department_ids: Iterable[int]) -> None:
        """Remember what to name in ``departments_changed``."""
        self._departments.update(dict.fromkeys(department_ids))

    def note_tags(self, tag_ids: Iterable[int]) -> None:
        """Remember what to name in ``tags_changed``."""
        self._tags.update(dict.fromkeys(tag_ids))

    def tell_of_members(
        self, subject: str, message_type: type[Message], user_ids: Sequence[str]
    ) -> None:
        """Publish an event of its own about members."""
        self._told.append((subject, message_type, user_ids))

    def note_school_departments(self, department_ids: Iterable[int]) -> None:
        """Remember what to name in ``school_departments_changed``."""
        self._school_departments.update(dict.fromkeys(department_ids))

    def audit(self, action: str, resource: str, **details: str) -> None:
        """Write the act into the corp's audit log."""
        self._acts.append((action, resource, details))

    async def finish(self) -> None:
        """Insert the events and audit entries of everything that was noted."""
        changes: list[tuple[str, Any, str, Sequence[Any]]] = [
            (subject, message_type, "user_ids", user_ids)
            for subject, message_type, user_ids in self._told
        ]
        changes += [
            ("members_changed", directory_pb2.MembersChanged, "user_ids", list(self._members)),
            (
                "departments_changed",
                directory_pb2.DepartmentsChanged,
                "department_ids",
                list(self._departments),
            ),
            ("tags_changed", directory_pb2.TagsChanged, "tag_ids", list(self._tags)),
            (
                "school_departments_changed",
                school_pb2.SchoolDepartmentsChanged,
                "department_ids",
                list(self._school_departments),
            ),
        ]
        events = [event for change in changes for event in build_id_events(self.corp_id, *change)]
        for action, resource, details in self._acts:
            events.append(
                await build_audit_event(
                    self.connection,
                    SCHEMA,
                    corp_id=self.corp_id,
                    action=f"{SCHEMA}.{action}",
                    resource=resource,
                    details=details,
                )
            )
        await insert_events(self.connection, SCHEMA, events)


async def written_once(
    pool: Pool,
    viewers: Viewers,
    request: Message,
    response_type: type[M],
    act: Callable[[CorpWrite], Awaitable[M]],
) -> M:
    """Return what ``act`` returns, or what it returned when the caller's request came first.

    ``act`` runs under the lock of the corp that the request names (see ``answered_once``).
    """
    principal = current_principal()
    corp_id = principal.require_corp(request.corp_id)  # type: ignore[attr-defined]
    writer = await find_writer(pool, viewers, principal, corp_id)

    async def write(connection: Connection) -> M:
        corp_write = await CorpWrite.begin(connection, corp_id, writer)
        if writer.is_limited:
            # Of nothing else is anything hidden from whoever may change it.
            corp_write.viewer = await viewers.of(
                principal, corp_id, connection, app_range=writer.visible_range
            )
        response = await act(corp_write)
        await corp_write.finish()
        return response

    return await answered_once(pool, SCHEMA, request, response_type, write, corp_id=corp_id)
