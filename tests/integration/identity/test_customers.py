"""CreateChannel and SignInCustomer."""

import asyncio
import base64
import json
import time
import uuid

import grpc
from joserfc.jwk import OKPKey

from integration.identity.world import TIMEOUT_S, Channel, Identity, bearer, describe, refusal
from tieline.api.identity.v1 import identity_pb2, identity_service_pb2


def claims(session: identity_pb2.Session) -> dict[str, object]:
    payload = session.access_token.split(".")[1]
    decoded: dict[str, object] = json.loads(
        base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    )
    return decoded


def channel_request(**changes: object) -> identity_service_pb2.CreateChannelRequest:
    fields = {
        "request_id": str(uuid.uuid4()),
        "display_name": "Mini-program",
        "public_key": bytes(range(32)),
        **changes,
    }
    return identity_service_pb2.CreateChannelRequest(**fields)  # type: ignore[arg-type]


async def create_channel(
    identity: Identity, request: identity_service_pb2.CreateChannelRequest
) -> identity_pb2.Channel:
    response = await identity.stub.CreateChannel(
        request, metadata=identity.platform, timeout=TIMEOUT_S
    )
    return response.channel


async def test_a_repeated_channel_is_one_channel(identity: Identity) -> None:
    request = channel_request()

    first, *others = await asyncio.gather(*(create_channel(identity, request) for _ in range(4)))

    assert others == [first] * 3
    assert (first.display_name, first.public_key) == ("Mini-program", bytes(range(32)))
    request.display_name = "Other"
    assert (await refusal(create_channel(identity, request))).reason == "REQUEST_ID_REUSED"


async def test_a_channel_with_wrong_fields_is_refused(identity: Identity) -> None:
    error = await refusal(
        create_channel(identity, channel_request(display_name="", public_key=b"short"))
    )

    assert set(error.violations) == {"display_name", "public_key"}


async def test_a_customer_is_the_same_each_time_and_has_the_name_of_now(
    identity: Identity,
) -> None:
    channel = await identity.new_channel()

    first = await identity.sign_in_customer(channel.assertion())
    second = await identity.sign_in_customer(channel.assertion(name="陈女士"))

    assert first.customer_id == second.customer_id
    assert first.customer_id.startswith("wm")
    assert claims(second.session)["sub"] == first.customer_id
    assert claims(second.session)["kind"] == "customer"
    assert "corp" not in claims(second.session)
    assert claims(first.session)["name"] == "Ms Chen"
    refreshed = await identity.refresh(first.session.refresh_token)
    assert claims(refreshed)["name"] == "陈女士"


async def test_first_sign_ins_at_the_same_moment_make_one_customer(identity: Identity) -> None:
    channel = await identity.new_channel()

    responses = await asyncio.gather(
        *(identity.sign_in_customer(channel.assertion()) for _ in range(8))
    )

    assert len({response.customer_id for response in responses}) == 1
    assert len({response.session.session_id for response in responses}) == 8


async def test_eighty_customers_sign_in_at_the_same_moment(identity: Identity) -> None:
    channel = await identity.new_channel()

    responses = await asyncio.gather(
        *(identity.sign_in_customer(channel.assertion(f"openid-{i}")) for i in range(80))
    )

    assert len({response.customer_id for response in responses}) == 80


async def test_the_same_person_of_two_channels_is_two_customers(identity: Identity) -> None:
    channels = [await identity.new_channel(), await identity.new_channel()]

    responses = [await identity.sign_in_customer(channel.assertion()) for channel in channels]

    assert responses[0].customer_id != responses[1].customer_id


async def test_an_assertion_is_good_once_even_in_two_tasks(identity: Identity) -> None:
    channel = await identity.new_channel()
    assertion = channel.assertion()

    outcomes = await asyncio.gather(
        *(identity.sign_in_customer(assertion) for _ in range(4)), return_exceptions=True
    )

    assert sum(isinstance(outcome, grpc.aio.AioRpcError) for outcome in outcomes) == 3
    assert (await refusal(identity.sign_in_customer(assertion))).reason == "CREDENTIALS_REJECTED"


async def test_two_channels_may_use_the_same_jti(identity: Identity) -> None:
    channels = [await identity.new_channel(), await identity.new_channel()]

    for channel in channels:
        await identity.sign_in_customer(channel.assertion(jti="j1"))


async def test_an_assertion_that_is_not_its_channels_gets_one_answer(identity: Identity) -> None:
    channel, other = await identity.new_channel(), await identity.new_channel()
    forged = Channel(channel.channel_id, OKPKey.generate_key("Ed25519"))
    unknown = Channel(str(uuid.uuid4()), channel.key)

    errors = [
        await refusal(identity.sign_in_customer(text))
        for text in (
            "",
            "\x00",
            forged.assertion(),
            unknown.assertion(),
            channel.assertion(iss=other.channel_id),
            channel.assertion(aud="other"),
            channel.assertion(exp=int(time.time()) - 1),
            channel.assertion(exp=int(time.time()) + 600),
        )
    ]

    assert {error.code for error in errors} == {"UNAUTHENTICATED"}
    assert len({str(describe(error)) for error in errors}) == 1
    assert errors[0].reason == "CREDENTIALS_REJECTED"
    customers = await identity.execute(
        "SELECT 1 FROM identity.customers WHERE channel_id = ANY($1::text[])",
        [channel.channel_id, other.channel_id],
    )
    assert customers == []


async def test_a_customer_reads_no_corp(identity: Identity) -> None:
    corp = await identity.new_corp()
    channel = await identity.new_channel()
    customer = await identity.sign_in_customer(channel.assertion())

    error = await refusal(identity.get_corp(bearer(customer.session), corp.corp_id))

    assert (error.code, error.reason) == ("PERMISSION_DENIED", "CALLER_NOT_ALLOWED")
