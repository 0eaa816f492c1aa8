"""Talks to OpenID Connect providers: what they say of themselves, their keys, codes for ID tokens.

What providers publish is kept for ten minutes. A key id that is not among the keys has them fetched
again, every ten seconds at most.
"""

import asyncio
import datetime as dt
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_token_request
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from tieline.chassis.errors import UnavailableError
from tieline.identity.providers.answers import (
    Metadata,
    ProviderFaultError,
    read_id_token,
    read_key_id,
    read_metadata,
)
from tieline.identity.providers.guarded_http import GuardedClient, RefusedError
from tieline.identity.providers.rules import Provider, StoredFlow
from tieline.identity.sign_in.credentials import credentials_rejected_error

_KEPT_S = 600.0
_KEYS_MIN_AGE_S = 10.0

# Each some 10 KiB; the providers that are in use in ten minutes.
_MAX_KEPT = 1000

_RETRY_AFTER_S = 5.0

_FAULTS = (
    httpx.HTTPError,
    httpx.InvalidURL,
    # Of host names that are none: "xn--".
    UnicodeError,
    RefusedError,
    ProviderFaultError,
    TimeoutError,
)

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Kept:
    metadata: Metadata
    keys: KeySet
    fetched_at: float


class ProviderClient:
    """Asks providers. To be closed with its HTTP client."""

    def __init__(self, http: GuardedClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._http = http
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._fetching: dict[str, asyncio.Task[_Kept]] = {}

    async def get_metadata(self, issuer: str) -> Metadata:
        """Return what the provider says of itself; UnavailableError where it says nothing."""
        try:
            return (await self._find(issuer, self._clock() - _KEPT_S)).metadata
        except _FAULTS as error:
            raise _unavailable(issuer, error) from error

    async def redeem(
        self, provider: Provider, client_secret: str, flow: StoredFlow, verifier: str, code: str
    ) -> Mapping[str, Any]:
        """Exchange the code for an ID token; return its claims once they are verified.

        UnauthenticatedError where the provider refuses the code or the token is not this flow's,
        UnavailableError where it does not answer.
        """
        metadata = await self.get_metadata(provider.issuer)
        id_token = await self._exchange(metadata, provider, client_secret, flow, verifier, code)
        try:
            keys = await self._find_keys(provider.issuer, read_key_id(id_token))
            return read_id_token(
                id_token,
                keys,
                issuer=provider.issuer,
                client_id=provider.client_id,
                nonce=flow.nonce,
                now=dt.datetime.now(dt.UTC),
            )
        except ProviderFaultError as error:
            logger.warning("provider %s: %s", provider.issuer, error)
            raise credentials_rejected_error() from error
        except _FAULTS as error:
            raise _unavailable(provider.issuer, error) from error

    async def _exchange(
        self,
        metadata: Metadata,
        provider: Provider,
        client_secret: str,
        flow: StoredFlow,
        verifier: str,
        code: str,
    ) -> str:
        body = prepare_token_request(
            "authorization_code",
            redirect_uri=flow.redirect_uri,
            code=code,
            code_verifier=verifier,
        )
        method = "client_secret_post" if metadata.is_secret_posted else "client_secret_basic"
        auth = ClientAuth(provider.client_id, client_secret, method)
        _, headers, body = auth.prepare(  # type: ignore[no-untyped-call]
            "POST", metadata.token_endpoint, {}, body
        )
        try:
            answer = await self._http.post_form(metadata.token_endpoint, headers, body)
        except RefusedError as error:
            # Also a code that was made up or used before, which is for nobody to wait for.
            logger.info("provider %s refuses a code: %s", provider.issuer, error)
            raise credentials_rejected_error() from error
        except _FAULTS as error:
            raise _unavailable(provider.issuer, error) from error
        return answer.get("id_token", "") if isinstance(answer, Mapping) else ""

    async def _find_keys(self, issuer: str, key_id: str) -> KeySet:
        kept = await self._find(issuer, self._clock() - _KEPT_S)
        if key_id and key_id not in {key.kid for key in kept.keys.keys}:
            kept = await self._find(issuer, self._clock() - _KEYS_MIN_AGE_S)
        return kept.keys

    async def _find(self, issuer: str, not_before: float) -> _Kept:
        """Return what was fetched at that time or later; callers at once share one fetch."""
        kept = self._kept.get(issuer)
        if kept is not None and kept.fetched_at >= not_before:
            self._kept.move_to_end(issuer)
            return kept
        task = self._fetching.get(issuer)
        if task is None:
            task = asyncio.create_task(self._fetch(issuer), name="fetch-provider")
            self._fetching[issuer] = task
            task.add_done_callback(lambda _: self._fetching.pop(issuer, None))
        # A caller who gives up must not take the fetch away from the others.
        return await asyncio.shield(task)

    async def _fetch(self, issuer: str) -> _Kept:
        url = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        metadata = read_metadata(await self._http.get_json(url), issuer)
        try:
            keys = KeySet.import_key_set(await self._http.get_json(metadata.jwks_uri))
        except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ProviderFaultError("the key set is none") from error
        kept = _Kept(metadata, keys, self._clock())
        self._kept[issuer] = kept
        self._kept.move_to_end(issuer)
        if len(self._kept) > _MAX_KEPT:
            self._kept.popitem(last=False)
        return kept


def _unavailable(issuer: str, error: Exception) -> UnavailableError:
    logger.warning("provider %s: %s", issuer, str(error) or type(error).__name__)
    return UnavailableError(
        "PROVIDER_UNAVAILABLE",
        "the sign-in provider does not answer as it should",
        {"issuer": issuer},
        retry_after_s=_RETRY_AFTER_S,
    )
