"""Signing keys: made once, kept encrypted, given out by their public halves. No I/O."""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from joserfc.jwk import OKPKey

from tieline.chassis.authentication import build_public_key
from tieline.chassis.ids import new_uuid7

# AES-GCM's own size. Random ones repeat by chance after some 2^32 keys; there will be a handful.
_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class PublicKey:
    """What verifies tokens."""

    key_id: str
    public_key: bytes
    """Raw Ed25519 public key, 32 bytes."""


@dataclass(frozen=True, slots=True)
class SealedKey:
    """A signing key as it is stored."""

    key_id: str
    public_key: bytes
    sealed_private_key: bytes = field(repr=False)
    """The nonce, then the private key encrypted for this key id."""


class SealBrokenError(Exception):
    """The stored key was sealed with another secret, or was changed."""


def build_sealed_key(seal_key: bytes) -> SealedKey:
    """Make a new signing key."""
    key_id = new_uuid7()
    private_key = Ed25519PrivateKey.generate()
    nonce = secrets.token_bytes(_NONCE_BYTES)
    sealed = AESGCM(seal_key).encrypt(nonce, private_key.private_bytes_raw(), key_id.encode())
    return SealedKey(key_id, private_key.public_key().public_bytes_raw(), nonce + sealed)


def open_sealed_key(key: SealedKey, seal_key: bytes) -> OKPKey:
    """Return the private key, or raise SealBrokenError."""
    nonce, sealed = key.sealed_private_key[:_NONCE_BYTES], key.sealed_private_key[_NONCE_BYTES:]
    try:
        raw = AESGCM(seal_key).decrypt(nonce, sealed, key.key_id.encode())
    except (InvalidTag, ValueError):  # ValueError: too short to hold a nonce
        raise SealBrokenError(key.key_id) from None
    return OKPKey.import_key(Ed25519PrivateKey.from_private_bytes(raw))


def read_public_keys(keys: Iterable[PublicKey]) -> Mapping[str, OKPKey]:
    """Return the keys by id, as the token verifier takes them."""
    return {key.key_id: build_public_key(key.public_key) for key in keys}
