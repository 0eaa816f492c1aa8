"""Secrets at rest that must be read again: encrypted, and bound to the row that they belong to.

Pure but for the randomness of the nonces.
"""

import secrets

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

# AES-GCM's own size. Random ones repeat by chance after some 2^32 secrets under one key.
_NONCE_BYTES = 12


class Seal:
    """Encrypts and decrypts with one key (AES-256-GCM)."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def close(self, plain: bytes, *owner: str) -> bytes:
        """Return a nonce and the encrypted bytes, which open for the same owner only."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, _join(owner))

    def open(self, sealed: bytes, *owner: str) -> bytes:
        """Return the plain bytes. InvalidTag, a fault, if they are not this owner's."""
        return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _join(owner))


def _join(owner: tuple[str, ...]) -> bytes:
    # NUL is in no id, so no two owners run into one text.
    return "\0".join(owner).encode()
