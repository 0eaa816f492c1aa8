"""Act five: 200 yuan for 50, opened by 80 at the same moment."""

import asyncio
import uuid

from tieline.api.messaging.v1 import messaging_pb2, messaging_service_pb2
from tieline.api.payments.v1 import payments_pb2, payments_service_pb2
from tieline.client import SignedInCustomer, TielineError
from tieline.demo import checks
from tieline.demo.checks import Opening
from tieline.demo.customers import Club
from tieline.demo.onboarding import Corp
from tieline.demo.stage import Stage, together

CURRENCY = "CNY"
DEPOSIT_MINOR = 1_000_000
GREETING = "店庆快乐"


async def give_red_packet(stage: Stage, corp: Corp, club: Club) -> None:
    """Pay in, send the packet, have everybody open it twice, and add everything up."""
    await _deposit(stage, corp)
    packet = await _send_packet(stage, corp, club)
    with stage.journal.step("customers opened the red packet at once") as step:
        openings = await _open_at_once(club, corp.corp_id, packet.red_packet_id)
        step.count = len(openings)
    with stage.journal.step("opened it once more") as step:
        again = await _open_at_once(club, corp.corp_id, packet.red_packet_id)
        step.count = len(again)
    _promise_shares(stage, openings, again)
    await _promise_packet(stage, corp, packet.red_packet_id, openings)
    await _promise_balances(stage, corp, club, openings)
    await _promise_ledger(stage, corp)


async def _deposit(stage: Stage, corp: Corp) -> None:
    with stage.journal.step("deposits of the corp") as step:
        await stage.administrator.payments.CreateDeposit(
            payments_service_pb2.CreateDepositRequest(
                corp_id=corp.corp_id,
                amount_minor=DEPOSIT_MINOR,
                currency_code=CURRENCY,
                bank_reference=f"demo {uuid.uuid4()}",
            )
        )
        step.count = 1


async def _send_packet(stage: Stage, corp: Corp, club: Club) -> payments_pb2.RedPacket:
    with stage.journal.step("red packets sent") as step:
        created = await corp.owner.payments.CreateRedPacket(
            payments_service_pb2.CreateRedPacketRequest(
                conversation_id=club.conversation_id,
                amount_minor=stage.scale.packet_minor,
                currency_code=CURRENCY,
                share_count=stage.scale.share_count,
                greeting=GREETING,
            )
        )
        content = messaging_pb2.RedPacketContent(
            red_packet_id=created.red_packet.red_packet_id, greeting=GREETING
        )
        await corp.owner.messaging.SendMessage(
            messaging_service_pb2.SendMessageRequest(
                conversation_id=club.conversation_id,
                content=messaging_pb2.MessageContent(red_packet=content),
            )
        )
        step.count = 1
    return created.red_packet


async def _open_at_once(club: Club, corp_id: str, red_packet_id: str) -> list[Opening]:
    request = payments_service_pb2.OpenRedPacketRequest(
        corp_id=corp_id, red_packet_id=red_packet_id
    )
    everybody_is_ready = asyncio.Barrier(len(club.customers))

    async def open_packet(customer: SignedInCustomer) -> Opening:
        await everybody_is_ready.wait()
        try:
            response = await customer.payments.OpenRedPacket(request)
        except TielineError as error:
            if error.reason != "RED_PACKET_EMPTY":
                raise
            return Opening(customer.customer_id, None)
        return Opening(customer.customer_id, response.share.amount_minor)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(open_packet(customer)) for customer in club.customers]
    return [task.result() for task in tasks]


def _promise_shares(stage: Stage, openings: list[Opening], again: list[Opening]) -> None:
    scale = stage.scale
    wrong = checks.find_packet_errors(
        openings, amount_minor=scale.packet_minor, share_count=scale.share_count
    )
    empty = sum(opening.amount_minor is None for opening in openings)
    stage.promise(
        "the red packet adds up",
        wrong,
        f"{scale.share_count} shares, {scale.packet_minor:,} fen; {empty} found it empty",
    )
    stage.promise(
        "opening again changes nothing",
        checks.find_changed(openings, again),
        f"{len(again)} customers",
    )


async def _promise_packet(
    stage: Stage, corp: Corp, red_packet_id: str, openings: list[Opening]
) -> None:
    """Compare what the packet says of itself with what its openers got."""
    response = await corp.owner.payments.GetRedPacket(
        payments_service_pb2.GetRedPacketRequest(red_packet_id=red_packet_id)
    )
    told = {opening.customer_id: opening.amount_minor for opening in openings}
    listed = {share.opener.id: share.amount_minor for share in response.shares}
    got = {customer_id: amount for customer_id, amount in told.items() if amount is not None}
    stage.promise(
        "the packet lists its openers",
        "" if listed == got else f"{len(listed)} openers listed, {len(got)} got a share",
        f"{len(listed)} openers",
    )


async def _promise_balances(stage: Stage, corp: Corp, club: Club, openings: list[Opening]) -> None:
    request = payments_service_pb2.GetBalanceRequest(corp_id=corp.corp_id)
    responses = await together(customer.payments.GetBalance(request) for customer in club.customers)
    balances = {
        customer.customer_id: response.balance_minor
        for customer, response in zip(club.customers, responses, strict=True)
    }
    wrong = checks.find_balance_errors(openings, balances)
    own = await corp.owner.payments.GetBalance(payments_service_pb2.GetBalanceRequest())
    if own.balance_minor != DEPOSIT_MINOR - stage.scale.packet_minor:
        wrong = wrong or f"the corp holds {own.balance_minor:,} fen"
    stage.promise(
        "balances are what was received",
        wrong,
        f"{sum(balances.values()):,} fen with customers, {own.balance_minor:,} with the corp",
    )


async def _promise_ledger(stage: Stage, corp: Corp) -> None:
    ledger = await corp.owner.payments.CheckLedger(payments_service_pb2.CheckLedgerRequest())
    wrong = "" if ledger.balanced else f"postings add up to {ledger.posting_sum_minor} fen"
    if ledger.wrong_account_ids:
        wrong = f"{len(ledger.wrong_account_ids)} accounts are wrong"
    stage.promise(
        "the ledger balances",
        wrong,
        f"{ledger.transfer_count} transfers between {ledger.account_count} accounts",
    )
