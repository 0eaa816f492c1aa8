"""Creates, reads and renames corps."""

from collections.abc import Mapping, Sequence

from tieline.api.identity.v1 import identity_pb2, identity_service_pb2
from tieline.chassis.audit import PLATFORM_LOG
from tieline.chassis.authorization import Resource, Right, require
from tieline.chassis.calls import current_principal
from tieline.chassis.errors import InvalidArgumentError
from tieline.chassis.etags import check_etag
from tieline.chassis.fields import to_timestamp
from tieline.chassis.idempotency import answered_once
from tieline.chassis.ids import new_corp_id
from tieline.chassis.outbox import Event, build_event
from tieline.chassis.page_tokens import PageTokens, page_size
from tieline.chassis.postgres import Connection, Pool
from tieline.chassis.principals import Principal
from tieline.identity.acts import record_act
from tieline.identity.corps.life import rename
from tieline.identity.corps.messages import (
    KINDS,
    STATES,
    from_position,
    to_corp,
    to_position,
    to_profile,
)
from tieline.identity.corps.rules import (
    Corp,
    CorpState,
    NewCorp,
    check_display_name,
    check_new_corp,
    corp_not_found_error,
    is_corp_id,
)
from tieline.identity.corps.verifications import VerificationState
from tieline.identity.repositories import SCHEMA, corps, invitations, verification_requests
from tieline.identity.roles.invitations import InvitationCodes, hash_code

CORP_CREATED = "tieline.identity.v1.corp_created"
CORP_UPDATED = "tieline.identity.v1.corp_updated"

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 200


class CorpCalls:
    """The calls that read corps and change what they are called."""

    def __init__(self, pool: Pool, codes: InvitationCodes, page_tokens: PageTokens) -> None:
        self._pool = pool
        self._codes = codes
        self._page_tokens = page_tokens

    async def create(
        self, request: identity_service_pb2.CreateCorpRequest
    ) -> identity_service_pb2.CreateCorpResponse:
        """Create a corp with its owner's account and invitation, at most once per request id."""
        check_new_corp(_read_new_corp(request))
        principal = current_principal()
        response = await answered_once(
            self._pool,
            SCHEMA,
            request,
            identity_service_pb2.CreateCorpResponse,
            lambda connection: self._create(connection, principal, request),
            corp_id=PLATFORM_LOG,
        )
        invitation = response.owner_invitation
        invitation.code = self._codes.derive(
            request.request_id, principal.id, response.corp.corp_id, invitation.user_id
        )
        return response

    async def _create(
        self,
        connection: Connection,
        principal: Principal,
        request: identity_service_pb2.CreateCorpRequest,
    ) -> identity_service_pb2.CreateCorpResponse:
        """Do it; the response is stored as the first answer and so is without the code."""
        new = _read_new_corp(request)
        corp_id = new_corp_id()
        corp = to_corp(await corps.insert_corp(connection, corp_id, new))
        owner = new.owner_user_id
        code = self._codes.derive(request.request_id, principal.id, corp_id, owner)
        expire_time = await invitations.replace_invitations(
            connection, corp_id, {owner: hash_code(code)}, principal
        )
        event = identity_pb2.CorpCreated(corp=corp, owner_name=new.owner_name)
        await record_act(
            connection,
            corp_id=corp_id,
            action="corp.create",
            resource=f"corps/{corp_id}",
            details={"owner_user_id": owner},
            events=[build_event(CORP_CREATED, corp_id, corp_id, event)],
        )
        return identity_service_pb2.CreateCorpResponse(
            corp=corp,
            owner_invitation=identity_pb2.Invitation(
                user_id=owner, expire_time=to_timestamp(expire_time)
            ),
        )

    async def get(
        self, request: identity_service_pb2.GetCorpRequest
    ) -> identity_service_pb2.GetCorpResponse:
        """Return a corp: any to platform administrators, the own one to members."""
        corp_id = current_principal().require_corp(request.corp_id)
        async with self._pool.acquire() as connection:
            corp = await get_corp(connection, corp_id)
        return identity_service_pb2.GetCorpResponse(corp=to_corp(corp))

    async def get_profile(
        self, request: identity_service_pb2.GetCorpProfileRequest
    ) -> identity_service_pb2.GetCorpProfileResponse:
        """Return what outsiders see of a corp."""
        corp_id = request.corp_id or current_principal().require_corp("")
        async with self._pool.acquire() as connection:
            corp = await find_visible_corp(connection, corp_id)
        return identity_service_pb2.GetCorpProfileResponse(profile=to_profile(corp))

    async def list_corps(
        self, request: identity_service_pb2.ListCorpsRequest
    ) -> identity_service_pb2.ListCorpsResponse:
        """Return a page of the deployment's corps."""
        _check_filter(request)
        size = page_size(request.page_size, default=DEFAULT_PAGE_SIZE, maximum=MAX_PAGE_SIZE)
        before = from_position(self._page_tokens.decode(request.page_token, request))
        async with self._pool.acquire() as connection:
            found = await corps.list_corps(
                connection, KINDS.get(request.kind), STATES.get(request.state), before, size + 1
            )
        page, next_page_token = self._page_tokens.cut(
            found, size, request, lambda corp: to_position(corp.create_time, corp.corp_id)
        )
        return identity_service_pb2.ListCorpsResponse(
            corps=map(to_corp, page), next_page_token=next_page_token
        )

    async def update(
        self, request: identity_service_pb2.UpdateCorpRequest
    ) -> identity_service_pb2.UpdateCorpResponse:
        """Rename a corp, at most once per request id."""
        principal = current_principal()
        corp_id = principal.require_corp(request.corp.corp_id)
        require(principal, Right.MANAGE_CORP, Resource(corp_id))
        if list(request.update_mask.paths) != ["display_name"]:
            raise InvalidArgumentError({"update_mask": "must name display_name"})
        check_display_name(request.corp.display_name)
        return await answered_once(
            self._pool,
            SCHEMA,
            request,
            identity_service_pb2.UpdateCorpResponse,
            lambda connection: _update(connection, corp_id, request.corp),
            corp_id=corp_id,
        )


async def get_corp(connection: Connection, corp_id: str) -> Corp:
    """Return the corp or raise NotFoundError."""
    corp = await corps.find_corp(connection, corp_id)
    if corp is None:
        raise corp_not_found_error(corp_id)
    return corp


async def find_visible_corp(connection: Connection, corp_id: str) -> Corp:
    """Return the corp if outsiders may know of it, or raise NotFoundError."""
    corp = None
    if is_corp_id(corp_id):
        corp = await corps.find_corp(connection, corp_id)
    if corp is None or corp.state is not CorpState.ACTIVE:
        raise corp_not_found_error(corp_id)
    return corp


async def _update(
    connection: Connection, corp_id: str, wanted: identity_pb2.Corp
) -> identity_service_pb2.UpdateCorpResponse:
    corp, _ = await corps.lock_corp(connection, corp_id)
    if corp is None:
        raise corp_not_found_error(corp_id)
    check_etag(wanted.etag, corp.change_number)
    renamed = rename(corp, wanted.display_name)
    if renamed is not corp:
        await verification_requests.decide_open_request(
            connection, corp_id, VerificationState.WITHDRAWN
        )
        renamed = await corps.update_corp(connection, renamed)
        await record_corp_update(
            connection, renamed, "corp.update", _describe_update(corp, renamed)
        )
    return identity_service_pb2.UpdateCorpResponse(corp=to_corp(renamed))


async def record_corp_update(
    connection: Connection,
    corp: Corp,
    action: str,
    details: Mapping[str, str] | None = None,
    further: Sequence[Event] = (),
) -> None:
    """Write an act down that changed the locked corp, and tell the other services of it."""
    event = identity_pb2.CorpUpdated(corp=to_corp(corp))
    await record_act(
        connection,
        corp_id=corp.corp_id,
        action=action,
        resource=f"corps/{corp.corp_id}",
        details=details,
        events=[build_event(CORP_UPDATED, corp.corp_id, corp.corp_id, event), *further],
    )


def _describe_update(before: Corp, after: Corp) -> dict[str, str]:
    details = {"fields": "display_name"}
    if before.verify_time is not None and after.verify_time is None:
        details["verification"] = "dropped"
    return details


def _check_filter(request: identity_service_pb2.ListCorpsRequest) -> None:
    violations = {}
    if request.kind not in identity_pb2.CorpKind.values():
        violations["kind"] = "must be one of the kinds of corps, or unspecified"
    if request.state not in identity_pb2.CorpState.values():
        violations["state"] = "must be one of the states of corps, or unspecified"
    if violations:
        raise InvalidArgumentError(violations)


def _read_new_corp(request: identity_service_pb2.CreateCorpRequest) -> NewCorp:
    return NewCorp(
        display_name=request.display_name,
        kind=KINDS.get(request.kind),
        owner_user_id=request.owner_user_id.lower(),
        owner_name=request.owner_name,
    )
