"""Access tokens: what identity says about a caller, signed. Pure but for the clock it is given.

The other services read these tokens by ``tieline.chassis.authentication``, where their claims are
listed; algorithm, issuer and audience come from there, so that the two sides can't differ.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

from joserfc import jwt
from joserfc.jwk import OKPKey

from tieline.chassis.authentication import ALGORITHM, AUDIENCE, ISSUER, TOKEN_ALGORITHMS
from tieline.chassis.principals import Principal


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A signed token and when it ends."""

    text: str
    expire_time: dt.datetime


class AccessTokenSigner:
    """Signs access tokens with one key."""

    def __init__(
        self,
        key_id: str,
        key: OKPKey,
        *,
        lifetime: dt.timedelta,
        clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self._header = {"alg": ALGORITHM, "kid": key_id}
        self._key = key
        self._lifetime = lifetime
        self._clock = clock

    def sign(self, principal: Principal) -> AccessToken:
        """Return a token for the principal, good from now on."""
        # JWT times are whole seconds; what the caller is told must not be later than the token's.
        now = self._clock().replace(microsecond=0)
        expire_time = now + self._lifetime
        claims: dict[str, object] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": principal.id,
            "kind": principal.kind.value,
            "roles": sorted(principal.roles),
            "name": principal.display_name,
            "sid": principal.session_id,
            "iat": int(now.timestamp()),
            "nbf": int(now.timestamp()),
            "exp": int(expire_time.timestamp()),
        }
        if principal.corp_id:
            claims["corp"] = principal.corp_id
        if principal.rights:
            claims["rights"] = sorted(principal.rights)
        if principal.department_ids:
            claims["departments"] = sorted(principal.department_ids)
        text = jwt.encode(self._header, claims, self._key, registry=TOKEN_ALGORITHMS)
        return AccessToken(text, expire_time)
