"""Puts the ways to sign in together: what of identity's composition is about them."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tieline.api.identity.v1 import (
    customer_sign_in_service_pb2,
    customer_sign_in_service_pb2_grpc,
    member_sign_in_service_pb2,
    member_sign_in_service_pb2_grpc,
    second_factor_service_pb2,
    second_factor_service_pb2_grpc,
    sign_in_provider_service_pb2,
    sign_in_provider_service_pb2_grpc,
)
from tieline.chassis.addresses import read_networks
from tieline.chassis.grpc_server import Served
from tieline.chassis.runtime import ServiceRuntime
from tieline.identity.audit.refusals import recording_refusals
from tieline.identity.keyring import Keyring
from tieline.identity.members import MemberLookup
from tieline.identity.one_time_codes.delivery import CodeQueue, CodeSender, delivering
from tieline.identity.one_time_codes.rules import OneTimeCodes
from tieline.identity.one_time_codes.senders import DevelopmentLogSender, WebhookSender
from tieline.identity.one_time_codes.sign_in import CodeSignIn
from tieline.identity.passwords.change import PasswordChange
from tieline.identity.passwords.hashing import PasswordPool
from tieline.identity.providers.client import ProviderClient
from tieline.identity.providers.guarded_http import GuardedClient
from tieline.identity.providers.servicer import SignInProviderServicer
from tieline.identity.providers.sign_in import ProviderSignIn
from tieline.identity.qr_codes.sign_in import QrSignIns
from tieline.identity.qr_codes.waiting import watching_qr_codes
from tieline.identity.sealing import Seal
from tieline.identity.second_factors.challenges import Challenges
from tieline.identity.second_factors.factors import SecondFactors
from tieline.identity.second_factors.servicer import SecondFactorServicer
from tieline.identity.sessions.issuer import SessionIssuer
from tieline.identity.settings import IdentitySettings
from tieline.identity.sign_in.attempts import Attempts
from tieline.identity.sign_in.customer_servicer import CustomerSignInServicer
from tieline.identity.sign_in.entrance import Entrance
from tieline.identity.sign_in.flows import SignIn
from tieline.identity.sign_in.member_servicer import MemberSignInServicer
from tieline.identity.sign_in.policies import build_platform_policy


@dataclass(frozen=True, slots=True)
class WaysIn:
    """The ways in, and the gRPC services of those beside the password."""

    sign_in: SignIn
    services: tuple[Served[Any], ...]


@asynccontextmanager
async def ways_in(
    settings: IdentitySettings,
    runtime: ServiceRuntime,
    keyring: Keyring,
    passwords: PasswordPool,
    issuer: SessionIssuer,
) -> AsyncIterator[WaysIn]:
    """Run what the ways in need in the background, within the block."""
    pool = runtime.pool
    attempts = Attempts(keyring.sign_in_tallies)
    challenges = Challenges(keyring.second_factor_challenges)
    platform_policy = build_platform_policy(
        requires_second_factor=settings.platform_second_factor_required
    )
    entrance = Entrance(issuer, challenges, platform_policy)
    members = MemberLookup(runtime.broker)
    codes = OneTimeCodes(keyring.one_time_codes)
    provider_seal = Seal(keyring.provider_seal)
    async with AsyncExitStack() as stack:
        refusals = await stack.enter_async_context(recording_refusals(pool))
        waiting = await stack.enter_async_context(watching_qr_codes(pool))
        http = GuardedClient(read_networks(settings.provider_networks))
        stack.push_async_callback(http.close)
        wake_sender = await _start_sender(stack, settings, runtime, codes, members)
        code_sign_in = CodeSignIn(
            pool, codes, attempts, entrance, issuer, passwords, refusals, wake_sender=wake_sender
        )
        member_sign_in = MemberSignInServicer(
            code_sign_in,
            PasswordChange(pool, passwords, attempts),
            ProviderSignIn(pool, ProviderClient(http), provider_seal, attempts, entrance, members),
            QrSignIns(pool, attempts, entrance, waiting),
        )
        second_factors = SecondFactors(
            pool,
            Seal(keyring.second_factor_seal),
            challenges,
            attempts,
            entrance,
            refusals,
            recovery_key=keyring.recovery_codes,
        )
        yield WaysIn(
            SignIn(pool, passwords, issuer, entrance, attempts, refusals),
            _serve(
                member_sign_in,
                CustomerSignInServicer(code_sign_in),
                SecondFactorServicer(pool, second_factors, platform_policy),
                SignInProviderServicer(pool, provider_seal, runtime.page_tokens),
            ),
        )


async def _start_sender(
    stack: AsyncExitStack,
    settings: IdentitySettings,
    runtime: ServiceRuntime,
    codes: OneTimeCodes,
    members: MemberLookup,
) -> Callable[[], None] | None:
    """Send codes until the stack is left; return what wakes the sender, None where it is off."""
    sender: CodeSender
    if settings.code_sender == "off":
        return None
    if settings.code_sender == "webhook":
        assert settings.code_webhook_secret is not None, "the settings were checked"
        webhook = WebhookSender(
            settings.code_webhook_url, settings.code_webhook_secret.get_secret_value()
        )
        stack.push_async_callback(webhook.close)
        sender = webhook
    else:
        sender = DevelopmentLogSender()
    queue = CodeQueue(runtime.pool, sender, codes, members.find_by_contact)
    await stack.enter_async_context(delivering(queue))
    return queue.wake


def _serve(
    member_sign_in: MemberSignInServicer,
    customer_sign_in: CustomerSignInServicer,
    second_factors: SecondFactorServicer,
    providers: SignInProviderServicer,
) -> tuple[Served[Any], ...]:
    return (
        Served(
            member_sign_in_service_pb2_grpc.add_MemberSignInServiceServicer_to_server,
            member_sign_in,
            member_sign_in_service_pb2.DESCRIPTOR.services_by_name["MemberSignInService"],
        ),
        Served(
            customer_sign_in_service_pb2_grpc.add_CustomerSignInServiceServicer_to_server,
            customer_sign_in,
            customer_sign_in_service_pb2.DESCRIPTOR.services_by_name["CustomerSignInService"],
        ),
        Served(
            second_factor_service_pb2_grpc.add_SecondFactorServiceServicer_to_server,
            second_factors,
            second_factor_service_pb2.DESCRIPTOR.services_by_name["SecondFactorService"],
        ),
        Served(
            sign_in_provider_service_pb2_grpc.add_SignInProviderServiceServicer_to_server,
            providers,
            sign_in_provider_service_pb2.DESCRIPTOR.services_by_name["SignInProviderService"],
        ),
    )
