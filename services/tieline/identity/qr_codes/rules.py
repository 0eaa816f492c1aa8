"""The rules of signing in by QR code: who may do what while it stands where. Pure.

    waiting ──scan──▶ scanned ──approve──▶ approved ──session given──▶ given
                         └─────refuse────▶ rejected

Only whoever scanned the code decides. Approved stays approved until its time is over: the device
may have lost its connection for a moment. It gets nothing once the session that approved it has
ended: signed out everywhere is also out of what is about to begin.
"""

import datetime as dt
import hashlib
import hmac
import secrets
import uuid
from dataclasses import dataclass
from enum import StrEnum

from tieline.chassis.errors import NotFoundError
from tieline.identity.sessions.devices import Device

LIFETIME = dt.timedelta(minutes=2)
TEXT_PREFIX = "tieline:qr:"

_SECRET_BYTES = 32


class QrState(StrEnum):
    """Where a sign-in stands; the values stand in tables."""

    WAITING = "waiting"
    SCANNED = "scanned"
    APPROVED = "approved"
    REJECTED = "rejected"
    GIVEN = "given"


@dataclass(frozen=True, slots=True)
class QrSignIn:
    """A device that asks to be let in, and who has scanned its code."""

    state: QrState
    device: Device
    address: str
    corp_id: str | None
    user_id: str | None
    create_time: dt.datetime
    expire_time: dt.datetime
    session_id: uuid.UUID | None = None
    """The session that approved it; None before that."""

    def is_scanned_by(self, corp_id: str, user_id: str) -> bool:
        """Tell whether this member has scanned the code."""
        return (self.corp_id, self.user_id) == (corp_id, user_id)


def plan_scan(found: QrSignIn | None, corp_id: str, user_id: str) -> QrSignIn:
    """Return the sign-in that the member may look at, or raise NotFoundError."""
    if found is None or found.state not in (QrState.WAITING, QrState.SCANNED):
        raise qr_not_found_error()
    if found.state is QrState.SCANNED and not found.is_scanned_by(corp_id, user_id):
        raise qr_not_found_error()
    return found


def plan_decision(
    found: QrSignIn | None, corp_id: str, user_id: str, *, is_approved: bool
) -> QrState:
    """Return where the member's decision leads, or raise NotFoundError. A repeat leads nowhere."""
    if found is None or not found.is_scanned_by(corp_id, user_id):
        raise qr_not_found_error()
    decided = QrState.APPROVED if is_approved else QrState.REJECTED
    if found.state is QrState.SCANNED:
        return decided
    # Given is approved, and a little later.
    if found.state is decided or (is_approved and found.state is QrState.GIVEN):
        return found.state
    raise qr_not_found_error()


def new_poll_secret() -> str:
    """Return what the waiting device alone knows."""
    return secrets.token_urlsafe(_SECRET_BYTES)


def hash_poll_secret(secret: str) -> bytes:
    """Return what is stored of it."""
    return hashlib.sha256(secret.encode()).digest()


def is_poll_secret(stored_hash: bytes | None, secret: str) -> bool:
    """Tell whether this is the secret; nothing is where no hash is stored."""
    return hmac.compare_digest(stored_hash or b"", hash_poll_secret(secret))


def qr_not_found_error() -> NotFoundError:
    """Return the error for a code that this member can do nothing with, whatever the reason."""
    return NotFoundError("QR_NOT_FOUND", "the QR code is over; show a new one")
