"""Challenges: the proof of a first factor, for whoever is to show the second one. Pure.

A challenge says who proved what and until when, and is signed; nothing of it is stored. It is void
once the password has changed. It can be used again within its time, but what it is used with, a
code, can't.
"""

import base64
import binascii
import datetime as dt
import hashlib
import hmac
import json
from dataclasses import dataclass

from tieline.chassis.errors import UnauthenticatedError
from tieline.identity.sessions.devices import UNKNOWN_DEVICE, Device

LIFETIME = dt.timedelta(minutes=10)

# Ours have some 250 characters, and some 350 more for a device's name of 64.
_MAX_LENGTH = 1024


@dataclass(frozen=True, slots=True)
class Challenge:
    """Who has proved a first factor."""

    corp_id: str
    user_id: str
    method: str
    """How, such as ``password``; for the audit log."""

    credential: str
    """``fingerprint`` of the password's hash at that time."""

    is_enrolment_required: bool
    expire_time: dt.datetime
    device: Device = UNKNOWN_DEVICE
    """What the session will be listed with."""


class Challenges:
    """Writes and reads challenges."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def encode(self, challenge: Challenge) -> str:
        """Return the challenge as text."""
        fields = [
            challenge.corp_id,
            challenge.user_id,
            challenge.method,
            challenge.credential,
            challenge.is_enrolment_required,
            challenge.expire_time.timestamp(),
            challenge.device.name,
            challenge.device.platform,
        ]
        body = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
        return f"{_to_text(body)}.{_to_text(self._sign(body))}"

    def decode(self, text: str, now: dt.datetime) -> Challenge:
        """Return what the text says, or raise UnauthenticatedError (CHALLENGE_ENDED)."""
        encoded, _, mac = text.partition(".")
        body = _from_text(encoded)
        if len(text) > _MAX_LENGTH or not hmac.compare_digest(self._sign(body), _from_text(mac)):
            raise challenge_ended_error()
        fields = json.loads(body)
        corp_id, user_id, method, credential, is_enrolment_required, expire_s, *device = fields
        expire_time = dt.datetime.fromtimestamp(expire_s, dt.UTC)
        if now >= expire_time:
            raise challenge_ended_error()
        return Challenge(
            corp_id,
            user_id,
            method,
            credential,
            is_enrolment_required,
            expire_time,
            Device(*device),
        )

    def _sign(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, "sha256")


def fingerprint(password_hash: str | None) -> str:
    """Return what tells one password's hash from another, and nothing of either."""
    return hashlib.sha256((password_hash or "").encode()).hexdigest()[:16]


def challenge_ended_error() -> UnauthenticatedError:
    """Return the error for a challenge that is over, void or made up."""
    return UnauthenticatedError("CHALLENGE_ENDED", "the challenge is over; sign in again")


def _to_text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _from_text(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return b""
