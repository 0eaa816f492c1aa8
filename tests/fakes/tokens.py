"""Access tokens as identity would sign them, with a key of the test's own."""

import base64
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from joserfc import jwt
from joserfc.jwk import OKPKey
from nats.aio.client import Client

from tieline.api.identity.v1 import identity_requests_pb2
from tieline.chassis.authentication import ALGORITHM, AUDIENCE, ISSUER, TOKEN_ALGORITHMS
from tieline.chassis.requests import RequestHandler, answering

KEY_ID = "test-key"
LIFETIME_S = 3600


def claiming(claims: dict[str, Any]) -> str:
    """Return the ``authorization`` of a token that claims this and that nobody signed."""
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"Bearer x.{payload}.y"


class TestTokens:
    """Signs tokens, and publishes the key that verifies them."""

    __test__ = False  # no test class, whatever pytest thinks of its name

    def __init__(self) -> None:
        self._key = OKPKey.generate_key("Ed25519", private=True)

    def member(
        self, corp_id: str, user_id: str, *, roles: tuple[str, ...] = (), name: str = ""
    ) -> str:
        """Return the token of a member."""
        return self.sign(
            {"kind": "member", "corp": corp_id, "sub": user_id, "roles": list(roles), "name": name}
        )

    def administrator(self, corp_id: str, user_id: str = "admin") -> str:
        """Return the token of a corp's owner."""
        return self.member(corp_id, user_id, roles=("owner",))

    def limited_administrator(
        self,
        corp_id: str,
        *,
        departments: Sequence[int] = (),
        rights: Sequence[str] = ("manage_directory",),
        user_id: str = "limited",
    ) -> str:
        """Return the token of an administrator with these rights in these departments."""
        return self.sign(
            {
                "kind": "member",
                "corp": corp_id,
                "sub": user_id,
                "roles": ["administrator"],
                "rights": list(rights),
                "departments": list(departments),
            }
        )

    def linked_app(
        self, corp_id: str, home_corp_id: str, link_id: str, *, rights: Sequence[str]
    ) -> str:
        """Return the token of another corp's app that a link lets into the corp."""
        return self.sign(
            {
                "kind": "linked_app",
                "corp": corp_id,
                "home": home_corp_id,
                "link": link_id,
                "sub": "1000002",
                "rights": list(rights),
            }
        )

    def app(self, corp_id: str, agent_id: str, *, rights: Sequence[str]) -> str:
        """Return the token of a corp's own program."""
        return self.sign({"kind": "app", "corp": corp_id, "sub": agent_id, "rights": list(rights)})

    def customer(self, customer_id: str, *, name: str = "Customer") -> str:
        """Return the token of a customer."""
        return self.sign({"kind": "customer", "sub": customer_id, "name": name})

    def platform(self) -> str:
        """Return the token of a platform administrator."""
        return self.sign({"kind": "platform_administrator", "sub": "platform"})

    def sign(self, claims: dict[str, Any]) -> str:
        """Return a token with these claims over valid defaults."""
        now = int(time.time())
        defaults = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sid": "test-session",
            "iat": now,
            "nbf": now,
            "exp": now + LIFETIME_S,
        }
        header = {"alg": ALGORITHM, "kid": KEY_ID}
        return jwt.encode(header, {**defaults, **claims}, self._key, registry=TOKEN_ALGORITHMS)

    @property
    def public_key(self) -> bytes:
        """The raw Ed25519 public key, 32 bytes."""
        return self._key.public_key.public_bytes_raw()

    @asynccontextmanager
    async def published(self, broker: Client) -> AsyncIterator[None]:
        """Answer in identity's place what the signing keys are; ``broker`` is identity's user."""

        async def get_signing_keys(
            request: identity_requests_pb2.GetSigningKeysRequest,
        ) -> identity_requests_pb2.GetSigningKeysResponse:
            response = identity_requests_pb2.GetSigningKeysResponse()
            response.keys.add(key_id=KEY_ID, public_key=self.public_key)
            return response

        handler = RequestHandler(identity_requests_pb2.GetSigningKeysRequest, get_signing_keys)
        async with answering(broker, "identity", {"get_signing_keys": handler}):
            yield
