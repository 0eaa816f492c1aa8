"""SignInProviderService: translates between the wire and the rules of providers."""

from collections.abc import Mapping

from tieline.api.identity.v1 import (
    sign_in_pb2,
    sign_in_provider_service_pb2,
    sign_in_provider_service_pb2_grpc,
)
from tieline.chassis.audit import record_act
from tieline.chassis.authorization import Resource, Right, require
from tieline.chassis.calls import current_principal
from tieline.chassis.errors import FailedPreconditionError
from tieline.chassis.etags import check_etag
from tieline.chassis.fields import is_uuid, to_timestamp
from tieline.chassis.grpc_context import Context
from tieline.chassis.idempotency import answered_once
from tieline.chassis.ids import new_uuid7
from tieline.chassis.page_tokens import PageTokens, page_size
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.identity.providers.answers import UserClaim
from tieline.identity.providers.rules import (
    MAX_PROVIDERS,
    Provider,
    check_mask,
    check_provider,
    plan_update,
    provider_not_found_error,
)
from tieline.identity.reading import require_reading
from tieline.identity.repositories import SCHEMA, providers
from tieline.identity.sealing import Seal

_CLAIMS = {
    sign_in_pb2.PROVIDER_USER_CLAIM_EMAIL: UserClaim.EMAIL,
    sign_in_pb2.PROVIDER_USER_CLAIM_PREFERRED_USERNAME: UserClaim.PREFERRED_USERNAME,
    sign_in_pb2.PROVIDER_USER_CLAIM_LINKED_SUBJECT: UserClaim.LINKED_SUBJECT,
}
_PROTO_CLAIMS = {claim: number for number, claim in _CLAIMS.items()}


class SignInProviderServicer(sign_in_provider_service_pb2_grpc.SignInProviderServiceServicer):
    """A corp's providers, as its administrators keep them."""

    def __init__(self, pool: Pool, seal: Seal, page_tokens: PageTokens) -> None:
        self._pool = pool
        self._seal = seal
        self._page_tokens = page_tokens

    async def CreateSignInProvider(
        self, request: sign_in_provider_service_pb2.CreateSignInProviderRequest, context: Context
    ) -> sign_in_provider_service_pb2.CreateSignInProviderResponse:
        """Add a provider, at most once per request id."""
        corp_id = _require_management(request.corp_id)
        check_provider(_from_proto(request.provider), request.client_secret)
        return await answered_once(
            self._pool,
            SCHEMA,
            request,
            sign_in_provider_service_pb2.CreateSignInProviderResponse,
            lambda connection: self._create(connection, corp_id, request),
            corp_id=corp_id,
        )

    async def _create(
        self,
        connection: Connection,
        corp_id: str,
        request: sign_in_provider_service_pb2.CreateSignInProviderRequest,
    ) -> sign_in_provider_service_pb2.CreateSignInProviderResponse:
        if await providers.lock_provider_count(connection, corp_id) >= MAX_PROVIDERS:
            raise FailedPreconditionError(
                "TOO_MANY_PROVIDERS",
                f"a corp has at most {MAX_PROVIDERS} sign-in providers",
                {"limit": str(MAX_PROVIDERS)},
            )
        provider_id = new_uuid7()
        sealed = self._seal.close(request.client_secret.encode(), corp_id, provider_id)
        wanted = _from_proto(request.provider, provider_id=provider_id, sealed_client_secret=sealed)
        stored = await providers.insert_provider(connection, corp_id, wanted)
        await _record(connection, corp_id, provider_id, "create")
        return sign_in_provider_service_pb2.CreateSignInProviderResponse(provider=_to_proto(stored))

    async def GetSignInProvider(
        self, request: sign_in_provider_service_pb2.GetSignInProviderRequest, context: Context
    ) -> sign_in_provider_service_pb2.GetSignInProviderResponse:
        """Return a provider."""
        corp_id = require_reading(current_principal(), Right.MANAGE_SIGN_IN, request.corp_id)
        _check_id(request.provider_id)
        async with self._pool.acquire() as connection:
            provider = await providers.find_provider(connection, corp_id, request.provider_id)
        if provider is None:
            raise provider_not_found_error()
        return sign_in_provider_service_pb2.GetSignInProviderResponse(provider=_to_proto(provider))

    async def ListSignInProviders(
        self, request: sign_in_provider_service_pb2.ListSignInProvidersRequest, context: Context
    ) -> sign_in_provider_service_pb2.ListSignInProvidersResponse:
        """Return a page of the corp's providers."""
        corp_id = require_reading(current_principal(), Right.MANAGE_SIGN_IN, request.corp_id)
        size = page_size(request.page_size, default=MAX_PROVIDERS, maximum=MAX_PROVIDERS)
        position = self._page_tokens.decode(request.page_token, request)
        async with self._pool.acquire() as connection:
            found = await providers.list_providers(
                connection,
                corp_id,
                after_provider_id=str(position[0]) if position else "",
                limit=size + 1,
            )
        page, next_page_token = self._page_tokens.cut(
            found, size, request, lambda provider: (provider.provider_id,)
        )
        return sign_in_provider_service_pb2.ListSignInProvidersResponse(
            providers=[_to_proto(provider) for provider in page], next_page_token=next_page_token
        )

    async def UpdateSignInProvider(
        self, request: sign_in_provider_service_pb2.UpdateSignInProviderRequest, context: Context
    ) -> sign_in_provider_service_pb2.UpdateSignInProviderResponse:
        """Change a provider."""
        corp_id = _require_management(request.corp_id)
        fields = check_mask(request.update_mask.paths)
        wanted = _from_proto(request.provider)
        check_provider(wanted, request.client_secret, fields)
        provider_id = request.provider.provider_id
        _check_id(provider_id)
        async with transaction(self._pool) as connection:
            stored = await providers.lock_provider(connection, corp_id, provider_id)
            if stored is None:
                raise provider_not_found_error()
            check_etag(request.provider.etag, stored.change_number)
            sealed = stored.sealed_client_secret
            if "client_secret" in fields:
                sealed = self._seal.close(request.client_secret.encode(), corp_id, provider_id)
            planned = plan_update(stored, wanted, fields, sealed_client_secret=sealed)
            if planned.issuer != stored.issuer:
                # Another issuer's subjects are other people.
                await providers.delete_links(connection, corp_id, provider_id)
            updated = await providers.update_provider(connection, corp_id, planned)
            await _record(
                connection, corp_id, provider_id, "update", {"fields": ",".join(sorted(fields))}
            )
        return sign_in_provider_service_pb2.UpdateSignInProviderResponse(
            provider=_to_proto(updated)
        )

    async def DeleteSignInProvider(
        self, request: sign_in_provider_service_pb2.DeleteSignInProviderRequest, context: Context
    ) -> sign_in_provider_service_pb2.DeleteSignInProviderResponse:
        """Delete a provider with its links."""
        corp_id = _require_management(request.corp_id)
        _check_id(request.provider_id)
        async with transaction(self._pool) as connection:
            if not await providers.delete_provider(connection, corp_id, request.provider_id):
                raise provider_not_found_error()
            await _record(connection, corp_id, request.provider_id, "delete")
        return sign_in_provider_service_pb2.DeleteSignInProviderResponse()


def _require_management(corp_id: str) -> str:
    """Return the corp whose sign-in the caller manages as a whole, or refuse."""
    principal = current_principal()
    corp_id = principal.require_corp(corp_id)
    require(principal, Right.MANAGE_SIGN_IN, Resource(corp_id))
    return corp_id


async def _record(
    connection: Connection,
    corp_id: str,
    provider_id: str,
    act: str,
    details: Mapping[str, str] | None = None,
) -> None:
    await record_act(
        connection,
        SCHEMA,
        corp_id=corp_id,
        action=f"identity.sign_in_provider.{act}",
        resource=f"signInProviders/{provider_id}",
        details=details,
    )


def _check_id(provider_id: str) -> None:
    if not is_uuid(provider_id):
        raise provider_not_found_error()


def _from_proto(
    provider: sign_in_pb2.SignInProvider,
    *,
    provider_id: str = "",
    sealed_client_secret: bytes = b"",
) -> Provider:
    return Provider(
        provider_id=provider_id,
        display_name=provider.display_name,
        issuer=provider.issuer,
        client_id=provider.client_id,
        user_claim=_CLAIMS.get(provider.user_claim),
        redirect_uris=tuple(provider.redirect_uris),
        is_enabled=provider.enabled,
        sealed_client_secret=sealed_client_secret,
    )


def _to_proto(provider: Provider) -> sign_in_pb2.SignInProvider:
    assert provider.user_claim is not None, "a stored provider has a claim"
    assert provider.create_time is not None, "a stored provider has times"
    assert provider.update_time is not None, "a stored provider has times"
    return sign_in_pb2.SignInProvider(
        provider_id=provider.provider_id,
        display_name=provider.display_name,
        issuer=provider.issuer,
        client_id=provider.client_id,
        user_claim=_PROTO_CLAIMS[provider.user_claim],
        redirect_uris=provider.redirect_uris,
        enabled=provider.is_enabled,
        etag=str(provider.change_number),
        create_time=to_timestamp(provider.create_time),
        update_time=to_timestamp(provider.update_time),
    )
