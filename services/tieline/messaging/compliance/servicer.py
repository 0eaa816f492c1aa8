"""ComplianceService: between the wire and the rules of compliance officers and auditors."""

from __future__ import annotations

from tieline.api.messaging.v1 import compliance_service_pb2, compliance_service_pb2_grpc
from tieline.chassis.audit import record_act
from tieline.chassis.authorization import Resource, Right, require
from tieline.chassis.calls import current_principal
from tieline.chassis.errors import ResourceExhaustedError
from tieline.chassis.fields import is_uuid
from tieline.chassis.grpc_context import Context
from tieline.chassis.idempotency import answered_once
from tieline.chassis.ids import new_uuid7
from tieline.chassis.page_tokens import PageTokens, page_size
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.messaging.compliance.retention import (
    FOREVER,
    MAX_ACTIVE_HOLDS,
    HoldScope,
    NewHold,
    check_hold,
    check_policy,
    hold_not_found_error,
    hold_to_proto,
    policy_to_proto,
)
from tieline.messaging.conversations.rules import ConversationKind, conversation_not_found_error
from tieline.messaging.repositories import SCHEMA
from tieline.messaging.repositories.retention import RetentionRepository


class ComplianceServicer(compliance_service_pb2_grpc.ComplianceServiceServicer):
    """Retention and legal holds."""

    def __init__(self, pool: Pool, page_tokens: PageTokens) -> None:
        self._pool = pool
        self._page_tokens = page_tokens

    async def SetRetentionPolicy(
        self, request: compliance_service_pb2.SetRetentionPolicyRequest, context: Context
    ) -> compliance_service_pb2.SetRetentionPolicyResponse:
        """Say how long messages of a kind are kept; a repeat changes nothing."""
        corp_id = require_corp(request.corp_id, Right.MANAGE_COMPLIANCE)
        kind, keep_days = check_policy(request)
        async with transaction(self._pool) as connection:
            repository = RetentionRepository(connection)
            if keep_days == FOREVER:
                is_changed = await repository.delete_policy(corp_id, kind)
            else:
                is_changed = await repository.set_policy(corp_id, kind, keep_days)
            if is_changed:
                await record_act(
                    connection,
                    SCHEMA,
                    corp_id=corp_id,
                    action="messaging.retention_policy.set",
                    resource=f"retentionPolicies/{kind.value}",
                    details={"keepDays": str(keep_days)},
                )
            policies = {policy.kind: policy for policy in await repository.list_policies(corp_id)}
        return compliance_service_pb2.SetRetentionPolicyResponse(
            policy=policy_to_proto(kind, policies.get(kind))
        )

    async def ListRetentionPolicies(
        self, request: compliance_service_pb2.ListRetentionPoliciesRequest, context: Context
    ) -> compliance_service_pb2.ListRetentionPoliciesResponse:
        """Return how long messages of each kind are kept."""
        corp_id = require_corp(request.corp_id, Right.READ_COMPLIANCE)
        async with self._pool.acquire() as connection:
            found = await RetentionRepository(connection).list_policies(corp_id)
        policies = {policy.kind: policy for policy in found}
        return compliance_service_pb2.ListRetentionPoliciesResponse(
            policies=[policy_to_proto(kind, policies.get(kind)) for kind in ConversationKind]
        )

    async def CreateLegalHold(
        self, request: compliance_service_pb2.CreateLegalHoldRequest, context: Context
    ) -> compliance_service_pb2.CreateLegalHoldResponse:
        """Keep messages from being removed, at most once per ``request_id``."""
        corp_id = require_corp(request.corp_id, Right.MANAGE_COMPLIANCE)
        hold = check_hold(request)
        return await answered_once(
            self._pool,
            SCHEMA,
            request,
            compliance_service_pb2.CreateLegalHoldResponse,
            lambda connection: _create_hold(connection, corp_id, hold),
            corp_id=corp_id,
        )

    async def ReleaseLegalHold(
        self, request: compliance_service_pb2.ReleaseLegalHoldRequest, context: Context
    ) -> compliance_service_pb2.ReleaseLegalHoldResponse:
        """End a hold; a repeat changes nothing."""
        corp_id = require_corp(request.corp_id, Right.MANAGE_COMPLIANCE)
        if not is_uuid(request.hold_id):
            raise hold_not_found_error(request.hold_id)
        async with transaction(self._pool) as connection:
            repository = RetentionRepository(connection)
            if await repository.release_hold(corp_id, request.hold_id):
                await record_act(
                    connection,
                    SCHEMA,
                    corp_id=corp_id,
                    action="messaging.legal_hold.release",
                    resource=f"legalHolds/{request.hold_id}",
                )
            hold = await repository.find_hold(corp_id, request.hold_id)
        if hold is None:
            raise hold_not_found_error(request.hold_id)
        return compliance_service_pb2.ReleaseLegalHoldResponse(hold=hold_to_proto(hold))

    async def ListLegalHolds(
        self, request: compliance_service_pb2.ListLegalHoldsRequest, context: Context
    ) -> compliance_service_pb2.ListLegalHoldsResponse:
        """List holds, the newest first."""
        corp_id = require_corp(request.corp_id, Right.READ_COMPLIANCE)
        size = page_size(request.page_size, default=50, maximum=200)
        position = self._page_tokens.decode(request.page_token, request)
        before = None if position is None else str(position[0])
        async with self._pool.acquire() as connection:
            holds = await RetentionRepository(connection).list_holds(
                corp_id, before=before, limit=size + 1
            )
        page, next_page_token = self._page_tokens.cut(
            holds, size, request, lambda hold: [hold.hold_id]
        )
        return compliance_service_pb2.ListLegalHoldsResponse(
            holds=map(hold_to_proto, page), next_page_token=next_page_token
        )


def require_corp(corp_id: str, right: Right) -> str:
    """Return the caller's corp; compliance is of the corp as a whole."""
    principal = current_principal()
    corp_id = principal.require_corp(corp_id)
    require(principal, right, Resource(corp_id))
    return corp_id


async def _create_hold(
    connection: Connection, corp_id: str, hold: NewHold
) -> compliance_service_pb2.CreateLegalHoldResponse:
    repository = RetentionRepository(connection)
    if hold.scope is HoldScope.CONVERSATION and not await repository.has_conversation(
        corp_id, hold.target_id
    ):
        raise conversation_not_found_error(hold.target_id)
    if await repository.count_active_holds(corp_id) >= MAX_ACTIVE_HOLDS:
        raise ResourceExhaustedError(
            "TOO_MANY_LEGAL_HOLDS", f"{MAX_ACTIVE_HOLDS} legal holds are in force; release one"
        )
    hold_id = new_uuid7()
    created = await repository.insert_hold(corp_id, hold_id, hold)
    details = {"scope": hold.scope.value, "targetId": hold.target_id}
    await record_act(
        connection,
        SCHEMA,
        corp_id=corp_id,
        action="messaging.legal_hold.create",
        resource=f"legalHolds/{hold_id}",
        details=details,
    )
    return compliance_service_pb2.CreateLegalHoldResponse(hold=hold_to_proto(created))
