"""Opening red packets: once each, by those who may, until they are empty."""

import asyncio
import hashlib
import uuid
from typing import Any

import asyncpg
import grpc
import pytest

from calls import call, refusal
from integration.payments.corp import Corp, Stub
from published_events import published_events, published_messages
from tieline.api.payments.v1 import payments_pb2, payments_service_pb2
from tieline.chassis.ids import new_customer_id
from tieline.embedded.nats import EmbeddedNats
from tieline.payments.split import split_amount


async def test_opener_gets_a_share_once(corp: Corp) -> None:
    packet = await corp.send(600, 3)
    customer = corp.customer("wmfirst")

    first = await corp.open(packet, customer)
    again = await corp.open(packet, customer)

    assert again == first
    assert first.opener.id == "wmfirst"
    assert await corp.balance(customer) == first.amount_minor
    got = await corp.get(packet)
    assert list(got.shares) == [first]
    assert got.red_packet.opened_count == 1
    assert got.red_packet.opened_amount_minor == first.amount_minor


async def test_member_may_open_too(corp: Corp) -> None:
    packet = await corp.send(600, 1)
    corp.participants.admit(corp.corp_id, corp.conversation_id, "li.wei")
    member = corp.tokens.member(corp.corp_id, "li.wei")
    request = payments_service_pb2.OpenRedPacketRequest(red_packet_id=packet.red_packet_id)

    response = await call(corp.payments.OpenRedPacket, request, member)

    assert response.share.amount_minor == 600
    assert await corp.balance(member) == 600


async def test_seed_is_published_with_the_last_share_and_recomputes_the_split(corp: Corp) -> None:
    packet = await corp.send(600, 3)
    for left in (2, 1, 0):
        await corp.open(packet, corp.customer())
        assert bool((await corp.get(packet)).red_packet.split_seed) is (left == 0)

    got = await corp.get(packet)

    seed = got.red_packet.split_seed
    assert hashlib.sha256(seed).digest() == packet.split_commitment
    assert [share.amount_minor for share in got.shares] == split_amount(seed, 600, 3)


async def test_events_of_shares_opened_at_once_carry_their_own_openers_traces_on(
    corp: Corp, payments_nats: EmbeddedNats
) -> None:
    """One transaction may give out several."""
    packet = await corp.send(600, 3)
    traces = {f"wmtrace{number}": f"00-{str(number) * 32}-{'b' * 16}-00" for number in (1, 2, 3)}

    await asyncio.gather(
        *(
            corp.payments.OpenRedPacket(
                corp.open_request(packet),
                metadata=(
                    ("authorization", f"Bearer {corp.customer(customer_id)}"),
                    ("traceparent", traceparent),
                ),
                timeout=20,
            )
            for customer_id, traceparent in traces.items()
        )
    )

    key = packet.red_packet_id
    told = [
        (payments_pb2.RedPacketOpened.FromString(message.data), message.headers)
        for message in await published_messages(payments_nats, "PAYMENTS", key, 4)
        if message.subject.endswith("red_packet_opened")
    ]
    assert {event.share.opener.id: headers["traceparent"] for event, headers in told} == traces
    assert {int(headers["Tieline-Priority"]) // 128 for _, headers in told} == {1}


async def test_late_comer_is_refused_and_holders_still_get_their_share(corp: Corp) -> None:
    packet = await corp.send(600, 2)
    holders = [corp.customer(), corp.customer()]
    shares = [await corp.open(packet, holder) for holder in holders]

    # The first refusal comes from the database, the later ones from what the service remembers.
    for _ in range(3):
        error = await refusal(
            corp.payments.OpenRedPacket, corp.open_request(packet), corp.customer()
        )
        assert (error.code, error.reason) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "RED_PACKET_EMPTY",
        )
        assert error.metadata == {"redPacketId": packet.red_packet_id}
        assert [await corp.open(packet, holder) for holder in holders] == shares


async def test_late_comers_do_not_reach_the_database(
    corp: Corp, admin_connection: asyncpg.Connection
) -> None:
    packet = await corp.send(600, 1)
    holder = corp.customer()
    share = await corp.open(packet, holder)
    await refusal(corp.payments.OpenRedPacket, corp.open_request(packet), corp.customer())

    # With the tables locked against everybody, only who needs no table gets an answer.
    async with admin_connection.transaction():
        await admin_connection.execute(
            "LOCK TABLE payments.red_packets, payments.red_packet_shares IN ACCESS EXCLUSIVE MODE"
        )
        error = await refusal(
            corp.payments.OpenRedPacket, corp.open_request(packet), corp.customer()
        )
        again = await corp.open(packet, holder)

    assert error.reason == "RED_PACKET_EMPTY"
    assert again == share


async def test_who_is_not_in_the_conversation_does_not_learn_that_a_packet_is_there(
    corp: Corp,
) -> None:
    packet = await corp.send(600, 1)
    stranger = corp.tokens.customer(new_customer_id())
    get = payments_service_pb2.GetRedPacketRequest(
        corp_id=corp.corp_id, red_packet_id=packet.red_packet_id
    )

    async def refused_reasons() -> set[str]:
        errors = [
            await refusal(corp.payments.OpenRedPacket, corp.open_request(packet), stranger),
            await refusal(corp.payments.GetRedPacket, get, stranger),
        ]
        assert {error.code for error in errors} == {grpc.StatusCode.NOT_FOUND}
        return {error.reason for error in errors}

    assert await refused_reasons() == {"RED_PACKET_NOT_FOUND"}
    await corp.open(packet, corp.customer())
    await refusal(corp.payments.OpenRedPacket, corp.open_request(packet), corp.customer())
    # Emptied and remembered: still the same answer.
    assert await refused_reasons() == {"RED_PACKET_NOT_FOUND"}


async def test_who_was_removed_can_not_open_any_more(corp: Corp) -> None:
    packet = await corp.send(600, 3)
    customer = corp.customer("wmgone")
    await corp.open(packet, customer)
    corp.participants.remove(corp.corp_id, corp.conversation_id, "wmgone")

    error = await refusal(corp.payments.OpenRedPacket, corp.open_request(packet), customer)

    assert error.reason == "RED_PACKET_NOT_FOUND"


@pytest.mark.parametrize(
    "red_packet_id",
    [
        pytest.param("", id="empty"),
        pytest.param("\x00", id="NUL"),
        pytest.param("1" * 100_000, id="very long"),
        pytest.param("{018f3d2e-7c1a-7b6e-9f00-3a5b8c2d1e4f}", id="UUID in braces"),
        pytest.param(str(uuid.UUID(int=1)), id="UUID of no packet"),
    ],
)
async def test_id_of_no_packet_is_not_found(corp: Corp, red_packet_id: str) -> None:
    request = payments_service_pb2.OpenRedPacketRequest(
        corp_id=corp.corp_id, red_packet_id=red_packet_id
    )

    error = await refusal(corp.payments.OpenRedPacket, request, corp.customer())

    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "RED_PACKET_NOT_FOUND")


async def test_spelling_of_an_id_does_not_give_a_second_share(corp: Corp) -> None:
    packet = await corp.send(600, 3)
    customer = corp.customer()
    share = await corp.open(packet, customer)

    packet.red_packet_id = packet.red_packet_id.upper()

    assert await corp.open(packet, customer) == share


async def test_packet_of_50_opened_by_80_at_once_on_two_replicas_pays_50(
    corp: Corp, replicas: list[Stub]
) -> None:
    packet = await corp.send(20_000, 50)
    openers = [corp.customer() for _ in range(80)]
    request = corp.open_request(packet)

    async def open_(number: int) -> Any:
        response = await call(replicas[number % 2].OpenRedPacket, request, openers[number])
        return response.share

    # Each opener three times: as impatient people tap.
    taps = [number for number in range(80) for _ in range(3)]
    results = await asyncio.gather(*(open_(number) for number in taps), return_exceptions=True)

    by_opener: dict[int, list[Any]] = {}
    for number, result in zip(taps, results, strict=True):
        by_opener.setdefault(number, []).append(result)
    winners = {
        number: answers[0]
        for number, answers in by_opener.items()
        if not isinstance(answers[0], BaseException)
    }
    assert len(winners) == 50
    for number, answers in by_opener.items():
        if number in winners:
            assert answers == [winners[number]] * 3
        else:
            reasons = [getattr(answer, "reason", answer) for answer in answers]
            assert reasons == ["RED_PACKET_EMPTY"] * 3
    assert sum(share.amount_minor for share in winners.values()) == 20_000

    got = await corp.get(packet)
    assert [share.amount_minor for share in got.shares] == split_amount(
        got.red_packet.split_seed, 20_000, 50
    )
    times = [share.open_time.ToNanoseconds() for share in got.shares]
    assert times == sorted(times)
    balances = await asyncio.gather(*(corp.balance(openers[number]) for number in winners))
    assert sum(balances) == 20_000
    assert await corp.balance(corp.administrator) == 0
    ledger = await corp.check()
    assert ledger.balanced
    # A deposit, a packet, 50 shares; the bank, the corp, the packet, 50 customers.
    assert (ledger.transfer_count, ledger.account_count) == (52, 53)


async def test_many_packets_opened_at_once_by_the_same_people_lose_nothing(
    corp: Corp, replicas: list[Stub]
) -> None:
    packets = [await corp.send(100, 5) for _ in range(6)]
    openers = [corp.customer() for _ in range(5)]

    await asyncio.gather(
        *(
            call(replicas[(p + o) % 2].OpenRedPacket, corp.open_request(packet), opener)
            for p, packet in enumerate(packets)
            for o, opener in enumerate(openers)
        )
    )

    balances = [await corp.balance(opener) for opener in openers]
    assert sum(balances) == 600
    assert (await corp.check()).balanced


async def test_events_tell_of_the_packet_and_of_each_share_in_order(
    corp: Corp, payments_nats: EmbeddedNats
) -> None:
    packet = await corp.send(600, 2)
    shares = [await corp.open(packet, corp.customer()) for _ in range(2)]
    await corp.open(packet, corp.customer(shares[0].opener.id))

    events = await published_events(payments_nats, "PAYMENTS", packet.red_packet_id, 3)

    created = payments_pb2.RedPacketCreated.FromString(events[0][1])
    assert events[0][0] == "tieline.payments.v1.red_packet_created"
    assert created.red_packet == packet
    assert created.corp_id == corp.corp_id
    opened = [payments_pb2.RedPacketOpened.FromString(data) for _, data in events[1:]]
    assert [event.share for event in opened] == shares
    assert {event.red_packet_id for event in opened} == {packet.red_packet_id}


async def test_opening_that_was_rolled_back_leaves_the_packet_as_it_was(
    corp: Corp, admin_connection: asyncpg.Connection
) -> None:
    packet = await corp.send(600, 1)
    customers = [corp.customer(), corp.customer()]
    await admin_connection.execute(
        f"""
        CREATE FUNCTION payments.fail() RETURNS trigger LANGUAGE plpgsql
            AS $$ BEGIN RAISE 'the last statement of the transaction fails'; END $$;
        CREATE TRIGGER fail BEFORE INSERT ON payments.outbox FOR EACH ROW
            WHEN (new.corp_id = '{corp.corp_id}') EXECUTE FUNCTION payments.fail();
        """
    )
    try:
        errors = await asyncio.gather(
            *(
                refusal(corp.payments.OpenRedPacket, corp.open_request(packet), customer)
                for customer in customers
            )
        )
    finally:
        await admin_connection.execute(
            "DROP TRIGGER fail ON payments.outbox; DROP FUNCTION payments.fail()"
        )

    assert {error.code for error in errors} == {grpc.StatusCode.INTERNAL}
    assert (await corp.get(packet)).red_packet.opened_count == 0
    assert (await corp.check()).balanced
    assert (await corp.open(packet, customers[1])).amount_minor == 600
