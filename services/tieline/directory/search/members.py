"""SearchMembers: from the caller's query to the members as the caller gets them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tieline.api.directory.v1 import directory_service_pb2
from tieline.chassis.calls import current_principal
from tieline.chassis.fields import check_text, raise_violations
from tieline.chassis.page_tokens import PageTokens, Position, page_size
from tieline.chassis.postgres import Connection, Pool
from tieline.directory.members.messages import to_member
from tieline.directory.members.rules import (
    BEFORE_ALL_RESULTS,
    LISTED_STATES,
    MAX_QUERY_CHARACTERS,
    Member,
    SearchPosition,
    fold,
)
from tieline.directory.reads import show_members
from tieline.directory.repositories.members import find_members
from tieline.directory.repositories.search import IN_DEPARTMENT
from tieline.directory.repositories.search_query import SearchQuery
from tieline.directory.search.flow import search
from tieline.directory.search.index import catch_up
from tieline.directory.search.terms import SearchedMember, matches
from tieline.directory.visibility.decision import Viewer
from tieline.directory.visibility.disclosure import departments_of
from tieline.directory.visibility.viewers import Viewers

# Each round but the last found a page of members who are no results any more: an import changed
# them since, or their entries are of an earlier form. The answer is ``incomplete`` then.
_MAX_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class MemberSearch:
    """Answers SearchMembers."""

    pool: Pool
    """Of connections with the settings of searches."""

    page_tokens: PageTokens
    viewers: Viewers

    async def answer(
        self, request: directory_service_pb2.SearchMembersRequest
    ) -> directory_service_pb2.SearchMembersResponse:
        """Return a page of the members whom the query finds for the caller."""
        principal = current_principal()
        corp_id = principal.require_corp(request.corp_id)
        violations: dict[str, str] = {}
        check_text(request.query, "query", violations, minimum=1, maximum=MAX_QUERY_CHARACTERS)
        raise_violations(violations)
        size = page_size(request.page_size, default=20, maximum=100)
        after = _read_position(self.page_tokens.decode(request.page_token, request))
        text = fold(request.query.strip())
        app_range = await self.viewers.learn(principal, corp_id)
        async with self.pool.acquire(spares_reset=True) as connection:
            viewer = await self.viewers.of(principal, corp_id, connection, app_range=app_range)
            is_indexed = await catch_up(connection, corp_id)
            query = SearchQuery(viewer, text, is_indexed=is_indexed)
            found, is_whole = await _read(connection, query, after, size + 1)
        page, next_page_token = self.page_tokens.cut(found, size, request, lambda hit: hit.position)
        return directory_service_pb2.SearchMembersResponse(
            members=[to_member(hit.member) for hit in page],
            next_page_token=next_page_token,
            incomplete=not (is_indexed and is_whole),
        )


class _Hit(NamedTuple):
    position: SearchPosition
    member: Member
    """As the caller gets it."""


async def _read(
    connection: Connection, query: SearchQuery, after: SearchPosition, count: int
) -> tuple[list[_Hit], bool]:
    """Return so many members from behind the position on, and whether fewer are all that there are.

    Who changed since the index was read is no result any more, and who follows takes the place: a
    page with a gap would tell that somebody had been there.
    """
    found: list[_Hit] = []
    for _ in range(_MAX_ROUNDS):
        wanted = count - len(found)
        positions = await search(connection, query, after=after, limit=wanted)
        found += await _look_up(connection, query, positions)
        if len(found) == count or len(positions) < wanted:
            return found, True
        after = positions[-1]
    return found, False


async def _look_up(
    connection: Connection, query: SearchQuery, positions: Sequence[SearchPosition]
) -> list[_Hit]:
    viewer, user_ids = query.viewer, [at.user_id for at in positions]
    stored = await find_members(connection, query.corp_id, user_ids)
    shown = {each.user_id: each for each in await show_members(connection, viewer, stored.values())}
    return [
        _Hit(at, member)
        for at in positions
        if (member := shown.get(at.user_id)) is not None
        and member.state in LISTED_STATES
        and _is_found(viewer, stored[at.user_id], member, at, query.text)
    ]


def _is_found(
    viewer: Viewer, stored: Member, shown: Member, position: SearchPosition, text: str
) -> bool:
    """Tell whether the member is found by what the caller gets, too: no hidden field tells."""
    if position.closeness == IN_DEPARTMENT or not viewer.list_hidden_fields(
        stored.user_id, departments_of(stored)
    ):
        return True
    searched = SearchedMember(
        *(shown.user_id, shown.name, shown.alias, shown.position),
        *(shown.mobile, shown.email, shown.biz_email),
    )
    return matches(searched, text)


def _read_position(position: Position | None) -> SearchPosition:
    if position is None:
        return BEFORE_ALL_RESULTS
    closeness, key, user_id = position
    return SearchPosition(int(closeness), str(key), str(user_id))
