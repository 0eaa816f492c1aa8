"""CorpLinkService: translates between the wire and the rules of links."""

from tieline.api.identity.v1 import (
    corp_link_pb2,
    corp_link_service_pb2,
    corp_link_service_pb2_grpc,
)
from tieline.chassis.authorization import Resource, Right, require
from tieline.chassis.calls import current_principal
from tieline.chassis.errors import InvalidArgumentError
from tieline.chassis.grpc_context import Context
from tieline.chassis.idempotency import answered_once
from tieline.chassis.ids import new_uuid7
from tieline.chassis.page_tokens import PageTokens, page_size
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.identity.corps.corp_calls import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, find_visible_corp
from tieline.identity.corps.messages import from_position, to_position
from tieline.identity.corps.rules import corp_not_found_error
from tieline.identity.links.changes import Change, change_link, record_link, to_messages
from tieline.identity.links.messages import LINK_KINDS, LINK_STATES, read_share
from tieline.identity.links.rules import (
    OPEN_STATES,
    Act,
    CorpLink,
    CorpLinkKind,
    CorpLinkState,
    Share,
    apply_act,
    check_link_count,
    check_link_id,
    check_linkable,
    corp_link_exists_error,
    with_share,
)
from tieline.identity.reading import require_reading
from tieline.identity.repositories import SCHEMA, corp_links, corps


class CorpLinkServicer(corp_link_service_pb2_grpc.CorpLinkServiceServicer):
    """Answers the calls about links."""

    def __init__(self, pool: Pool, page_tokens: PageTokens) -> None:
        self._pool = pool
        self._page_tokens = page_tokens

    async def InviteCorpLink(
        self, request: corp_link_service_pb2.InviteCorpLinkRequest, context: Context
    ) -> corp_link_service_pb2.InviteCorpLinkResponse:
        """Invite another corp, at most once per request id."""
        corp_id = _require_corp(request.corp_id)
        link = _read_invitation(corp_id, request)

        async def act(
            connection: Connection,
        ) -> corp_link_service_pb2.InviteCorpLinkResponse:
            return corp_link_service_pb2.InviteCorpLinkResponse(
                link=await _invite(connection, link)
            )

        return await answered_once(
            self._pool,
            SCHEMA,
            request,
            corp_link_service_pb2.InviteCorpLinkResponse,
            act,
            corp_id=corp_id,
        )

    async def AcceptCorpLink(
        self, request: corp_link_service_pb2.AcceptCorpLinkRequest, context: Context
    ) -> corp_link_service_pb2.AcceptCorpLinkResponse:
        """Accept an invitation; a repeat changes nothing, also of what is shared since."""
        corp_id = _require_corp(request.corp_id)
        share = read_share(request.share)

        def accept(link: CorpLink) -> CorpLink:
            accepted = apply_act(link, corp_id, Act.ACCEPT)
            return link if accepted is link else with_share(accepted, corp_id, share)

        link = await self._change(corp_id, request.link_id, accept, "corp_link.accept")
        return corp_link_service_pb2.AcceptCorpLinkResponse(link=link)

    async def DeclineCorpLink(
        self, request: corp_link_service_pb2.DeclineCorpLinkRequest, context: Context
    ) -> corp_link_service_pb2.DeclineCorpLinkResponse:
        """Decline an invitation; a repeat changes nothing."""
        corp_id = _require_corp(request.corp_id)
        link = await self._change(
            corp_id,
            request.link_id,
            lambda link: apply_act(link, corp_id, Act.DECLINE),
            "corp_link.decline",
        )
        return corp_link_service_pb2.DeclineCorpLinkResponse(link=link)

    async def LeaveCorpLink(
        self, request: corp_link_service_pb2.LeaveCorpLinkRequest, context: Context
    ) -> corp_link_service_pb2.LeaveCorpLinkResponse:
        """End a link or take an invitation back; a repeat changes nothing."""
        corp_id = _require_corp(request.corp_id)
        link = await self._change(
            corp_id,
            request.link_id,
            lambda link: apply_act(link, corp_id, Act.LEAVE),
            "corp_link.leave",
        )
        return corp_link_service_pb2.LeaveCorpLinkResponse(link=link)

    async def UpdateCorpLinkShare(
        self, request: corp_link_service_pb2.UpdateCorpLinkShareRequest, context: Context
    ) -> corp_link_service_pb2.UpdateCorpLinkShareResponse:
        """Set what the caller's corp shares; a repeat changes nothing."""
        corp_id = _require_corp(request.corp_id)
        share = read_share(request.share)
        link = await self._change(
            corp_id,
            request.link_id,
            lambda link: with_share(link, corp_id, share),
            "corp_link.share",
            etag=request.etag,
        )
        return corp_link_service_pb2.UpdateCorpLinkShareResponse(link=link)

    async def ListCorpLinks(
        self, request: corp_link_service_pb2.ListCorpLinksRequest, context: Context
    ) -> corp_link_service_pb2.ListCorpLinksResponse:
        """Return a page of the corp's links."""
        corp_id = require_reading(current_principal(), Right.MANAGE_CORP, request.corp_id)
        kind, states = _read_filter(request)
        size = page_size(request.page_size, default=DEFAULT_PAGE_SIZE, maximum=MAX_PAGE_SIZE)
        before = from_position(self._page_tokens.decode(request.page_token, request))
        async with self._pool.acquire() as connection:
            found = await corp_links.list_links(connection, corp_id, kind, states, before, size + 1)
            page, next_page_token = self._page_tokens.cut(found, size, request, _position_of)
            messages = await to_messages(connection, page)
        return corp_link_service_pb2.ListCorpLinksResponse(
            links=messages, next_page_token=next_page_token
        )

    async def _change(
        self, corp_id: str, link_id: str, change: Change, action: str, *, etag: str = ""
    ) -> corp_link_pb2.CorpLink:
        link_id = check_link_id(link_id)
        async with transaction(self._pool) as connection:
            return await change_link(connection, corp_id, link_id, change, action=action, etag=etag)


def _require_corp(corp_id: str) -> str:
    """Return the corp whose links the caller manages."""
    principal = current_principal()
    corp_id = principal.require_corp(corp_id)
    require(principal, Right.MANAGE_CORP, Resource(corp_id))
    return corp_id


def _read_invitation(
    corp_id: str, request: corp_link_service_pb2.InviteCorpLinkRequest
) -> CorpLink:
    kind = LINK_KINDS.get(request.kind)
    violations = {}
    if kind is None:
        violations["kind"] = "must be one of the kinds of links"
    if request.invited_corp_id == corp_id:
        violations["invited_corp_id"] = "must be another corp"
    if kind is None or violations:
        raise InvalidArgumentError(violations)
    share: Share = read_share(request.share)
    return CorpLink(new_uuid7(), kind, corp_id, request.invited_corp_id, upper_share=share)


async def _invite(connection: Connection, link: CorpLink) -> corp_link_pb2.CorpLink:
    """Insert the invitation. Both corps are locked first, in the order of their ids."""
    # Before any lock: an id that came from outside may be anything.
    await find_visible_corp(connection, link.lower_corp_id)
    locked = {}
    for corp_id in link.corp_ids:
        corp, _ = await corps.lock_corp(connection, corp_id)
        if corp is None:
            raise corp_not_found_error(corp_id)
        locked[corp_id] = corp
    check_linkable(link.kind, locked[link.upper_corp_id], locked[link.lower_corp_id])
    check_link_count(
        *[await corp_links.count_open_links(connection, corp_id) for corp_id in link.corp_ids]
    )
    existing_id = await corp_links.insert_link(connection, link)
    if existing_id is not None:
        raise corp_link_exists_error(existing_id)
    inserted = await corp_links.find_link(connection, link.upper_corp_id, link.link_id)
    assert inserted is not None, "it was inserted in this transaction"
    return await record_link(
        connection, inserted, "corp_link.invite", log_corp_id=link.upper_corp_id
    )


def _read_filter(
    request: corp_link_service_pb2.ListCorpLinksRequest,
) -> tuple[CorpLinkKind | None, frozenset[CorpLinkState]]:
    violations = {}
    if request.kind not in corp_link_pb2.CorpLinkKind.values():
        violations["kind"] = "must be one of the kinds of links, or unspecified"
    if request.state not in corp_link_pb2.CorpLinkState.values():
        violations["state"] = "must be one of the states of links, or unspecified"
    if violations:
        raise InvalidArgumentError(violations)
    state = LINK_STATES.get(request.state)
    return LINK_KINDS.get(request.kind), OPEN_STATES if state is None else frozenset({state})


def _position_of(link: CorpLink) -> tuple[int, str]:
    assert link.create_time is not None, "it was read from the database"
    return to_position(link.create_time, link.link_id)
