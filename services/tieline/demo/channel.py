"""A mini-program's server, as identity sees it: vouches for customers by signed assertions."""

import base64
import json
import time
import uuid

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tieline.api.identity.v1 import identity_service_pb2
from tieline.client import SignedIn, SignedInCustomer, Tieline

# Long enough for one sign-in on a slow machine; at most 5 minutes are allowed.
ASSERTION_LIFETIME_S = 60


class Channel:
    """Holds the channel's key."""

    def __init__(self, channel_id: str, key: Ed25519PrivateKey) -> None:
        self._channel_id = channel_id
        self._key = key

    @classmethod
    async def open(cls, administrator: SignedIn, display_name: str) -> "Channel":
        """Make a key, and have the platform trust it."""
        key = Ed25519PrivateKey.generate()
        response = await administrator.identity.CreateChannel(
            identity_service_pb2.CreateChannelRequest(
                display_name=display_name, public_key=key.public_key().public_bytes_raw()
            )
        )
        return cls(response.channel.channel_id, key)

    async def sign_in(self, tieline: Tieline, subject: str, name: str) -> SignedInCustomer:
        """Sign a customer in."""
        return await tieline.sign_in_customer(lambda: self._assert(subject, name))

    def _assert(self, subject: str, name: str) -> str:
        claims: dict[str, object] = {
            "iss": self._channel_id,
            "aud": "tieline",
            "sub": subject,
            "name": name,
            "jti": str(uuid.uuid4()),
            "exp": int(time.time()) + ASSERTION_LIFETIME_S,
        }
        signed = f"{_encode({'alg': 'EdDSA'})}.{_encode(claims)}"
        return f"{signed}.{_to_base64(self._key.sign(signed.encode()))}"


def _encode(part: dict[str, object]) -> str:
    return _to_base64(json.dumps(part).encode())


def _to_base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
