"""A corp that pays in, sends red packets and checks its ledger through the public API."""

from dataclasses import dataclass
from typing import Any

from calls import call
from fakes.participants import FakeParticipants
from fakes.tokens import TestTokens
from tieline.api.payments.v1 import payments_pb2, payments_service_pb2, payments_service_pb2_grpc
from tieline.chassis.ids import new_customer_id, new_uuid7

Stub = payments_service_pb2_grpc.PaymentsServiceStub


@dataclass(frozen=True)
class Corp:
    """A corp with an administrator in one conversation."""

    payments: Stub
    tokens: TestTokens
    participants: FakeParticipants
    corp_id: str
    conversation_id: str

    @property
    def administrator(self) -> str:
        return self.tokens.administrator(self.corp_id)

    def customer(self, customer_id: str | None = None) -> str:
        """Return the token of a customer who is in the conversation."""
        customer_id = customer_id or new_customer_id()
        self.participants.admit(self.corp_id, self.conversation_id, customer_id)
        return self.tokens.customer(customer_id)

    def deposit_request(self, amount_minor: int, **changes: Any) -> Any:
        fields: dict[str, Any] = {
            "request_id": new_uuid7(),
            "corp_id": self.corp_id,
            "amount_minor": amount_minor,
            "currency_code": "CNY",
            "bank_reference": "transfer 7",
        }
        return payments_service_pb2.CreateDepositRequest(**{**fields, **changes})

    def packet_request(self, amount_minor: int, share_count: int, **changes: Any) -> Any:
        fields: dict[str, Any] = {
            "request_id": new_uuid7(),
            "conversation_id": self.conversation_id,
            "amount_minor": amount_minor,
            "currency_code": "CNY",
            "share_count": share_count,
            "greeting": "恭喜发财",
        }
        return payments_service_pb2.CreateRedPacketRequest(**{**fields, **changes})

    def open_request(self, packet: payments_pb2.RedPacket) -> Any:
        return payments_service_pb2.OpenRedPacketRequest(
            corp_id=self.corp_id, red_packet_id=packet.red_packet_id
        )

    async def deposit(self, amount_minor: int) -> int:
        response = await call(
            self.payments.CreateDeposit, self.deposit_request(amount_minor), self.tokens.platform()
        )
        return response.balance_minor

    async def send(self, amount_minor: int, share_count: int) -> payments_pb2.RedPacket:
        """Pay in what a packet needs, and send it."""
        await self.deposit(amount_minor)
        response = await call(
            self.payments.CreateRedPacket,
            self.packet_request(amount_minor, share_count),
            self.administrator,
        )
        return response.red_packet

    async def open(self, packet: payments_pb2.RedPacket, token: str) -> Any:
        response = await call(self.payments.OpenRedPacket, self.open_request(packet), token)
        return response.share

    async def get(self, packet: payments_pb2.RedPacket) -> Any:
        request = payments_service_pb2.GetRedPacketRequest(red_packet_id=packet.red_packet_id)
        return await call(self.payments.GetRedPacket, request, self.administrator)

    async def balance(self, token: str) -> int:
        request = payments_service_pb2.GetBalanceRequest(corp_id=self.corp_id)
        response = await call(self.payments.GetBalance, request, token)
        return response.balance_minor

    async def check(self) -> Any:
        request = payments_service_pb2.CheckLedgerRequest()
        return await call(self.payments.CheckLedger, request, self.administrator)
