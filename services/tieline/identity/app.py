"""Composition root of identity: the only module that knows every class."""

import datetime as dt
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from joserfc.jwk import OKPKey

from tieline.api.identity.v1 import (
    app_service_pb2,
    app_service_pb2_grpc,
    audit_service_pb2,
    audit_service_pb2_grpc,
    corp_link_service_pb2,
    corp_link_service_pb2_grpc,
    identity_service_pb2,
    identity_service_pb2_grpc,
    role_service_pb2,
    role_service_pb2_grpc,
    session_service_pb2,
    session_service_pb2_grpc,
    signing_key_service_pb2,
    signing_key_service_pb2_grpc,
)
from tieline.chassis.authentication import FetchKeys
from tieline.chassis.events import consuming
from tieline.chassis.grpc_server import Served
from tieline.chassis.postgres import Pool
from tieline.chassis.requests import answering
from tieline.chassis.runtime import ServiceRuntime, service_runtime
from tieline.chassis.streams import durables_of
from tieline.identity.answers import build_handlers
from tieline.identity.apps.secrets import AppSecrets
from tieline.identity.apps.servicer import AppServicer
from tieline.identity.apps.tokens import TOKEN_LIFETIME, AppTokens
from tieline.identity.audit.servicer import AuditServicer
from tieline.identity.consumer import HANDLERS
from tieline.identity.corps.corp_calls import CorpCalls
from tieline.identity.corps.life_calls import CorpLifeCalls
from tieline.identity.corps.verification_calls import VerificationCalls
from tieline.identity.first_start import prepare_platform_administrator
from tieline.identity.keyring import Keyring, build_keyring
from tieline.identity.links.servicer import CorpLinkServicer
from tieline.identity.members import MemberLookup
from tieline.identity.passwords.hashing import PasswordPool
from tieline.identity.passwords.settings import build_hasher
from tieline.identity.purge import keep_audit_log, purging
from tieline.identity.repositories import SCHEMA, signing_keys
from tieline.identity.repositories.sessions import SessionLimits
from tieline.identity.roles.invitations import InvitationCodes
from tieline.identity.roles.inviting import Inviting
from tieline.identity.roles.ownership_calls import OwnershipCalls
from tieline.identity.roles.servicer import RoleServicer
from tieline.identity.servicer import IdentityServicer
from tieline.identity.sessions.access_tokens import AccessTokenSigner
from tieline.identity.sessions.issuer import SessionIssuer
from tieline.identity.sessions.refresh_tokens import RefreshTokens
from tieline.identity.sessions.servicer import SessionServicer
from tieline.identity.settings import IdentitySettings
from tieline.identity.sign_in.channel_calls import ChannelCalls
from tieline.identity.sign_in.ways_in import ways_in
from tieline.identity.signing_keys.rotation import SigningKeys, rotating
from tieline.identity.signing_keys.rules import read_public_keys
from tieline.identity.signing_keys.servicer import SigningKeyServicer

SETTINGS = IdentitySettings


@asynccontextmanager
async def role(settings: IdentitySettings) -> AsyncIterator[None]:
    """Run identity."""
    keyring = build_keyring(settings.secret_key.get_secret_value())
    async with (
        service_runtime(settings, SCHEMA, make_fetch_keys=_make_fetch_keys) as runtime,
        AsyncExitStack() as stack,
    ):
        passwords = await stack.enter_async_context(_build_password_pool(settings, keyring))
        keys = SigningKeys(
            runtime.pool,
            keyring.signing_key_seal,
            lifetime=dt.timedelta(seconds=settings.signing_key_lifetime_s),
        )
        await stack.enter_async_context(rotating(keys))
        issuer = _build_issuer(settings, keys, keyring)
        password = settings.platform_administrator_password
        await prepare_platform_administrator(
            runtime.pool, passwords, None if password is None else password.get_secret_value()
        )
        codes = InvitationCodes(keyring.invitation_codes)
        ways = await stack.enter_async_context(
            ways_in(settings, runtime, keyring, passwords, issuer)
        )
        servicer = IdentityServicer(
            ways.sign_in,
            Inviting(runtime.pool, runtime.broker, codes),
            CorpCalls(runtime.pool, codes, runtime.page_tokens),
            CorpLifeCalls(
                runtime.pool, deletion_grace=dt.timedelta(days=settings.corp_deletion_grace_days)
            ),
            VerificationCalls(runtime.pool, runtime.page_tokens),
            ChannelCalls(runtime.pool, runtime.page_tokens),
        )
        audit_retention = dt.timedelta(days=settings.audit_retention_days)
        await keep_audit_log(runtime.pool, audit_retention)
        await stack.enter_async_context(purging(runtime.pool, audit_retention=audit_retention))
        await stack.enter_async_context(
            answering(runtime.broker, SCHEMA, build_handlers(runtime.pool), control=runtime.control)
        )
        for durable in durables_of(SCHEMA):
            await stack.enter_async_context(
                consuming(runtime.broker, runtime.pool, SCHEMA, durable, HANDLERS)
            )
        await stack.enter_async_context(
            runtime.serving(
                Served(
                    identity_service_pb2_grpc.add_IdentityServiceServicer_to_server,
                    servicer,
                    identity_service_pb2.DESCRIPTOR.services_by_name["IdentityService"],
                ),
                *_build_principals(runtime, keyring, keys, issuer),
                *_build_administration(runtime, codes),
                *ways.services,
            )
        )
        yield


def _build_principals(
    runtime: ServiceRuntime, keyring: Keyring, keys: SigningKeys, issuer: SessionIssuer
) -> list[Served[Any]]:
    app_tokens = AppTokens(runtime.pool, AccessTokenSigner(keys.find_key, lifetime=TOKEN_LIFETIME))
    app_secrets = AppSecrets(keyring.app_secrets)
    return [
        Served(
            session_service_pb2_grpc.add_SessionServiceServicer_to_server,
            SessionServicer(runtime.pool, runtime.page_tokens, issuer),
            session_service_pb2.DESCRIPTOR.services_by_name["SessionService"],
        ),
        Served(
            app_service_pb2_grpc.add_AppServiceServicer_to_server,
            AppServicer(runtime.pool, runtime.page_tokens, app_secrets, app_tokens),
            app_service_pb2.DESCRIPTOR.services_by_name["AppService"],
        ),
        Served(
            signing_key_service_pb2_grpc.add_SigningKeyServiceServicer_to_server,
            SigningKeyServicer(runtime.pool, keys),
            signing_key_service_pb2.DESCRIPTOR.services_by_name["SigningKeyService"],
        ),
    ]


def _build_administration(runtime: ServiceRuntime, codes: InvitationCodes) -> list[Served[Any]]:
    members = MemberLookup(runtime.broker)
    ownership = OwnershipCalls(runtime.pool, members, codes)
    return [
        Served(
            corp_link_service_pb2_grpc.add_CorpLinkServiceServicer_to_server,
            CorpLinkServicer(runtime.pool, runtime.page_tokens),
            corp_link_service_pb2.DESCRIPTOR.services_by_name["CorpLinkService"],
        ),
        Served(
            role_service_pb2_grpc.add_RoleServiceServicer_to_server,
            RoleServicer(runtime.pool, members, runtime.page_tokens, ownership),
            role_service_pb2.DESCRIPTOR.services_by_name["RoleService"],
        ),
        Served(
            audit_service_pb2_grpc.add_AuditServiceServicer_to_server,
            AuditServicer(runtime.pool, runtime.page_tokens),
            audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"],
        ),
    ]


def _build_password_pool(settings: IdentitySettings, keyring: Keyring) -> PasswordPool:
    return PasswordPool(
        build_hasher(settings, keyring),
        threads=settings.password_threads,
        queue_length=settings.password_queue_length,
    )


def _build_issuer(settings: IdentitySettings, keys: SigningKeys, keyring: Keyring) -> SessionIssuer:
    signer = AccessTokenSigner(
        keys.find_key, lifetime=dt.timedelta(seconds=settings.access_token_lifetime_s)
    )
    limits = SessionLimits(
        refresh_lifetime=dt.timedelta(seconds=settings.refresh_token_lifetime_s),
        max_age=dt.timedelta(seconds=settings.session_max_age_s),
    )
    return SessionIssuer(signer, RefreshTokens(keyring.refresh_tokens), limits)


async def _make_fetch_keys(pool: Pool) -> FetchKeys:
    async def fetch_keys() -> Mapping[str, OKPKey]:
        async with pool.acquire() as connection:
            return read_public_keys(await signing_keys.list_public_keys(connection))

    return fetch_keys
