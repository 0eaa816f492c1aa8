"""Whatever the way in, the session is listed with its device and with the client's address."""

import asyncio

from integration.identity.authenticators import enrol, next_code_of
from integration.identity.code_inbox import CodeInbox
from integration.identity.oidc_provider import OidcProvider
from integration.identity.test_one_time_codes import (
    member_with_mobile,
    new_mobile,
    request_code,
    request_customer_code,
)
from integration.identity.test_providers import begin as begin_provider
from integration.identity.test_providers import create as create_provider
from integration.identity.test_providers import provider, provider_fields
from integration.identity.test_qr_sign_in import decide, scan, watch
from integration.identity.test_sessions import list_sessions
from integration.identity.world import (
    PASSWORD,
    TIMEOUT_S,
    Identity,
    Metadata,
    bearer,
    from_address,
    refusal,
)
from tieline.api.identity.v1 import (
    customer_sign_in_service_pb2,
    identity_pb2,
    identity_service_pb2,
    member_sign_in_service_pb2,
    second_factor_service_pb2,
    session_pb2,
)

__all__ = ["provider"]  # a fixture

DEVICE = session_pb2.Device(
    name="李伟的手机 " + "📱" * 58, platform=session_pb2.DEVICE_PLATFORM_HARMONYOS
)
ADDRESS = "198.51.100.23"
FROM_THERE: Metadata = from_address(ADDRESS)


async def assert_listed(identity: Identity, session: identity_pb2.Session) -> None:
    """The session itself tells, so that no other one is meant."""
    listed = (await list_sessions(identity, bearer(session))).sessions
    [current] = [each for each in listed if each.current]
    assert (current.device, current.address) == (DEVICE, ADDRESS)


async def test_by_one_time_code(identity: Identity, code_inbox: CodeInbox) -> None:
    corp = await identity.new_corp()
    mobile = await member_with_mobile(identity, corp)
    code_id = await request_code(identity, corp.corp_id, mobile)

    response = await identity.sign_ins.SignInByCode(
        member_sign_in_service_pb2.SignInByCodeRequest(
            corp_id=corp.corp_id,
            code_id=code_id,
            code=await code_inbox.code_for(mobile),
            device=DEVICE,
        ),
        metadata=FROM_THERE,
        timeout=TIMEOUT_S,
    )

    await assert_listed(identity, response.session)


async def test_by_a_customers_one_time_code(identity: Identity, code_inbox: CodeInbox) -> None:
    mobile = new_mobile()
    code_id = await request_customer_code(identity, mobile)

    response = await identity.customer_sign_ins.SignInCustomerByCode(
        customer_sign_in_service_pb2.SignInCustomerByCodeRequest(
            code_id=code_id, code=await code_inbox.code_for(mobile), device=DEVICE
        ),
        metadata=FROM_THERE,
        timeout=TIMEOUT_S,
    )

    await assert_listed(identity, response.session)


async def test_by_a_provider(identity: Identity, provider: OidcProvider) -> None:
    corp = await identity.new_corp()
    identity.directory.members.add((corp.corp_id, "li.wei"))
    created = await create_provider(identity, corp.owner, provider_fields(provider.issuer))
    begun = await begin_provider(identity, corp.corp_id, created.provider_id)
    state, code = await provider.visit(begun.authorization_url, "s-1")

    response = await identity.sign_ins.CompleteProviderSignIn(
        member_sign_in_service_pb2.CompleteProviderSignInRequest(
            corp_id=corp.corp_id,
            state=state,
            code=code,
            flow_secret=begun.flow_secret,
            device=DEVICE,
        ),
        metadata=FROM_THERE,
        timeout=TIMEOUT_S,
    )

    await assert_listed(identity, response.session)


async def test_by_qr_code(identity: Identity) -> None:
    corp = await identity.new_corp()
    begun = await identity.sign_ins.BeginQrSignIn(
        member_sign_in_service_pb2.BeginQrSignInRequest(
            device_name=DEVICE.name, device_platform=DEVICE.platform
        ),
        metadata=FROM_THERE,
        timeout=TIMEOUT_S,
    )
    watching = asyncio.ensure_future(watch(identity, begun))

    seen = await scan(identity, corp.owner, begun.qr_id)
    await decide(identity, corp.owner, begun.qr_id, approved=True)
    session = (await watching)[-1].session

    assert (seen.device_name, seen.device_platform) == (DEVICE.name, DEVICE.platform)
    listed = (await list_sessions(identity, bearer(session))).sessions
    assert [each.device for each in listed if each.current] == [DEVICE]


async def test_by_password_and_second_factor(identity: Identity) -> None:
    corp = await identity.new_corp()
    secret, _ = await enrol(identity, corp.owner)
    asked = await identity.stub.SignInMember(
        identity_service_pb2.SignInMemberRequest(
            corp_id=corp.corp_id, user_id="boss", password=PASSWORD, device=DEVICE
        ),
        timeout=TIMEOUT_S,
    )

    response = await identity.second_factors.CompleteSecondFactor(
        second_factor_service_pb2.CompleteSecondFactorRequest(
            challenge=asked.second_factor_challenge.challenge, code=next_code_of(secret)
        ),
        metadata=FROM_THERE,
        timeout=TIMEOUT_S,
    )

    await assert_listed(identity, response.session)


async def test_a_device_that_can_not_be_shown_is_refused_before_the_code_is_used_up(
    identity: Identity, code_inbox: CodeInbox
) -> None:
    corp = await identity.new_corp()
    mobile = await member_with_mobile(identity, corp)
    request = member_sign_in_service_pb2.SignInByCodeRequest(
        corp_id=corp.corp_id,
        code_id=await request_code(identity, corp.corp_id, mobile),
        code=await code_inbox.code_for(mobile),
        device=session_pb2.Device(name="x" * 65),
    )

    error = await refusal(
        identity.sign_ins.SignInByCode(request, metadata=FROM_THERE, timeout=TIMEOUT_S)
    )

    assert (error.reason, list(error.violations)) == ("INVALID_FIELD", ["device.name"])
    request.device.CopyFrom(DEVICE)
    response = await identity.sign_ins.SignInByCode(request, metadata=FROM_THERE, timeout=TIMEOUT_S)
    await assert_listed(identity, response.session)
