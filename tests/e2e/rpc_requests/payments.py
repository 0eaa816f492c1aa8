"""How payments's methods are called with the ids of a world's corp."""

from e2e.rpc_requests.world import Request, new_id
from tieline.api.payments.v1 import payments_service_pb2 as payments

MODULES = (payments,)


REQUESTS: dict[str, Request] = {
    "PaymentsService.CreateDeposit": lambda w: payments.CreateDepositRequest(
        request_id=new_id(),
        corp_id=w.corp_id,
        amount_minor=1,
        currency_code="CNY",
        bank_reference="reference",
    ),
    "PaymentsService.GetBalance": lambda w: payments.GetBalanceRequest(corp_id=w.corp_id),
    "PaymentsService.CreateRedPacket": lambda w: payments.CreateRedPacketRequest(
        request_id=new_id(),
        corp_id=w.corp_id,
        conversation_id=w.conversation_id,
        amount_minor=100,
        currency_code="CNY",
        share_count=1,
    ),
    "PaymentsService.OpenRedPacket": lambda w: payments.OpenRedPacketRequest(
        corp_id=w.corp_id, red_packet_id=w.red_packet_id
    ),
    "PaymentsService.GetRedPacket": lambda w: payments.GetRedPacketRequest(
        corp_id=w.corp_id, red_packet_id=w.red_packet_id
    ),
    "PaymentsService.CheckLedger": lambda w: payments.CheckLedgerRequest(corp_id=w.corp_id),
}
