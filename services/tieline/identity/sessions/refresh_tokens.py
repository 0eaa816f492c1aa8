"""Refresh tokens: their form, and what using one does to its session. Pure.

A token names its session and its generation, and holds the session's seed and a MAC:

    corp_id . session_id . generation . seed . MAC over the four before it

Each refresh makes the next generation. The seed, 16 random bytes, is the same in all generations;
the database has its SHA-256 alone. So neither a copy of the database nor the MAC's key makes a
token, and the token of a generation is the same however often it is made: two answers to one
refresh agree. The MAC tells a token that was used up, which ends the session, from a made-up one,
which must end nobody's.
"""

import base64
import binascii
import datetime as dt
import hashlib
import hmac
import secrets
import uuid
from dataclasses import dataclass, replace
from enum import Enum, auto

SEED_BYTES = 16
_MAC_BYTES = 16

# Ours have about 130 characters.
_MAX_LENGTH = 300

# Within this a token that comes again is taken for a repeat whose answer was lost.
REPEAT_WINDOW = dt.timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """What a refresh token says."""

    corp_id: str
    session_id: uuid.UUID
    generation: int
    seed: bytes

    @classmethod
    def first(cls, corp_id: str, session_id: str, seed: bytes) -> "RefreshToken":
        """Return the token that a new session begins with."""
        return cls(corp_id, uuid.UUID(session_id), 0, seed)

    @property
    def seed_hash(self) -> bytes:
        """What the database keeps of the seed."""
        return hashlib.sha256(self.seed).digest()

    def next(self) -> "RefreshToken":
        """Return the token that takes this one's place."""
        return replace(self, generation=self.generation + 1)


class RefreshTokens:
    """Writes and reads refresh tokens."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def encode(self, token: RefreshToken) -> str:
        """Return the token as text; the same text each time."""
        body = f"{token.corp_id}.{token.session_id}.{token.generation}.{_to_text(token.seed)}"
        return f"{body}.{_to_text(self._sign(body))}"

    def decode(self, text: str) -> RefreshToken | None:
        """Return what the text says, or None unless it was made by ``encode`` with the same key."""
        body, _, mac = text.rpartition(".")
        if len(text) > _MAX_LENGTH or not hmac.compare_digest(self._sign(body), _from_text(mac)):
            return None
        corp_id, session_id, generation, seed = body.split(".")
        return RefreshToken(corp_id, uuid.UUID(session_id), int(generation), _from_text(seed))

    def _sign(self, body: str) -> bytes:
        return hmac.digest(self._key, body.encode(), "sha256")[:_MAC_BYTES]


@dataclass(frozen=True, slots=True)
class RefreshState:
    """What a session knows about its refresh tokens, at ``now``."""

    seed_hash: bytes
    generation: int
    """Of the newest token."""

    refresh_time: dt.datetime
    """When the newest token was issued."""

    expire_time: dt.datetime
    """When the newest token ends."""

    end_time: dt.datetime | None
    now: dt.datetime


class Refresh(Enum):
    """What using a refresh token does."""

    ROTATE = auto()
    """It is the newest: it is used up, and the next one is issued."""

    REPEAT = auto()
    """It was used up a moment ago, and what it was exchanged for was not used: the same answer."""

    END = auto()
    """It was used up before: somebody stole it, and the session ends for both."""

    REJECT = auto()
    """The session is over, or is another one. Nothing changes."""


def decide_refresh(token: RefreshToken, state: RefreshState) -> Refresh:
    """Decide what using a token does to its session. The caller holds the session's lock."""
    is_over = state.end_time is not None or state.now >= state.expire_time
    if is_over or not hmac.compare_digest(token.seed_hash, state.seed_hash):
        return Refresh.REJECT
    if token.generation == state.generation:
        return Refresh.ROTATE
    # Newer than the newest: the database was restored from an earlier backup. Nobody stole it.
    if token.generation > state.generation:
        return Refresh.REJECT
    is_latest_used = token.generation == state.generation - 1
    if is_latest_used and state.now - state.refresh_time <= REPEAT_WINDOW:
        return Refresh.REPEAT
    return Refresh.END


def new_seed() -> bytes:
    """Return the seed of a new session."""
    return secrets.token_bytes(SEED_BYTES)


def _to_text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _from_text(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return b""
