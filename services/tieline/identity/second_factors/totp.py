"""Authenticators' codes: RFC 6238 with SHA-1, 6 digits and 30 s, as every authenticator app has it.

Pure but for the randomness of a new secret; the time is passed in.
"""

import base64
import hashlib
import hmac
import re
import secrets

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.hotp import HOTP
from cryptography.hazmat.primitives.twofactor.totp import TOTP

STEP_S = 30
DIGITS = 6

# RFC 4226 asks for 16 bytes at least and recommends 20.
SECRET_BYTES = 20

# One step to either side: clocks of telephones, and the time that typing takes.
_STEPS_AROUND = (-1, 0, 1)

_CODE_PATTERN = re.compile(r"[0-9]{6}")

RECOVERY_CODE_COUNT = 10

# 80 bits in 16 characters of base32.
_RECOVERY_CODE_BYTES = 10
_MAX_TYPED_LENGTH = 64


def new_secret() -> bytes:
    """Return the secret of a new authenticator."""
    return secrets.token_bytes(SECRET_BYTES)


def encode_secret(secret: bytes) -> str:
    """Return the secret as people type it into an authenticator."""
    return base64.b32encode(secret).decode().rstrip("=")


def build_uri(secret: bytes, *, account: str, issuer: str) -> str:
    """Return what authenticators read from a QR code."""
    return TOTP(secret, DIGITS, SHA1(), STEP_S).get_provisioning_uri(account, issuer)  # noqa: S303


def find_step(secret: bytes, code: str, *, now_s: float, last_used_step: int) -> int | None:
    """Return the step whose code this is; None for a wrong one and for one that was used up.

    Using a step uses up those before it: a code that was looked at over a shoulder is worth
    nothing once its owner is in.
    """
    typed = code.replace(" ", "")
    if not _CODE_PATTERN.fullmatch(typed):
        return None
    hotp = HOTP(secret, DIGITS, SHA1())  # noqa: S303
    current = int(now_s // STEP_S)
    found = None
    for step in (current + offset for offset in _STEPS_AROUND):
        # All of them are compared, so that the time tells nothing.
        if hmac.compare_digest(hotp.generate(step), typed.encode()) and step > last_used_step:
            found = step
    return found


def derive_recovery_codes(key: bytes, *parts: str) -> list[str]:
    """Return the recovery codes that are made of these parts, the same ones each time."""
    return [
        _to_text(hmac.digest(key, "\0".join((*parts, str(number))).encode(), "sha256"))
        for number in range(RECOVERY_CODE_COUNT)
    ]


def hash_recovery_code(code: str) -> bytes:
    """Return what is stored of a recovery code and compared with one that was typed in."""
    typed = code[:_MAX_TYPED_LENGTH].upper()
    return hashlib.sha256("".join(c for c in typed if c not in " -").encode()).digest()


def _to_text(digest: bytes) -> str:
    return base64.b32encode(digest[:_RECOVERY_CODE_BYTES]).decode()
