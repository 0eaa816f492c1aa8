"""SearchMembers: from the caller's query to the members as the caller gets them."""

from dataclasses import dataclass

from tieline.api.directory.v1 import directory_service_pb2
from tieline.chassis.calls import current_principal
from tieline.chassis.fields import check_text, raise_violations
from tieline.chassis.page_tokens import PageTokens, Position, page_size
from tieline.chassis.postgres import Pool
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
from tieline.directory.repositories.search import IN_DEPARTMENT, SearchQuery
from tieline.directory.search.flow import search
from tieline.directory.search.index import catch_up
from tieline.directory.search.terms import SearchedMember, matches
from tieline.directory.visibility.decision import Viewer
from tieline.directory.visibility.disclosure import departments_of
from tieline.directory.visibility.viewers import Viewers


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
            is_whole = await catch_up(connection, corp_id)
            query = SearchQuery(viewer, text, is_indexed=is_whole)
            found = await search(connection, query, after=after, limit=size + 1)
            page, next_page_token = self.page_tokens.cut(found, size, request, lambda at: at)
            stored = await find_members(connection, corp_id, [at.user_id for at in page])
            shown = await show_members(connection, viewer, stored.values())
        by_user_id = {member.user_id: member for member in shown if member.state in LISTED_STATES}
        members = (
            by_user_id[at.user_id]
            for at in page
            if at.user_id in by_user_id
            and _is_found(viewer, stored[at.user_id], by_user_id[at.user_id], at, text)
        )
        return directory_service_pb2.SearchMembersResponse(
            members=map(to_member, members),
            next_page_token=next_page_token,
            incomplete=not is_whole,
        )


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
