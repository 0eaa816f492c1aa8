"""A write to a corp's directory: its lock, the numbers of its changes, and who is told of it.

Every change to a corp's departments, members, tags and attributes goes through one ``CorpWrite`` in
the transaction of the change. It holds the lock of the corp's row, so that writers of one corp come
one after the other and the numbers stand in the order of the commits.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from google.protobuf.message import Message

from tieline.api.directory.v1 import directory_pb2
from tieline.chassis.audit import build_audit_event
from tieline.chassis.authorization import Resource, Right, require
from tieline.chassis.calls import current_principal
from tieline.chassis.idempotency import answered_once
from tieline.chassis.outbox import Event, build_event, insert_events
from tieline.chassis.postgres import Connection, Pool
from tieline.directory.repositories import SCHEMA, corps
from tieline.directory.repositories.corps import LockedCorp

M = TypeVar("M", bound=Message)

# 64 bytes a user id and a few for framing: an eighth of what an event may have.
EVENT_IDS = 1000


@dataclass(slots=True)
class CorpWrite:
    """What one transaction changes in a corp, and what is told of it when it is done."""

    connection: Connection
    corp_id: str
    corp: LockedCorp
    _members: dict[str, None] = field(default_factory=dict)
    _departments: dict[int, None] = field(default_factory=dict)
    _tags: dict[int, None] = field(default_factory=dict)
    _told: list[tuple[str, type[Message], Sequence[str]]] = field(default_factory=list)
    _acts: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    @classmethod
    async def begin(cls, connection: Connection, corp_id: str) -> "CorpWrite":
        """Wait for the corp's other writers; their changes are seen from here on."""
        return cls(connection, corp_id, await corps.lock_corp(connection, corp_id))

    def require_range(self, ancestor_ids: Iterable[int] | None) -> None:
        """Refuse a caller who may not manage what lies in these departments.

        ``ancestor_ids`` are the departments with those above them; None for what belongs to the
        corp as a whole.
        """
        department_ids = None if ancestor_ids is None else frozenset(ancestor_ids)
        require(current_principal(), Right.MANAGE_DIRECTORY, Resource(self.corp_id, department_ids))

    async def take_numbers(self, count: int) -> int:
        """Return the first of as many numbers of changes."""
        return await corps.advance_change_number(self.connection, self.corp_id, count)

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
        ]
        events = [event for change in changes for event in self._build_events(*change)]
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

    def _build_events(
        self, subject: str, message_type: Any, ids_field: str, ids: Sequence[Any]
    ) -> list[Event]:
        return [
            build_event(
                f"tieline.{SCHEMA}.v1.{subject}",
                self.corp_id,
                self.corp_id,
                message_type(corp_id=self.corp_id, **{ids_field: ids[start : start + EVENT_IDS]}),
            )
            for start in range(0, len(ids), EVENT_IDS)
        ]


async def written_once(
    pool: Pool,
    request: Message,
    response_type: type[M],
    act: Callable[[CorpWrite], Awaitable[M]],
) -> M:
    """Return what ``act`` returns, or what it returned when the caller's request came first.

    ``act`` runs under the lock of the corp that the request names (see ``answered_once``).
    """
    corp_id = current_principal().require_corp(request.corp_id)  # type: ignore[attr-defined]

    async def write(connection: Connection) -> M:
        corp_write = await CorpWrite.begin(connection, corp_id)
        response = await act(corp_write)
        await corp_write.finish()
        return response

    return await answered_once(pool, SCHEMA, request, response_type, write, corp_id=corp_id)
