"""Corps ask to be verified; platform administrators verify or reject."""

from tieline.api.identity.v1 import identity_pb2, identity_service_pb2
from tieline.chassis.audit import PLATFORM_LOG
from tieline.chassis.authorization import Resource, Right, require
from tieline.chassis.calls import current_principal
from tieline.chassis.errors import InvalidArgumentError
from tieline.chassis.etags import check_etag
from tieline.chassis.fields import is_uuid, to_timestamp
from tieline.chassis.idempotency import answered_once
from tieline.chassis.ids import new_uuid7
from tieline.chassis.page_tokens import PageTokens, page_size
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.chassis.principals import Principal, PrincipalKind
from tieline.identity.acts import record_act
from tieline.identity.corps.corp_calls import (
    DEFAULT_PAGE_SIZE,
    MAX_PAGE_SIZE,
    record_corp_update,
)
from tieline.identity.corps.life import check_reason
from tieline.identity.corps.messages import from_position, optional_timestamp, to_corp, to_position
from tieline.identity.corps.rules import check_evidence, corp_not_found_error
from tieline.identity.corps.verifications import (
    Evidence,
    VerificationRequest,
    VerificationState,
    check_needs_verification,
    check_open,
    check_shown_evidence,
)
from tieline.identity.reading import require_reading
from tieline.identity.repositories import SCHEMA, corps, verification_requests

_STATES = {
    identity_pb2.VERIFICATION_STATE_OPEN: VerificationState.OPEN,
    identity_pb2.VERIFICATION_STATE_APPROVED: VerificationState.APPROVED,
    identity_pb2.VERIFICATION_STATE_REJECTED: VerificationState.REJECTED,
    identity_pb2.VERIFICATION_STATE_WITHDRAWN: VerificationState.WITHDRAWN,
}
_PROTO_STATES = {state: number for number, state in _STATES.items()}


class VerificationCalls:
    """The calls by which a corp gets its label."""

    def __init__(self, pool: Pool, page_tokens: PageTokens) -> None:
        self._pool = pool
        self._page_tokens = page_tokens

    async def request(
        self, request: identity_service_pb2.RequestVerificationRequest
    ) -> identity_service_pb2.RequestVerificationResponse:
        """Ask for a review, at most once per request id."""
        principal = current_principal()
        corp_id = principal.require_corp(request.corp_id)
        require(principal, Right.MANAGE_CORP, Resource(corp_id))
        evidence = Evidence(
            request.evidence.text,
            request.evidence.registration_number,
            list(request.evidence.media_ids),
        )
        check_shown_evidence(evidence)
        return await answered_once(
            self._pool,
            SCHEMA,
            request,
            identity_service_pb2.RequestVerificationResponse,
            lambda connection: _request(connection, corp_id, principal, evidence),
            corp_id=corp_id,
        )

    async def list_requests(
        self, request: identity_service_pb2.ListVerificationRequestsRequest
    ) -> identity_service_pb2.ListVerificationRequestsResponse:
        """Return a page of requests: of all corps or one to platform administrators."""
        corp_id = _require_readable(current_principal(), request.corp_id)
        if request.state not in identity_pb2.VerificationState.values():
            raise InvalidArgumentError({"state": "must be one of the states, or unspecified"})
        size = page_size(request.page_size, default=DEFAULT_PAGE_SIZE, maximum=MAX_PAGE_SIZE)
        after = from_position(self._page_tokens.decode(request.page_token, request))
        async with self._pool.acquire() as connection:
            found = await verification_requests.list_requests(
                connection, corp_id, _STATES.get(request.state), after, size + 1
            )
        page, next_page_token = self._page_tokens.cut(
            found,
            size,
            request,
            lambda one: to_position(one.create_time, one.verification_request_id),
        )
        return identity_service_pb2.ListVerificationRequestsResponse(
            verification_requests=map(_to_proto, page), next_page_token=next_page_token
        )

    async def verify(
        self, request: identity_service_pb2.VerifyCorpRequest
    ) -> identity_service_pb2.VerifyCorpResponse:
        """Record that a reviewer confirmed who the corp is; the first review stands."""
        check_evidence(request.evidence)
        principal = current_principal()
        corp_id = principal.require_corp(request.corp_id)
        async with transaction(self._pool) as connection:
            corp, _ = await corps.lock_corp(connection, corp_id)
            if corp is None:
                raise corp_not_found_error(corp_id)
            if corp.verify_time is None:
                check_etag(request.etag, corp.change_number)
                await corps.insert_verification(connection, corp_id, request.evidence, principal.id)
                await verification_requests.decide_open_request(
                    connection, corp_id, VerificationState.APPROVED, reviewer=principal.id
                )
                corp = await corps.touch_corp(connection, corp_id)
                await record_corp_update(connection, corp, "corp.verify")
        return identity_service_pb2.VerifyCorpResponse(corp=to_corp(corp))

    async def reject(
        self, request: identity_service_pb2.RejectVerificationRequest
    ) -> identity_service_pb2.RejectVerificationResponse:
        """Reject an open request, at most once per request id."""
        principal = current_principal()
        corp_id = principal.require_corp(request.corp_id)
        check_reason(request.reason)
        return await answered_once(
            self._pool,
            SCHEMA,
            request,
            identity_service_pb2.RejectVerificationResponse,
            lambda connection: _reject(connection, corp_id, principal, request),
            corp_id=PLATFORM_LOG,
        )


async def _request(
    connection: Connection, corp_id: str, principal: Principal, evidence: Evidence
) -> identity_service_pb2.RequestVerificationResponse:
    corp, _ = await corps.lock_corp(connection, corp_id)
    if corp is None:
        raise corp_not_found_error(corp_id)
    check_needs_verification(corp)
    await verification_requests.decide_open_request(
        connection, corp_id, VerificationState.WITHDRAWN
    )
    opened = await verification_requests.insert_request(
        connection, corp_id, new_uuid7(), corp.display_name, evidence, principal.id
    )
    await record_act(
        connection,
        corp_id=corp_id,
        action="verification.request",
        resource=f"verificationRequests/{opened.verification_request_id}",
    )
    return identity_service_pb2.RequestVerificationResponse(verification_request=_to_proto(opened))


async def _reject(
    connection: Connection,
    corp_id: str,
    principal: Principal,
    request: identity_service_pb2.RejectVerificationRequest,
) -> identity_service_pb2.RejectVerificationResponse:
    corp, _ = await corps.lock_corp(connection, corp_id)
    if corp is None:
        raise corp_not_found_error(corp_id)
    request_id = request.verification_request_id.lower()
    found = None
    if is_uuid(request_id):
        found = await verification_requests.find_request(connection, corp_id, request_id)
    check_open(found)
    rejected = await verification_requests.decide_open_request(
        connection,
        corp_id,
        VerificationState.REJECTED,
        reviewer=principal.id,
        reject_reason=request.reason,
    )
    assert rejected is not None, "the corp is locked and its request is open"
    await record_act(
        connection,
        corp_id=corp_id,
        action="verification.reject",
        resource=f"verificationRequests/{request_id}",
        details={"reason": request.reason},
    )
    return identity_service_pb2.RejectVerificationResponse(verification_request=_to_proto(rejected))


def _require_readable(principal: Principal, corp_id: str) -> str | None:
    """Return the corp whose requests the caller may read; None for all."""
    if principal.kind is PrincipalKind.PLATFORM_ADMINISTRATOR:
        return principal.require_corp(corp_id) if corp_id else None
    return require_reading(principal, Right.MANAGE_CORP, corp_id)


def _to_proto(request: VerificationRequest) -> identity_pb2.VerificationRequest:
    return identity_pb2.VerificationRequest(
        verification_request_id=request.verification_request_id,
        corp_id=request.corp_id,
        display_name=request.display_name,
        evidence=identity_pb2.VerificationEvidence(
            text=request.evidence.text,
            registration_number=request.evidence.registration_number,
            media_ids=request.evidence.media_ids,
        ),
        requester_user_id=request.requester_user_id,
        state=_PROTO_STATES[request.state],
        create_time=to_timestamp(request.create_time),
        decide_time=optional_timestamp(request.decide_time),
        reject_reason=request.reject_reason,
    )
