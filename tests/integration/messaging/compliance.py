"""Compliance officers at work, and a look at what is left of what they removed."""

import datetime as dt

from nats.aio.client import Client

from integration.messaging.chat import TIMEOUT_S, new_id
from tieline.api.common.v1 import audit_pb2
from tieline.api.messaging.v1 import compliance_service_pb2 as compliance_pb2
from tieline.api.messaging.v1 import compliance_service_pb2_grpc, messaging_pb2
from tieline.chassis.postgres import Pool

GROUP = messaging_pb2.CONVERSATION_KIND_GROUP
# Today's month is over and 90 days old then, and a year is not.
LATER = dt.datetime.now(dt.UTC) + dt.timedelta(days=130)


class Desk:
    """What somebody with a role does at one replica."""

    def __init__(self, stub: compliance_service_pb2_grpc.ComplianceServiceStub, token: str) -> None:
        self._stub = stub
        self._metadata = (("authorization", f"Bearer {token}"),)

    async def keep(
        self, days: int, kind: messaging_pb2.ConversationKind.ValueType = GROUP
    ) -> compliance_pb2.RetentionPolicy:
        response = await self._stub.SetRetentionPolicy(
            compliance_pb2.SetRetentionPolicyRequest(conversation_kind=kind, keep_days=days),
            metadata=self._metadata,
            timeout=TIMEOUT_S,
        )
        return response.policy

    async def policies(self) -> list[compliance_pb2.RetentionPolicy]:
        response = await self._stub.ListRetentionPolicies(
            compliance_pb2.ListRetentionPoliciesRequest(),
            metadata=self._metadata,
            timeout=TIMEOUT_S,
        )
        return list(response.policies)

    async def hold(
        self,
        scope: compliance_pb2.LegalHoldScope.ValueType,
        target_id: str = "",
        *,
        request_id: str = "",
    ) -> compliance_pb2.LegalHold:
        response = await self._stub.CreateLegalHold(
            compliance_pb2.CreateLegalHoldRequest(
                request_id=request_id or new_id(),
                scope=scope,
                target_id=target_id,
                reason="case 7",
            ),
            metadata=self._metadata,
            timeout=TIMEOUT_S,
        )
        return response.hold

    async def release(self, hold_id: str) -> compliance_pb2.LegalHold:
        response = await self._stub.ReleaseLegalHold(
            compliance_pb2.ReleaseLegalHoldRequest(hold_id=hold_id),
            metadata=self._metadata,
            timeout=TIMEOUT_S,
        )
        return response.hold

    async def holds(
        self, *, page_size: int = 0, page_token: str = ""
    ) -> compliance_pb2.ListLegalHoldsResponse:
        return await self._stub.ListLegalHolds(
            compliance_pb2.ListLegalHoldsRequest(page_size=page_size, page_token=page_token),
            metadata=self._metadata,
            timeout=TIMEOUT_S,
        )


async def count(pool: Pool, table: str, conversation_id: str) -> int:
    async with pool.acquire() as connection:
        found: int = await connection.fetchval(
            f"SELECT count(*) FROM messaging.{table} WHERE conversation_id = $1",
            conversation_id,
        )
    return found


async def read_audit(broker: Client, corp_id: str, count: int) -> list[audit_pb2.AuditEntry]:
    """Wait for so many entries of a corp."""
    subscription = await broker.jetstream().subscribe(
        "tieline.messaging.v1.audit_recorded", ordered_consumer=True
    )
    entries: list[audit_pb2.AuditEntry] = []
    while len(entries) < count:
        message = await subscription.next_msg(timeout=TIMEOUT_S)
        entry = audit_pb2.AuditEntry.FromString(message.data)
        if entry.corp_id == corp_id:
            entries.append(entry)
    await subscription.unsubscribe()
    return entries
