"""Access tokens: what identity says about a caller, signed. Pure.

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
    """Signs access tokens of one lifetime, each with the key of its time."""

    def __init__(
        self, find_key: Callable[[dt.datetime], tuple[str, OKPKey]], *, lifetime: dt.timedelta
    ) -> None:
        self._find_key = find_key
        self._lifetime = lifetime

    def sign(self, principal: Principal, issue_time: dt.datetime) -> AccessToken:
        """Return a token for the principal, good from the time of issue on.

        The time is the database's, read under the locks that hold revocations back.
        """
        # JWT times are whole seconds; what the caller is told must not be later than the token's.
        second = issue_time.replace(microsecond=0)
        expire_time = second + self._lifetime
        claims: dict[str, object] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": principal.id,
            "kind": principal.kind.value,
            "roles": sorted(principal.roles),
            "name": principal.display_name,
            "sid": principal.session_id,
            # With its fraction: a revocation of this very second is told from this token by it.
            "iat": issue_time.timestamp(),
            "nbf": int(second.timestamp()),
            "exp": int(expire_time.timestamp()),
        }
        if principal.corp_id:
            claims["corp"] = principal.corp_id
        if principal.home_corp_id:
            claims["home"] = principal.home_corp_id
            claims["link"] = principal.link_id
        if principal.rights:
            claims["rights"] = sorted(principal.rights)
        if principal.department_ids:
            claims["departments"] = sorted(principal.department_ids)
        key_id, key = self._find_key(issue_time)
        header = {"alg": ALGORITHM, "kid": key_id}
        text = jwt.encode(header, claims, key, registry=TOKEN_ALGORITHMS)
        return AccessToken(text, expire_time)
