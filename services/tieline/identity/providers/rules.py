"""The rules of sign-in providers: what is accepted of their settings, and the way to them. Pure.

OpenID Connect Core 1.0, authorization code flow with PKCE (RFC 7636). State, nonce and verifier are
random and good once; the nonce ties the ID token to the flow, the verifier the code to whoever
began, the flow secret the answer to the device that began.
"""

import datetime as dt
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from tieline.chassis.errors import NotFoundError
from tieline.chassis.fields import check_text, raise_violations
from tieline.identity.providers.answers import Metadata, UserClaim
from tieline.identity.providers.urls import MAX_URL_LENGTH, is_url

MAX_PROVIDERS = 10
MAX_REDIRECT_URIS = 10
MAX_CLIENT_ID_LENGTH = 256
MAX_SECRET_LENGTH = 512
MAX_NAME_LENGTH = 64

FLOW_LIFETIME = dt.timedelta(minutes=10)

UPDATABLE_FIELDS = frozenset(
    {
        "display_name",
        "issuer",
        "client_id",
        "user_claim",
        "redirect_uris",
        "enabled",
        "client_secret",
    }
)

_SCOPE = "openid profile email"
_RANDOM_BYTES = 32


@dataclass(frozen=True, slots=True)
class Provider:
    """A corp's provider."""

    provider_id: str
    display_name: str
    issuer: str
    client_id: str
    user_claim: UserClaim | None
    """None for one that was not given."""

    redirect_uris: tuple[str, ...]
    is_enabled: bool
    sealed_client_secret: bytes = field(default=b"", repr=False)
    change_number: int = 0
    create_time: dt.datetime | None = None
    update_time: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Flow:
    """A sign-in that is under way at a provider."""

    state: str
    flow_secret: str = field(repr=False)
    nonce: str
    verifier: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class StoredFlow:
    """What was kept of a flow."""

    provider_id: str
    flow_secret_hash: bytes
    nonce: str
    sealed_verifier: bytes = field(repr=False)
    redirect_uri: str


def check_provider(
    provider: Provider, client_secret: str | None, fields: frozenset[str] = UPDATABLE_FIELDS
) -> None:
    """Refuse wrong values among these fields, all of them at once."""
    violations: dict[str, str] = {}
    for name in sorted(fields & _CHECKS.keys()):
        _CHECKS[name](provider, violations)
    if "client_secret" in fields:
        check_text(
            client_secret or "", "client_secret", violations, minimum=1, maximum=MAX_SECRET_LENGTH
        )
    raise_violations(violations)


def plan_update(
    stored: Provider, wanted: Provider, fields: frozenset[str], *, sealed_client_secret: bytes
) -> Provider:
    """Return the provider as it is to be."""
    if "issuer" in fields and wanted.issuer != stored.issuer and "client_secret" not in fields:
        raise_violations(
            {"update_mask": "must name client_secret as well where the issuer changes"}
        )
    names = {"enabled": "is_enabled"}
    changes = {
        names.get(name, name): getattr(wanted, names.get(name, name))
        for name in fields - {"client_secret"}
    }
    return replace(
        stored,
        **changes,
        sealed_client_secret=sealed_client_secret,
        change_number=stored.change_number + 1,
    )


def check_mask(paths: Sequence[str]) -> frozenset[str]:
    """Return which fields an update names, or refuse those that it can't change."""
    unknown = sorted(set(paths) - UPDATABLE_FIELDS)
    if unknown or not paths:
        raise_violations(
            {"update_mask": f"must name some of {', '.join(sorted(UPDATABLE_FIELDS))}"}
        )
    return frozenset(paths)


def new_flow() -> Flow:
    """Return the random parts of a new sign-in."""
    return Flow(*(secrets.token_urlsafe(_RANDOM_BYTES) for _ in range(4)))


def hash_random(text: str) -> bytes:
    """Return what is stored of a random part, which needs no slow hash."""
    return hashlib.sha256(text.encode()).digest()


def is_flow_secret(flow: StoredFlow, given: str) -> bool:
    """Tell whether this is the secret of the device that began."""
    return hmac.compare_digest(flow.flow_secret_hash, hash_random(given))


def build_authorization_url(
    metadata: Metadata, provider: Provider, flow: Flow, redirect_uri: str
) -> str:
    """Return where the device goes next."""
    url: str = prepare_grant_uri(
        metadata.authorization_endpoint,
        client_id=provider.client_id,
        response_type="code",
        redirect_uri=redirect_uri,
        scope=_SCOPE,
        state=flow.state,
        nonce=flow.nonce,
        code_challenge=create_s256_code_challenge(flow.verifier),  # type: ignore[no-untyped-call]
        code_challenge_method="S256",
    )
    return url


def provider_not_found_error() -> NotFoundError:
    """Return the error for a provider that is not there, or is switched off."""
    return NotFoundError("PROVIDER_NOT_FOUND", "no such sign-in provider")


def _check_name(provider: Provider, violations: dict[str, str]) -> None:
    check_text(
        provider.display_name,
        "provider.display_name",
        violations,
        minimum=1,
        maximum=MAX_NAME_LENGTH,
    )


def _check_client_id(provider: Provider, violations: dict[str, str]) -> None:
    check_text(
        provider.client_id,
        "provider.client_id",
        violations,
        minimum=1,
        maximum=MAX_CLIENT_ID_LENGTH,
    )


def _check_claim(provider: Provider, violations: dict[str, str]) -> None:
    if provider.user_claim is None:
        violations["provider.user_claim"] = "must be one of the claims"


def _check_issuer(provider: Provider, violations: dict[str, str]) -> None:
    if not is_url(provider.issuer, is_bare=True):
        violations["provider.issuer"] = (
            f"must be an https URL of at most {MAX_URL_LENGTH} characters without query or fragment"
        )


def _check_redirect_uris(provider: Provider, violations: dict[str, str]) -> None:
    if not 1 <= len(provider.redirect_uris) <= MAX_REDIRECT_URIS:
        violations["provider.redirect_uris"] = f"must be 1 to {MAX_REDIRECT_URIS}"
        return
    for index, uri in enumerate(provider.redirect_uris):
        if not is_url(uri, is_bare=False):
            violations[f"provider.redirect_uris[{index}]"] = (
                f"must be an https URL of at most {MAX_URL_LENGTH} characters without fragment"
            )


_CHECKS: Mapping[str, Callable[[Provider, dict[str, str]], None]] = {
    "display_name": _check_name,
    "issuer": _check_issuer,
    "client_id": _check_client_id,
    "user_claim": _check_claim,
    "redirect_uris": _check_redirect_uris,
}
