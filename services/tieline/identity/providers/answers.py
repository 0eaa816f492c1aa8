"""What is accepted of sign-in providers' answers: discovery documents, ID tokens, claims. Pure."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from tieline.identity.providers.urls import is_url
from tieline.identity.sign_in.credentials import credentials_rejected_error

# With public keys alone: an HMAC algorithm would take the published key for a secret.
ID_TOKEN_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384")

_MAX_SUBJECT_LENGTH = 255
_CLOCK_SKEW_S = 60
_MAX_TOKEN_LENGTH = 16 * 1024


class UserClaim(StrEnum):
    """Which claim says who signs in; the values stand in tables."""

    EMAIL = "email"
    PREFERRED_USERNAME = "preferred_username"
    LINKED_SUBJECT = "linked_subject"


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a provider says of itself."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    is_secret_posted: bool
    """Whether the client secret goes into the body, for providers that can't do otherwise."""


class ProviderFaultError(Exception):
    """The provider's answer is not what OpenID Connect says; the text says how."""


def read_metadata(document: object, issuer: str) -> Metadata:
    """Return what the discovery document says, or raise ProviderFaultError."""
    if not isinstance(document, Mapping) or document.get("issuer") != issuer:
        raise ProviderFaultError("the discovery document names another issuer")
    return Metadata(
        authorization_endpoint=_read_url(document, "authorization_endpoint"),
        token_endpoint=_read_url(document, "token_endpoint"),
        jwks_uri=_read_url(document, "jwks_uri"),
        is_secret_posted="client_secret_basic" not in _read_methods(document),
    )


def read_key_id(id_token: object) -> str:
    """Return the key id that an ID token names, which may be none; nothing is verified yet."""
    if not isinstance(id_token, str) or len(id_token) > _MAX_TOKEN_LENGTH:
        raise ProviderFaultError("the token response has no ID token")
    try:
        header = jws.extract_compact(id_token.encode()).headers()
    except (JoseError, ValueError, RecursionError) as error:
        raise ProviderFaultError("the ID token is no JWT") from error
    return str(header.get("kid", ""))


def read_id_token(
    id_token: str, keys: KeySet, *, issuer: str, client_id: str, nonce: str, now: dt.datetime
) -> Mapping[str, Any]:
    """Return the claims of an ID token that is this flow's, or raise ProviderFaultError."""
    rules = jwt.JWTClaimsRegistry(
        now=int(now.timestamp()),
        leeway=_CLOCK_SKEW_S,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": client_id},
        sub={"essential": True},
        exp={"essential": True},
        iat={"essential": True},
        nonce={"essential": True, "value": nonce},
    )
    try:
        token = jwt.decode(id_token, keys, algorithms=list(ID_TOKEN_ALGORITHMS))
        rules.validate(token.claims)
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise ProviderFaultError("the ID token is not valid") from error
    # Core 3.1.3.7: of several audiences one is the party that the token was issued to.
    if token.claims.get("azp", client_id) != client_id:
        raise ProviderFaultError("the ID token was issued to somebody else")
    return token.claims


def read_subject(claims: Mapping[str, Any]) -> str:
    """Return the account at the provider."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 1 <= len(subject) <= _MAX_SUBJECT_LENGTH:
        raise ProviderFaultError("the ID token has no subject")
    return _storable(subject)


def read_user(claims: Mapping[str, Any], claim: UserClaim) -> str:
    """Return what the claim says of who signs in, or raise UnauthenticatedError."""
    value = claims.get(claim.value)
    if claim is UserClaim.EMAIL and claims.get("email_verified", True) is not True:
        raise credentials_rejected_error()
    if not isinstance(value, str) or not value:
        raise credentials_rejected_error()
    return _storable(value)


def _storable(value: str) -> str:
    # JSON can hold what neither protobuf nor PostgreSQL takes.
    if "\0" in value or any("\ud800" <= c <= "\udfff" for c in value):
        raise credentials_rejected_error()
    return value


def _read_url(document: Mapping[str, object], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not is_url(value, is_bare=False):
        raise ProviderFaultError(f"the discovery document has no {name}")
    return value


def _read_methods(document: Mapping[str, object]) -> Sequence[str]:
    name = "token_endpoint_auth_methods_supported"
    methods = document.get(name)
    if methods is None:
        # Discovery 1.0: what a provider that names none has.
        return ["client_secret_basic"]
    if not isinstance(methods, list) or not all(isinstance(each, str) for each in methods):
        raise ProviderFaultError(f"the discovery document has a {name} that is no list of texts")
    return methods
