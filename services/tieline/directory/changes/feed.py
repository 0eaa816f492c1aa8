"""Reading the feed of changes, a page at a time, each page from one snapshot of the database."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from tieline.api.directory.v1 import change_pb2, change_service_pb2, directory_pb2
from tieline.chassis.errors import InvalidArgumentError
from tieline.chassis.page_tokens import PageTokens, Position
from tieline.chassis.postgres import Connection, Pool
from tieline.directory.changes.rules import (
    ChangedKind,
    ChangedRow,
    Cursor,
    FeedState,
    begin_snapshot,
    check_cursor,
    turn_page,
)
from tieline.directory.departments.messages import to_department
from tieline.directory.members.messages import to_member
from tieline.directory.repositories import changes, corps, departments, members, tags
from tieline.directory.tags.messages import to_tag

# Of the pool's connections the feed takes at most these: after an import everybody who watches the
# corp reads at once, and the other calls must not wait behind them.
_MAX_READS = 4

_CURSOR_RULE = "must be the next_cursor of a response of the same corp, or empty for a snapshot"


@dataclass(frozen=True, slots=True)
class FeedPage:
    """The next changes behind a cursor."""

    changes: list[change_pb2.Change]
    cursor: Cursor
    has_more: bool


class ChangesFeed:
    """The feeds of all corps."""

    def __init__(self, pool: Pool, page_tokens: PageTokens) -> None:
        self._pool = pool
        self._page_tokens = page_tokens
        self._reads = asyncio.Semaphore(_MAX_READS)

    def encode_cursor(self, corp_id: str, cursor: Cursor) -> str:
        """Return what a caller keeps of a cursor: signed, and good for this corp alone."""
        position: Position = [cursor.epoch, cursor.change_number, cursor.snapshot_number]
        return self._page_tokens.encode_cursor(position, _query_of(corp_id))

    def decode_cursor(self, corp_id: str, text: str) -> Cursor | None:
        """Return the cursor of a request; None for a snapshot."""
        try:
            position = self._page_tokens.decode(text, _query_of(corp_id))
        except InvalidArgumentError:
            raise InvalidArgumentError({"cursor": _CURSOR_RULE}, reason="CURSOR_INVALID") from None
        if position is None:
            return None
        epoch, change_number, snapshot_number = position
        return Cursor(str(epoch), int(change_number), int(snapshot_number))

    async def read(self, corp_id: str, cursor: Cursor | None, size: int) -> FeedPage:
        """Return the page behind the cursor, or the first one of a snapshot.

        Raises FailedPreconditionError CURSOR_TOO_OLD where something could be missing.
        """
        async with (
            self._reads,
            self._pool.acquire() as connection,
            # What is listed and what is then read of it are of the same moment.
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            state = await _get_state(connection, corp_id)
            if cursor is None:
                cursor = begin_snapshot(state)
            else:
                check_cursor(cursor, state)
            if cursor.change_number == state.last_change_number:
                return FeedPage([], cursor, has_more=False)
            rows = await changes.list_changed_rows(connection, corp_id, cursor, limit=size + 1)
            page, next_cursor, has_more = turn_page(rows, size, cursor, state)
            found = await _read_changes(connection, corp_id, page)
        return FeedPage(found, next_cursor, has_more)


def _query_of(corp_id: str) -> change_service_pb2.ListChangesRequest:
    return change_service_pb2.ListChangesRequest(corp_id=corp_id)


async def _get_state(connection: Connection, corp_id: str) -> FeedState:
    state = await changes.find_feed_state(connection, corp_id)
    if state is None:
        raise corps.corp_not_ready_error()
    return state


async def _read_changes(
    connection: Connection, corp_id: str, rows: Sequence[ChangedRow]
) -> list[change_pb2.Change]:
    """Return the rows with what they name, in their order."""
    ids: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if not row.is_removal:
            ids[row.kind].append(row.resource_id)
    department_by_id = await _read_departments(connection, corp_id, ids[ChangedKind.DEPARTMENT])
    member_by_id = await _read_members(connection, corp_id, ids[ChangedKind.MEMBER])
    tag_by_id = await _read_tags(connection, corp_id, ids[ChangedKind.TAG])

    def build(row: ChangedRow) -> change_pb2.Change:
        change = change_pb2.Change(change_number=row.change_number)
        if row.is_removal:
            change.removal.CopyFrom(_build_removal(row))
            return change
        match row.kind:
            case ChangedKind.DEPARTMENT:
                change.department.CopyFrom(department_by_id[row.resource_id])
            case ChangedKind.MEMBER:
                change.member.CopyFrom(member_by_id[row.resource_id])
            case ChangedKind.TAG:
                change.tag.CopyFrom(tag_by_id[row.resource_id])
            case ChangedKind.TAG_MEMBER:
                change.tag_member.CopyFrom(_build_tag_member(row.resource_id))
            case ChangedKind.TAG_DEPARTMENT:
                change.tag_department.CopyFrom(_build_tag_department(row.resource_id))
        return change

    return [build(row) for row in rows]


def _build_removal(row: ChangedRow) -> change_pb2.Removal:
    match ChangedKind(row.kind):
        case ChangedKind.DEPARTMENT:
            return change_pb2.Removal(department_id=int(row.resource_id))
        case ChangedKind.MEMBER:
            return change_pb2.Removal(user_id=row.resource_id)
        case ChangedKind.TAG:
            return change_pb2.Removal(tag_id=int(row.resource_id))
        case ChangedKind.TAG_MEMBER:
            return change_pb2.Removal(tag_member=_build_tag_member(row.resource_id))
        case ChangedKind.TAG_DEPARTMENT:
            return change_pb2.Removal(tag_department=_build_tag_department(row.resource_id))


def _build_tag_member(resource_id: str) -> change_pb2.TagMember:
    tag_id, _, user_id = resource_id.partition("/")
    return change_pb2.TagMember(tag_id=int(tag_id), user_id=user_id)


def _build_tag_department(resource_id: str) -> change_pb2.TagDepartment:
    tag_id, _, department_id = resource_id.partition("/")
    return change_pb2.TagDepartment(tag_id=int(tag_id), department_id=int(department_id))


async def _read_departments(
    connection: Connection, corp_id: str, ids: Sequence[str]
) -> dict[str, directory_pb2.Department]:
    if not ids:
        return {}
    found = await departments.find_departments(connection, corp_id, [int(each) for each in ids])
    messages = {str(department_id): to_department(each) for department_id, each in found.items()}
    for message in messages.values():
        # It changes with the members, and nobody would be told.
        message.ClearField("member_count")
    return messages


async def _read_members(
    connection: Connection, corp_id: str, ids: Sequence[str]
) -> dict[str, directory_pb2.Member]:
    if not ids:
        return {}
    found = await members.find_members(connection, corp_id, ids)
    return {user_id: to_member(member) for user_id, member in found.items()}


async def _read_tags(
    connection: Connection, corp_id: str, ids: Sequence[str]
) -> dict[str, directory_pb2.Tag]:
    if not ids:
        return {}
    found = await tags.find_tags(connection, corp_id, [int(each) for each in ids])
    return {str(tag_id): to_tag(tag) for tag_id, tag in found.items()}
