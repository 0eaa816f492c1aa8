"""Secrets of apps: derived and never stored, shown when they are made. Pure.

A secret is the HMAC of what made it: the request, its sender, the corp and the app. A repeat of the
request gives the same secret, although only its SHA-256 is kept.
"""

import base64
import datetime as dt
import hashlib
import hmac
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

# 32 bytes in base64url: as long as the secrets of the open API.
_SECRET_PATTERN = re.compile(r"[0-9A-Za-z_-]{43}")


@dataclass(frozen=True, slots=True)
class AppSecret:
    """A secret without what is secret of it."""

    secret_id: uuid.UUID
    create_time: dt.datetime
    expire_time: dt.datetime | None
    """None for the current one."""


@dataclass(frozen=True, slots=True)
class SecretChanges:
    """What a new secret does to those before it."""

    expiring: AppSecret | None
    """Stays good for the overlap."""

    ending: Sequence[AppSecret]
    """End now, and the tokens that they got."""


class AppSecrets:
    """Derives secrets."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def derive(self, request_id: str, principal_id: str, corp_id: str, agent_id: int) -> str:
        """Return the secret that this request of this sender makes for this app.

        NUL is in none of the parts, so no two different requests run into one text.
        """
        parts = (str(uuid.UUID(request_id)), principal_id, corp_id, str(agent_id))
        digest = hmac.digest(self._key, "\0".join(parts).encode(), "sha256")
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def hash_secret(secret: str) -> bytes | None:
    """Return what is stored of a secret; None for what can't be one."""
    if not _SECRET_PATTERN.fullmatch(secret):
        return None
    return hashlib.sha256(secret.encode()).digest()


def plan_rotation(secrets: Sequence[AppSecret], overlap: dt.timedelta) -> SecretChanges:
    """Decide what becomes of the secrets that are good, of which the last is the current one."""
    if not secrets or not overlap:
        return SecretChanges(None, secrets)
    return SecretChanges(secrets[-1], secrets[:-1])
