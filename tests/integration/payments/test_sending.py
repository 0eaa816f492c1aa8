"""Sending red packets."""

import asyncio

import grpc
from nats.aio.client import Client

from calls import call, refusal
from fakes.participants import FakeParticipants
from fakes.tokens import TestTokens
from integration.payments.corp import Corp, Stub
from tieline.chassis.ids import new_corp_id, new_customer_group_id
from tieline.client.errors import TielineError


async def test_new_packet_sets_its_money_aside_and_shows_no_seed(corp: Corp) -> None:
    await corp.deposit(1000)
    request = corp.packet_request(600, 3)

    response = await call(corp.payments.CreateRedPacket, request, corp.administrator)

    packet = response.red_packet
    assert await corp.balance(corp.administrator) == 400
    assert (packet.amount_minor, packet.share_count, packet.opened_count) == (600, 3, 0)
    assert (packet.sender_user_id, packet.greeting) == ("admin", "恭喜发财")
    assert packet.conversation_id == corp.conversation_id
    assert len(packet.split_commitment) == 32
    assert packet.split_seed == b""
    assert (await corp.get(packet)).red_packet == packet
    assert (await corp.check()).balanced


async def test_repeated_packet_is_sent_once(corp: Corp) -> None:
    await corp.deposit(1000)
    same_request = corp.packet_request(600, 3)

    responses = await asyncio.gather(
        *(call(corp.payments.CreateRedPacket, same_request, corp.administrator) for _ in range(4))
    )

    assert len({response.red_packet.red_packet_id for response in responses}) == 1
    assert await corp.balance(corp.administrator) == 400


async def test_repeat_gets_the_first_packet_even_from_who_has_left(corp: Corp) -> None:
    await corp.deposit(600)
    same_request = corp.packet_request(600, 3)
    first = await call(corp.payments.CreateRedPacket, same_request, corp.administrator)
    corp.participants.remove(corp.corp_id, corp.conversation_id, "admin")

    second = await call(corp.payments.CreateRedPacket, same_request, corp.administrator)

    assert second == first


async def test_repeat_gets_the_first_packet_even_while_messaging_is_away(
    payments: Stub, tokens: TestTokens, messaging_broker: Client
) -> None:
    participants = FakeParticipants()
    corp = Corp(payments, tokens, participants, new_corp_id(), new_customer_group_id())
    participants.admit(corp.corp_id, corp.conversation_id, "admin")
    await corp.deposit(600)
    same_request = corp.packet_request(600, 3)
    async with participants.answering(messaging_broker):
        first = await call(corp.payments.CreateRedPacket, same_request, corp.administrator)

    second = await call(corp.payments.CreateRedPacket, same_request, corp.administrator)

    assert second == first


async def test_packet_beyond_the_balance_is_refused(corp: Corp) -> None:
    await corp.deposit(599)

    error = await refusal(
        corp.payments.CreateRedPacket, corp.packet_request(600, 3), corp.administrator
    )

    assert (error.code, error.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "INSUFFICIENT_FUNDS",
    )
    assert error.metadata == {"balanceMinor": "599", "amountMinor": "600"}
    assert await corp.balance(corp.administrator) == 599
    assert (await corp.check()).transfer_count == 1


async def test_packets_sent_at_once_never_spend_more_than_there_is(corp: Corp) -> None:
    await corp.deposit(1000)

    results = await asyncio.gather(
        *(
            call(corp.payments.CreateRedPacket, corp.packet_request(300, 3), corp.administrator)
            for _ in range(6)
        ),
        return_exceptions=True,
    )

    refused = [result for result in results if isinstance(result, TielineError)]
    assert [error.reason for error in refused] == ["INSUFFICIENT_FUNDS"] * 3
    assert await corp.balance(corp.administrator) == 100
    assert (await corp.check()).balanced


async def test_packet_for_a_conversation_of_others_is_refused(corp: Corp) -> None:
    await corp.deposit(600)

    error = await refusal(
        corp.payments.CreateRedPacket,
        corp.packet_request(600, 3, conversation_id="elsewhere"),
        corp.administrator,
    )

    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "CONVERSATION_NOT_FOUND")
    assert await corp.balance(corp.administrator) == 600


async def test_greeting_with_a_blocked_word_is_refused_before_money_is_set_aside(
    corp: Corp, participants: FakeParticipants
) -> None:
    """A packet of before is repeated all the same; who is not there learns of no words."""
    await corp.deposit(1200)
    of_before = corp.packet_request(600, 3, greeting="A lottery")
    first = await call(corp.payments.CreateRedPacket, of_before, corp.administrator)
    participants.blocked_word = "lottery"

    async def refused(**changes: str) -> str:
        request = corp.packet_request(600, 3, greeting="A lottery", **changes)
        error = await refusal(corp.payments.CreateRedPacket, request, corp.administrator)
        assert "lottery" not in str(error)
        return error.reason

    assert await refused() == "SENSITIVE_WORD"
    assert await refused(conversation_id="elsewhere") == "CONVERSATION_NOT_FOUND"
    assert await call(corp.payments.CreateRedPacket, of_before, corp.administrator) == first
    assert await corp.balance(corp.administrator) == 600
    assert (await corp.check()).balanced
    await call(corp.payments.CreateRedPacket, corp.packet_request(600, 3), corp.administrator)


async def test_impossible_packet_names_every_wrong_field(corp: Corp) -> None:
    error = await refusal(
        corp.payments.CreateRedPacket,
        corp.packet_request(20_001, 1, currency_code="EUR", greeting="x" * 129),
        corp.administrator,
    )

    assert set(error.violations) == {"amount_minor", "currency_code", "greeting"}


async def test_plain_member_can_not_spend_the_corps_money(corp: Corp) -> None:
    member = corp.tokens.member(corp.corp_id, "li.wei")

    error = await refusal(corp.payments.CreateRedPacket, corp.packet_request(600, 3), member)

    assert error.code is grpc.StatusCode.PERMISSION_DENIED


async def test_nothing_is_decided_while_messaging_is_away(
    payments: Stub, tokens: TestTokens
) -> None:
    corp = Corp(payments, tokens, FakeParticipants(), new_corp_id(), new_customer_group_id())
    await corp.deposit(600)

    error = await refusal(payments.CreateRedPacket, corp.packet_request(600, 3), corp.administrator)

    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE")
    assert error.metadata == {"service": "messaging"}
    assert error.retry_after_s
    assert await corp.balance(corp.administrator) == 600
