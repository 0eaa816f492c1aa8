"""Deposits and balances, and who may see them."""

import asyncio

import grpc
import pytest

from calls import call, refusal
from fakes.eventually import eventually
from integration.payments.corp import Corp
from published_events import published_events
from tieline.api.common.v1 import audit_pb2, principal_pb2
from tieline.api.payments.v1 import payments_service_pb2
from tieline.chassis.ids import new_corp_id, new_uuid7
from tieline.embedded.nats import EmbeddedNats


async def test_deposit_is_what_the_corp_holds(corp: Corp) -> None:
    first = await corp.deposit(500)
    second = await corp.deposit(250)

    assert (first, second) == (500, 750)
    assert await corp.balance(corp.administrator) == 750


async def test_repeated_deposit_is_paid_in_once(corp: Corp) -> None:
    same_request = corp.deposit_request(500)

    responses = await asyncio.gather(
        *(call(corp.payments.CreateDeposit, same_request, corp.tokens.platform()) for _ in range(4))
    )
    await corp.deposit(1)
    late = await call(corp.payments.CreateDeposit, same_request, corp.tokens.platform())

    assert {response.balance_minor for response in [*responses, late]} == {500}
    assert await corp.balance(corp.administrator) == 501


async def test_deposit_under_a_used_request_id_is_refused(corp: Corp) -> None:
    request_id = new_uuid7()
    platform = corp.tokens.platform()
    await call(
        corp.payments.CreateDeposit, corp.deposit_request(500, request_id=request_id), platform
    )

    error = await refusal(
        corp.payments.CreateDeposit, corp.deposit_request(501, request_id=request_id), platform
    )

    assert (error.code, error.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "REQUEST_ID_REUSED",
    )
    assert await corp.balance(corp.administrator) == 500


async def test_impossible_deposit_names_every_wrong_field(corp: Corp) -> None:
    error = await refusal(
        corp.payments.CreateDeposit,
        corp.deposit_request(0, currency_code="EUR", bank_reference=""),
        corp.tokens.platform(),
    )

    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert set(error.violations) == {"amount_minor", "currency_code", "bank_reference"}


async def test_deposit_without_a_request_id_is_refused(corp: Corp) -> None:
    error = await refusal(
        corp.payments.CreateDeposit,
        corp.deposit_request(1, request_id="again"),
        corp.tokens.platform(),
    )

    assert set(error.violations) == {"request_id"}
    assert await corp.balance(corp.administrator) == 0


async def test_corp_can_not_pay_in_by_itself(corp: Corp) -> None:
    error = await refusal(
        corp.payments.CreateDeposit, corp.deposit_request(500), corp.administrator
    )

    assert error.code is grpc.StatusCode.PERMISSION_DENIED


async def test_everybody_sees_the_own_balance_alone(corp: Corp) -> None:
    packet = await corp.send(70, 1)
    await corp.deposit(30)
    customer = corp.customer()
    member = corp.tokens.member(corp.corp_id, "li.wei")
    await corp.open(packet, customer)

    assert await corp.balance(corp.administrator) == 30
    assert await corp.balance(customer) == 70
    assert await corp.balance(member) == 0
    assert await corp.balance(corp.customer()) == 0


async def test_members_of_other_corps_learn_nothing(corp: Corp) -> None:
    packet = await corp.send(70, 1)
    stranger = corp.tokens.administrator(new_corp_id())
    get = payments_service_pb2.GetRedPacketRequest(
        corp_id=corp.corp_id, red_packet_id=packet.red_packet_id
    )

    for method, request in (
        (corp.payments.GetBalance, payments_service_pb2.GetBalanceRequest(corp_id=corp.corp_id)),
        (corp.payments.CheckLedger, payments_service_pb2.CheckLedgerRequest(corp_id=corp.corp_id)),
        (corp.payments.CreateRedPacket, corp.packet_request(1, 1, corp_id=corp.corp_id)),
        (corp.payments.OpenRedPacket, corp.open_request(packet)),
        (corp.payments.GetRedPacket, get),
    ):
        error = await refusal(method, request, stranger)
        assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "CORP_NOT_FOUND")

    # Nor by the packet's id in the own corp.
    own = payments_service_pb2.OpenRedPacketRequest(red_packet_id=packet.red_packet_id)
    error = await refusal(corp.payments.OpenRedPacket, own, stranger)
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "RED_PACKET_NOT_FOUND")


@pytest.mark.parametrize("corp_id", ["ww\x00", "w" * 100_000], ids=["NUL", "very long"])
async def test_what_can_not_be_a_corp_is_not_found(corp: Corp, corp_id: str) -> None:
    balance = payments_service_pb2.GetBalanceRequest(corp_id=corp_id)
    opening = payments_service_pb2.OpenRedPacketRequest(corp_id=corp_id, red_packet_id=new_uuid7())

    for method, request in (
        (corp.payments.GetBalance, balance),
        (corp.payments.OpenRedPacket, opening),
    ):
        error = await refusal(method, request, corp.customer())
        assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "CORP_NOT_FOUND")


async def test_money_that_is_made_or_set_aside_stands_in_the_audit_log(
    corp: Corp, payments_nats: EmbeddedNats
) -> None:
    request = corp.deposit_request(500)
    for _ in range(2):
        await call(corp.payments.CreateDeposit, request, corp.tokens.platform())
    packet_request = corp.packet_request(300, 2)
    await call(corp.payments.CreateRedPacket, packet_request, corp.administrator)
    await refusal(corp.payments.CreateRedPacket, corp.packet_request(300, 2), corp.administrator)

    found = await published_events(payments_nats, "PAYMENTS", f"audit/{corp.corp_id}", 2)

    entries = [audit_pb2.AuditEntry.FromString(payload) for _, payload in found]
    deposited, packed = entries
    assert (deposited.corp_id, deposited.action) == (corp.corp_id, "payments.deposit.create")
    assert deposited.actor.kind == principal_pb2.PRINCIPAL_KIND_PLATFORM_ADMINISTRATOR
    assert deposited.details == {
        "amount_minor": "500",
        "currency_code": "CNY",
        "bank_reference": request.bank_reference,
    }
    assert (packed.action, packed.actor.id) == ("payments.red_packet.create", "admin")
    assert packed.details["amount_minor"] == "300"

    async def is_in_the_platforms_log() -> bool:
        platform = await published_events(payments_nats, "PAYMENTS", "audit/", 1)
        return corp.corp_id in {
            audit_pb2.AuditEntry.FromString(payload).details["corp_id"] for _, payload in platform
        }

    await eventually(is_in_the_platforms_log)
