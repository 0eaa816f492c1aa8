"""PaymentsService on the wire: translates, checks, runs one transaction, translates back."""

import secrets
from contextvars import copy_context

from tieline.api.payments.v1 import payments_pb2, payments_service_pb2, payments_service_pb2_grpc
from tieline.chassis.audit import PLATFORM_LOG, build_audit_event
from tieline.chassis.calls import current_principal
from tieline.chassis.fields import is_uuid
from tieline.chassis.grpc_context import Context
from tieline.chassis.idempotency import answered_once
from tieline.chassis.ids import new_uuid7
from tieline.chassis.outbox import insert_events
from tieline.chassis.postgres import Connection, Pool
from tieline.payments.deposits import Deposit, build_deposit_transfer, check_deposit
from tieline.payments.ledger import (
    CORP_ACCOUNT_ID,
    CURRENCY_CODE,
    Transfer,
    TransferKind,
    principal_account_id,
    red_packet_account_id,
)
from tieline.payments.messages import build_created_event, to_red_packet, to_share
from tieline.payments.openings import Openings
from tieline.payments.participation import Participation
from tieline.payments.red_packets import (
    Opener,
    Opening,
    RedPacketIntent,
    check_intent,
    red_packet_not_found_error,
)
from tieline.payments.repositories import SCHEMA
from tieline.payments.repositories.ledger import LedgerRepository
from tieline.payments.repositories.red_packets import RedPacketRepository
from tieline.payments.split import SEED_BYTES, split_amount


class PaymentsServicer(payments_service_pb2_grpc.PaymentsServiceServicer):
    """Answers the calls of payments."""

    def __init__(self, pool: Pool, participation: Participation, openings: Openings) -> None:
        self._pool = pool
        self._participation = participation
        self._openings = openings

    async def CreateDeposit(
        self, request: payments_service_pb2.CreateDepositRequest, context: Context
    ) -> payments_service_pb2.CreateDepositResponse:
        """Credit a corp's account, at most once per ``request_id``."""
        principal = current_principal()
        corp_id = principal.require_corp(request.corp_id)
        deposit = Deposit(
            amount_minor=request.amount_minor,
            currency_code=request.currency_code,
            bank_reference=request.bank_reference,
        )
        check_deposit(deposit)

        async def act(connection: Connection) -> payments_service_pb2.CreateDepositResponse:
            business_key = f"{principal.id}/{request.request_id.lower()}"
            transfer = build_deposit_transfer(deposit, business_key)
            accounts = await LedgerRepository(connection, corp_id).post([transfer])
            balance_minor = accounts[CORP_ACCOUNT_ID].balance_minor
            await _record_deposit(connection, corp_id, deposit, transfer.transfer_id)
            return payments_service_pb2.CreateDepositResponse(balance_minor=balance_minor)

        return await answered_once(
            self._pool,
            SCHEMA,
            request,
            payments_service_pb2.CreateDepositResponse,
            act,
            corp_id=corp_id,
        )

    async def GetBalance(
        self, request: payments_service_pb2.GetBalanceRequest, context: Context
    ) -> payments_service_pb2.GetBalanceResponse:
        """Return what the caller's account holds; an administrator's is the corp's."""
        principal = current_principal()
        corp_id = principal.require_corp(request.corp_id)
        if principal.is_corp_administrator:
            account_id = CORP_ACCOUNT_ID
        else:
            account_id = principal_account_id(principal.kind, principal.id)
        async with self._pool.acquire() as connection:
            balance_minor = await LedgerRepository(connection, corp_id).get_balance(account_id)
        return payments_service_pb2.GetBalanceResponse(
            balance_minor=balance_minor, currency_code=CURRENCY_CODE
        )

    async def CreateRedPacket(
        self, request: payments_service_pb2.CreateRedPacketRequest, context: Context
    ) -> payments_service_pb2.CreateRedPacketResponse:
        """Set money of the corp aside, at most once per ``request_id``."""
        principal = current_principal()
        corp_id = principal.require_corp(request.corp_id)
        intent = RedPacketIntent(
            conversation_id=request.conversation_id,
            amount_minor=request.amount_minor,
            currency_code=request.currency_code,
            share_count=request.share_count,
            greeting=request.greeting,
        )
        check_intent(intent)

        async def check_sender() -> None:
            sender = Opener(principal.kind, principal.id)
            await self._participation.check_giving(corp_id, sender, intent)

        async def act(connection: Connection) -> payments_service_pb2.CreateRedPacketResponse:
            packet = await _create_red_packet(connection, corp_id, principal.id, intent)
            return payments_service_pb2.CreateRedPacketResponse(red_packet=packet)

        return await answered_once(
            self._pool,
            SCHEMA,
            request,
            payments_service_pb2.CreateRedPacketResponse,
            act,
            corp_id=corp_id,
            prepare=check_sender,
        )

    async def OpenRedPacket(
        self, request: payments_service_pb2.OpenRedPacketRequest, context: Context
    ) -> payments_service_pb2.OpenRedPacketResponse:
        """Give the caller a share, or the one that the caller has."""
        share = await self._openings.open(_read_opening(request.corp_id, request.red_packet_id))
        return payments_service_pb2.OpenRedPacketResponse(share=to_share(share))

    async def GetRedPacket(
        self, request: payments_service_pb2.GetRedPacketRequest, context: Context
    ) -> payments_service_pb2.GetRedPacketResponse:
        """Return a packet and its opened shares to a participant."""
        opening = _read_opening(request.corp_id, request.red_packet_id)
        packet = await self._openings.get_visible_packet(opening)
        async with self._pool.acquire() as connection:
            repository = RedPacketRepository(connection, opening.corp_id)
            shares = await repository.list_shares(packet.red_packet_id)
        return payments_service_pb2.GetRedPacketResponse(
            red_packet=to_red_packet(packet, shares), shares=map(to_share, shares)
        )

    async def CheckLedger(
        self, request: payments_service_pb2.CheckLedgerRequest, context: Context
    ) -> payments_service_pb2.CheckLedgerResponse:
        """Add the corp's whole ledger up anew, as it is at one moment."""
        corp_id = current_principal().require_corp(request.corp_id)
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            totals = await LedgerRepository(connection, corp_id).add_up()
        return payments_service_pb2.CheckLedgerResponse(
            transfer_count=totals.transfer_count,
            account_count=totals.account_count,
            posting_sum_minor=totals.posting_sum_minor,
            wrong_account_ids=totals.wrong_account_ids,
            balanced=totals.is_balanced,
        )


async def _record_deposit(
    connection: Connection, corp_id: str, deposit: Deposit, transfer_id: str
) -> None:
    """Write down who made money: for the corp, and for whoever runs the deployment."""
    details = {
        "amount_minor": str(deposit.amount_minor),
        "currency_code": deposit.currency_code,
        "bank_reference": deposit.bank_reference,
    }
    entries = [
        await build_audit_event(
            connection,
            SCHEMA,
            corp_id=log,
            action=f"{SCHEMA}.deposit.create",
            resource=f"transfers/{transfer_id}",
            details=details if log else {"corp_id": corp_id, **details},
        )
        for log in (PLATFORM_LOG, corp_id)
    ]
    await insert_events(connection, SCHEMA, entries)


async def _create_red_packet(
    connection: Connection, corp_id: str, sender_user_id: str, intent: RedPacketIntent
) -> payments_pb2.RedPacket:
    """Split the amount, move it into the packet's account, store and tell of the packet."""
    seed = secrets.token_bytes(SEED_BYTES)
    red_packet_id = new_uuid7()
    packet = await RedPacketRepository(connection, corp_id).insert_red_packet(
        red_packet_id,
        sender_user_id,
        intent,
        seed,
        split_amount(seed, intent.amount_minor, intent.share_count),
    )
    transfer = Transfer(
        transfer_id=new_uuid7(),
        kind=TransferKind.RED_PACKET_CREATED,
        business_key=red_packet_id,
        debit_account_id=CORP_ACCOUNT_ID,
        credit_account_id=red_packet_account_id(red_packet_id),
        amount_minor=intent.amount_minor,
    )
    await LedgerRepository(connection, corp_id).post([transfer])
    message = to_red_packet(packet, [])
    entry = await build_audit_event(
        connection,
        SCHEMA,
        corp_id=corp_id,
        action=f"{SCHEMA}.red_packet.create",
        resource=f"redPackets/{red_packet_id}",
        details={
            "amount_minor": str(intent.amount_minor),
            "currency_code": intent.currency_code,
            "conversation_id": intent.conversation_id,
        },
    )
    await insert_events(connection, SCHEMA, [build_created_event(corp_id, message), entry])
    return message


def _read_opening(corp_id: str, red_packet_id: str) -> Opening:
    """Return what the caller wants of a packet; what is no UUID names none."""
    principal = current_principal()
    corp_id = principal.require_corp(corp_id)
    # In one spelling: the shares of a packet are held under it.
    red_packet_id = red_packet_id.lower()
    if not is_uuid(red_packet_id):
        raise red_packet_not_found_error(red_packet_id)
    return Opening(
        corp_id, red_packet_id, Opener(principal.kind, principal.id), cause=copy_context()
    )
