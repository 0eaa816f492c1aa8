"""Sign-in by a corp's OpenID Connect provider: the way there, and back with a code."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from tieline.chassis.audit import build_audit_event
from tieline.chassis.fields import is_uuid, raise_violations
from tieline.chassis.outbox import insert_events
from tieline.chassis.postgres import Pool, transaction
from tieline.chassis.principals import Principal
from tieline.identity.activation import activate
from tieline.identity.members import MemberLookup
from tieline.identity.one_time_codes.rules import Receiver, ReceiverKind
from tieline.identity.one_time_codes.sign_in import is_corp_id
from tieline.identity.providers.answers import UserClaim, read_subject, read_user
from tieline.identity.providers.client import ProviderClient
from tieline.identity.providers.rules import (
    Provider,
    StoredFlow,
    build_authorization_url,
    hash_random,
    is_flow_secret,
    new_flow,
    provider_not_found_error,
)
from tieline.identity.repositories import SCHEMA, accounts, providers
from tieline.identity.sealing import Seal
from tieline.identity.sessions.devices import Device
from tieline.identity.sign_in.attempts import Attempts, begin_attempt, count_one, record_failure
from tieline.identity.sign_in.credentials import credentials_rejected_error, sign_in_locked_error
from tieline.identity.sign_in.entrance import Entered, Entrance
from tieline.identity.sign_in.policies import BY_LINKED_ACCOUNT, BY_PROVIDERS_CLAIM

# A provider's code has no form of its own; none is longer than this.
_MAX_CODE_LENGTH = 2048


class ProviderSignIn:
    """The ways in by a provider."""

    def __init__(
        self,
        pool: Pool,
        client: ProviderClient,
        seal: Seal,
        attempts: Attempts,
        entrance: Entrance,
        members: MemberLookup,
    ) -> None:
        self._pool = pool
        self._client = client
        self._seal = seal
        self._attempts = attempts
        self._entrance = entrance
        self._members = members

    async def begin(
        self, corp_id: str, provider_id: str, redirect_uri: str
    ) -> tuple[str, str, dt.datetime]:
        """Return where the device goes next, its flow secret, and when it is too late."""
        provider = None
        if is_corp_id(corp_id) and is_uuid(provider_id):
            async with self._pool.acquire() as connection:
                provider = await providers.find_provider(connection, corp_id, provider_id)
        if provider is None or not provider.is_enabled:
            raise provider_not_found_error()
        if redirect_uri not in provider.redirect_uris:
            raise_violations({"redirect_uri": "must be one of the provider's redirect_uris"})
        metadata = await self._client.get_metadata(provider.issuer)
        flow = new_flow()
        sealed = self._seal.close(flow.verifier.encode(), hash_random(flow.state).hex())
        async with transaction(self._pool) as connection:
            await count_one(connection, self._attempts.asking(), sign_in_locked_error)
            expire_time = await providers.insert_flow(
                connection,
                corp_id,
                provider_id,
                flow,
                sealed_verifier=sealed,
                redirect_uri=redirect_uri,
            )
        url = build_authorization_url(metadata, provider, flow, redirect_uri)
        return url, flow.flow_secret, expire_time

    async def complete(
        self, corp_id: str, state: str, code: str, flow_secret: str, device: Device
    ) -> tuple[Entered, str]:
        """Let the member in whom the provider names; return the user id as well."""
        provider, claims = await self._redeem(corp_id, state, code, flow_secret)
        user_id = await self._find_user(corp_id, provider, claims)
        if user_id is None:
            raise credentials_rejected_error()
        key = (corp_id, user_id)
        is_linked = provider.user_claim is UserClaim.LINKED_SUBJECT
        may_rejoin = not is_linked and await self._is_back(key, provider, claims)
        async with transaction(self._pool) as connection:
            account = await activate(connection, key, may_rejoin=may_rejoin)
            proof = BY_LINKED_ACCOUNT if is_linked else BY_PROVIDERS_CLAIM
            return await self._entrance.admit(connection, key, account, proof, device), user_id

    async def link(self, principal: Principal, state: str, code: str, flow_secret: str) -> None:
        """Tie the account at the provider to the caller."""
        corp_id = principal.corp_id
        provider, claims = await self._redeem(corp_id, state, code, flow_secret)
        subject = read_subject(claims)
        async with transaction(self._pool) as connection:
            account = await accounts.lock_account(connection, corp_id, principal.id)
            # Left or disabled since the call began: the link would outlive it.
            if account is None or not account.is_active:
                raise credentials_rejected_error()
            await providers.upsert_link(
                connection, corp_id, provider.provider_id, subject, principal.id
            )
            entry = await build_audit_event(
                connection,
                SCHEMA,
                corp_id=corp_id,
                action="identity.member.link_provider_account",
                resource=f"members/{principal.id}",
                details={"provider_id": provider.provider_id},
            )
            await insert_events(connection, SCHEMA, [entry])

    async def _redeem(
        self, corp_id: str, state: str, code: str, flow_secret: str
    ) -> tuple[Provider, Mapping[str, Any]]:
        """Use the flow and the code up; return the claims about whoever has been there."""
        attempt = self._attempts.at_code()
        await begin_attempt(self._pool, attempt)
        flow = provider = None
        if is_corp_id(corp_id) and len(code) <= _MAX_CODE_LENGTH:
            async with transaction(self._pool) as connection:
                flow = await providers.claim_flow(connection, corp_id, state)
                if flow is not None:
                    provider = await providers.find_provider(connection, corp_id, flow.provider_id)
        if (
            flow is None
            or provider is None
            or not provider.is_enabled
            or not is_flow_secret(flow, flow_secret)
        ):
            async with transaction(self._pool) as connection:
                await record_failure(connection, attempt)
            raise credentials_rejected_error()
        return provider, await self._exchange(corp_id, provider, flow, state, code)

    async def _exchange(
        self, corp_id: str, provider: Provider, flow: StoredFlow, state: str, code: str
    ) -> Mapping[str, Any]:
        client_secret = self._seal.open(
            provider.sealed_client_secret, corp_id, provider.provider_id
        ).decode()
        verifier = self._seal.open(flow.sealed_verifier, hash_random(state).hex()).decode()
        return await self._client.redeem(provider, client_secret, flow, verifier, code)

    async def _find_user(
        self, corp_id: str, provider: Provider, claims: Mapping[str, Any]
    ) -> str | None:
        """Return whom the claims name: a member of today, or who linked the account; or None."""
        match provider.user_claim:
            case UserClaim.EMAIL:
                email = read_user(claims, UserClaim.EMAIL).lower()
                return await self._members.find_by_contact(
                    corp_id, Receiver(ReceiverKind.EMAIL, email)
                )
            case UserClaim.PREFERRED_USERNAME:
                name = read_user(claims, UserClaim.PREFERRED_USERNAME).lower()
                return name if await self._members.is_member(corp_id, name) else None
            case _:
                subject = read_subject(claims)
                async with self._pool.acquire() as connection:
                    return await providers.find_linked_user(
                        connection, corp_id, provider.provider_id, subject
                    )

    async def _is_back(
        self, key: tuple[str, str], provider: Provider, claims: Mapping[str, Any]
    ) -> bool:
        """Tell whether the member of an account that is left is one again: the directory is asked.

        Its first answer may be older than the leave; one that is asked for afterwards is not.
        """
        async with self._pool.acquire() as connection:
            account = await accounts.find_account(connection, *key)
        if account is None or account.state != "left":
            return False
        return await self._find_user(key[0], provider, claims) == key[1]
