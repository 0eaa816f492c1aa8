"""Signing keys: kept encrypted, published by their public halves, replaced in time. No I/O.

What a key does follows from the times at which it and its successor begin to sign:

    next      made, published, signs from ``sign_time`` on
    signing   the one with the latest ``sign_time`` that has come
    retired   published until the last token that it signed has expired
    over      deleted

So all replicas agree on the state of each key without writing it down.
"""

import datetime as dt
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from joserfc.jwk import OKPKey

from tieline.chassis.authentication import KEYS_MAX_AGE_S, build_public_key
from tieline.chassis.ids import new_uuid7
from tieline.chassis.revocation_list import MAX_TOKEN_LIFETIME_S

# AES-GCM's own size. Random ones repeat by chance after some 2^32 keys; there will be a handful.
_NONCE_BYTES = 12

PUBLISH_AHEAD = dt.timedelta(seconds=2 * KEYS_MAX_AGE_S)
"""A service that asks every five minutes knows the next key when it begins to sign, although it
missed a turn."""

# A replica that did not hear of a new key for some minutes signs with the one before.
_RETIRED_FOR = dt.timedelta(seconds=MAX_TOKEN_LIFETIME_S) + PUBLISH_AHEAD


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

    sign_time: dt.datetime
    """From when on it signs."""


@dataclass(frozen=True, slots=True)
class KeyChanges:
    """What has to happen to the keys."""

    is_next_due: bool
    over: Sequence[str]
    """Ids of keys to delete."""

    def __bool__(self) -> bool:
        return self.is_next_due or bool(self.over)


class SealBrokenError(Exception):
    """The stored key was sealed with another secret, or was changed."""


def plan_key_changes(
    keys: Sequence[SealedKey], now: dt.datetime, lifetime: dt.timedelta
) -> KeyChanges:
    """Decide what has to happen to the keys, which are given by ``sign_time``.

    The next key is made so early that it begins to sign when the lifetime of the present one ends.
    """
    over = [
        key.key_id for key, successor in pairwise(keys) if successor.sign_time + _RETIRED_FOR <= now
    ]
    is_next_due = not keys or keys[-1].sign_time + lifetime <= now + PUBLISH_AHEAD
    return KeyChanges(is_next_due, over)


def choose_sign_time(keys: Sequence[SealedKey], now: dt.datetime) -> dt.datetime:
    """Return from when on a key that is made now signs; the first one has nobody to wait for."""
    return now + PUBLISH_AHEAD if keys else now


def find_signing_key(keys: Sequence[SealedKey], now: dt.datetime) -> SealedKey:
    """Return the key that signs now, of keys given by ``sign_time``."""
    # None has begun where this clock is behind that of the replica which made the first one.
    return next((key for key in reversed(keys) if key.sign_time <= now), keys[0])


def build_sealed_key(seal_key: bytes, sign_time: dt.datetime) -> SealedKey:
    """Make a new signing key."""
    key_id = new_uuid7()
    private_key = Ed25519PrivateKey.generate()
    nonce = secrets.token_bytes(_NONCE_BYTES)
    sealed = AESGCM(seal_key).encrypt(nonce, private_key.private_bytes_raw(), key_id.encode())
    return SealedKey(key_id, private_key.public_key().public_bytes_raw(), nonce + sealed, sign_time)


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
