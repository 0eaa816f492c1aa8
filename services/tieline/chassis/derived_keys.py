"""Keys for one purpose each, derived from a service's ``secret_key``."""

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32


def derive_key(secret_key: str, purpose: str) -> bytes:
    """Return the 32-byte key of a purpose (HKDF-SHA-256, RFC 5869).

    Keys of different purposes tell nothing of each other, so that a page token never helps to
    open a secret at rest. ``purpose`` is a constant such as ``identity.signing-keys``.
    """
    derivation = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=purpose.encode())
    return derivation.derive(secret_key.encode())
