"""Reads access tokens: who calls, told by a signature of the identity service.

A token is a JWT signed with EdDSA (Ed25519). Its claims:

    iss, aud   both ``tieline``
    sub        the principal's id
    kind       a value of PrincipalKind
    corp       a member's or app's corp, of a linked app the one that it is let into; absent for the
               other kinds
    home, link  the corp that a linked app is of, and what lets it in; absent for the other kinds
    roles      list of role names; may be absent
    rights     list of rights granted to an administrator or an app; may be absent
    departments  list of ids of the departments where they hold; absent for the whole corp
    name       display name; may be absent
    sid        session id
    exp        second at which it expires, two hours after ``iat`` at most
    iat        second at which it was issued, with its fraction: what was revoked is told by it.
               Like ``nbf`` it lies in the past; without it the token counts as the oldest one that
               could be good still

A verified token is remembered until it expires, so that a second call with it costs no signature
check and no I/O. Whether it was revoked is looked up in memory at each call. What is wrong with a
token is never told: the answer would help only a forger.
"""

import asyncio
import base64
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwa import EdDSAAlgorithm, JWSAlgModel
from joserfc.jwk import OKPKey
from joserfc.jws import JWSRegistry

from tieline.chassis.errors import ServiceError, UnauthenticatedError, UnavailableError
from tieline.chassis.principals import CORP_KINDS, Principal, PrincipalKind
from tieline.chassis.revocation_list import MAX_TOKEN_LIFETIME_S, RevocationList

ISSUER = "tieline"
AUDIENCE = "tieline"
ALGORITHM = "EdDSA"

# Ours are about 450 characters; a longer one is not worth the parsing.
MAX_TOKEN_LENGTH = 4096

# About 1 KiB each with its principal: 20 MB at most.
MAX_REMEMBERED_TOKENS = 20_000

# Clocks of two machines kept by NTP differ by less. `exp` has no such allowance.
CLOCK_SKEW_S = 30

# A key that identity withdraws is trusted for at most this long.
KEYS_MAX_AGE_S = 300.0

# Tokens with made-up key ids must not become requests to identity: one every ten seconds at most.
KEYS_MIN_AGE_S = 10.0

# While identity is away, the callers of one second share one failed attempt.
FETCH_RETRY_S = 1.0

# The year 9999. An integer of a thousand digits is no time, and not even a float.
_LAST_SECOND = 253_402_300_799

Item = TypeVar("Item", str, int)

FetchKeys = Callable[[], Awaitable[Mapping[str, OKPKey]]]
"""Returns identity's public keys by key id; raises ServiceError or OSError when it is away."""


class _Ed25519(EdDSAAlgorithm):
    # RFC 9864 renames EdDSA because it covers two curves; Ed25519 is the only one of our keys.
    security_warning = None  # type: ignore[assignment]  # joserfc reads None as "no warning"


class _OnlyEd25519(JWSRegistry):
    # A registry that knows no other algorithm can't be talked into one, `none` included.
    algorithms: dict[str, JWSAlgModel] = {ALGORITHM: _Ed25519()}  # noqa: RUF012 -- as in its base


TOKEN_ALGORITHMS = _OnlyEd25519(algorithms=[ALGORITHM])
"""The ``registry`` for joserfc's ``jwt.encode`` and ``jwt.decode`` of access tokens."""


def build_public_key(raw: bytes) -> OKPKey:
    """Return the key of 32 raw bytes (RFC 8032), the form in which identity publishes its keys."""
    x = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    return OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": x})


class TokenVerifier:
    """Turns access tokens into principals."""

    def __init__(
        self,
        fetch_keys: FetchKeys,
        revocations: RevocationList | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.revocations = RevocationList(clock=clock) if revocations is None else revocations
        """What is refused although its time is not over."""

        self._keys = _Keys(fetch_keys, clock)
        self._clock = clock
        self._verified: OrderedDict[str, tuple[Principal, float]] = OrderedDict()

    def find_verified(self, token: str) -> Principal | None:
        """Return the principal of a token that was verified before and is still valid."""
        known = self._verified.get(token)
        if known is None:
            return None
        principal, expiry = known
        if self._clock() >= expiry or self.revocations.is_revoked(principal):
            del self._verified[token]
            return None
        self._verified.move_to_end(token)
        return principal

    async def verify(self, token: str) -> Principal:
        """Return the token's principal.

        Raises UnauthenticatedError (TOKEN_MISSING, TOKEN_INVALID, TOKEN_EXPIRED), or
        UnavailableError while identity's keys can't be had.
        """
        if not token:
            raise UnauthenticatedError("TOKEN_MISSING", "sign in first")
        known = self.find_verified(token)
        if known is not None:
            return known
        return self._check(token, await self._keys.get(_read_key_id(token)))

    def verify_at_once(self, token: str) -> Principal | None:
        """Return the principal of a valid token; None for others or where `verify` would wait."""
        try:
            key = self._keys.find(_read_key_id(token))
            return None if key is None else self._check(token, key)
        except UnauthenticatedError:
            return None

    def _check(self, token: str, key: OKPKey) -> Principal:
        principal, expiry = _read_claims(_verify_signature(token, key), self._clock())
        if self.revocations.is_revoked(principal):
            raise token_expired_error()
        # Not longer than its key is trusted: a withdrawn one takes its tokens along.
        self._verified[token] = (principal, min(expiry, self._clock() + KEYS_MAX_AGE_S))
        if len(self._verified) > MAX_REMEMBERED_TOKENS:
            self._verified.popitem(last=False)
        return principal


class _Keys:
    """Identity's public keys, fetched when needed and shared by everybody who waits for them."""

    def __init__(self, fetch: FetchKeys, clock: Callable[[], float]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._keys: Mapping[str, OKPKey] = {}
        self._fetched_at = -math.inf
        self._failed_at = -math.inf
        self._lock = asyncio.Lock()

    def find(self, key_id: str) -> OKPKey | None:
        """Return the key; None where it is unknown or has not been seen for long."""
        return None if self._is_wanted(key_id) else self._keys.get(key_id)

    async def get(self, key_id: str) -> OKPKey:
        """Return the key, asking identity again if it is unknown or has not been seen for long."""
        if self._is_wanted(key_id):
            async with self._lock:
                # Somebody else may have fetched while this one waited for the lock.
                if self._is_wanted(key_id):
                    await self._refresh(key_id)
        key = self._keys.get(key_id)
        if key is None:
            raise _token_invalid_error()
        return key

    def _is_wanted(self, key_id: str) -> bool:
        age_s = self._clock() - self._fetched_at
        return age_s > (KEYS_MAX_AGE_S if key_id in self._keys else KEYS_MIN_AGE_S)

    async def _refresh(self, key_id: str) -> None:
        if self._clock() - self._failed_at >= FETCH_RETRY_S:
            try:
                self._keys = await self._fetch()
            except (ServiceError, OSError):
                self._failed_at = self._clock()
            else:
                self._fetched_at = self._clock()
                return
        # A known key stays good while identity is away: nobody who is signed in is locked out.
        if key_id not in self._keys:
            raise UnavailableError(
                "SERVICE_UNAVAILABLE",
                "tokens can't be verified now",
                {"service": "identity"},
                retry_after_s=1.0,
            )


def _read_key_id(token: str) -> str:
    if len(token) > MAX_TOKEN_LENGTH:
        raise _token_invalid_error()
    try:
        header = jws.extract_compact(token.encode("ascii")).headers()
    # Deeply nested brackets end in a RecursionError.
    except (JoseError, ValueError, RecursionError) as error:
        raise _token_invalid_error() from error
    key_id = header.get("kid")
    # The algorithm is checked again with the signature; here it spares identity a question.
    if header.get("alg") != ALGORITHM or not isinstance(key_id, str):
        raise _token_invalid_error()
    return key_id


def _verify_signature(token: str, key: OKPKey) -> Mapping[str, Any]:
    try:
        return jwt.decode(token, key, registry=TOKEN_ALGORITHMS).claims
    except (JoseError, ValueError) as error:
        raise _token_invalid_error() from error


def _read_claims(claims: Mapping[str, Any], now: float) -> tuple[Principal, float]:
    """Return the principal and the second at which the token expires."""
    if claims.get("iss") != ISSUER or claims.get("aud") != AUDIENCE:
        raise _token_invalid_error()
    expiry = _second(claims, "exp", default=None)
    issued = _second(claims, "iat", default=expiry - MAX_TOKEN_LIFETIME_S)
    if max(_second(claims, "nbf", default=0), issued) > now + CLOCK_SKEW_S:
        raise _token_invalid_error()
    # A longer one would outlive what is remembered of its revocation.
    if expiry - issued > MAX_TOKEN_LIFETIME_S:
        raise _token_invalid_error()
    if now >= expiry:
        raise token_expired_error()
    return _read_principal(claims, issued, expiry), expiry


def _read_principal(claims: Mapping[str, Any], issued: float, expiry: float) -> Principal:
    try:
        kind = PrincipalKind(_text(claims, "kind", default=None))
    except ValueError as error:
        raise _token_invalid_error() from error
    corp_id = _text(claims, "corp", default="")
    # A member without a corp, or a customer with one, would get past Principal.require_corp.
    if bool(corp_id) != (kind in CORP_KINDS):
        raise _token_invalid_error()
    home_corp_id, link_id = (_text(claims, name, default="") for name in ("home", "link"))
    # Without either of them a linked app could not be shut out by its own corp, or by the link.
    if {bool(home_corp_id), bool(link_id)} != {kind is PrincipalKind.LINKED_APP}:
        raise _token_invalid_error()
    return Principal(
        kind=kind,
        id=_text(claims, "sub", default=None),
        corp_id=corp_id,
        session_id=_text(claims, "sid", default=None),
        roles=_set(claims, "roles", str),
        display_name=_text(claims, "name", default=""),
        rights=_set(claims, "rights", str),
        department_ids=_set(claims, "departments", int),
        home_corp_id=home_corp_id,
        link_id=link_id,
        expire_time=expiry,
        issue_time=issued,
    )


def token_expired_error() -> UnauthenticatedError:
    """Return the error for a token that was good once; a new one takes its place."""
    return UnauthenticatedError("TOKEN_EXPIRED", "the access token has expired; refresh it")


def _second(claims: Mapping[str, Any], name: str, *, default: float | None) -> float:
    value = claims.get(name, default)
    # bool is an int to Python, and NaN compares false with every time.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _token_invalid_error()
    if not abs(value) <= _LAST_SECOND:
        raise _token_invalid_error()
    return float(value)


def _text(claims: Mapping[str, Any], name: str, *, default: str | None) -> str:
    value = claims.get(name, default)
    if not isinstance(value, str) or (default is None and not value):
        raise _token_invalid_error()
    return value


def _set(claims: Mapping[str, Any], name: str, kind: type[Item]) -> frozenset[Item]:
    values = claims.get(name, [])
    if not isinstance(values, list) or not all(type(value) is kind for value in values):
        raise _token_invalid_error()
    return frozenset(values)


def _token_invalid_error() -> UnauthenticatedError:
    return UnauthenticatedError("TOKEN_INVALID", "the access token is not valid")
