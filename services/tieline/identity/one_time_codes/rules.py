"""The rules of one-time codes: what they are made of, when they are good, when to send. Pure.

A code is the HMAC of its id, so that nothing of it is stored, and the replica that sends it need
not be the one that was asked. Whoever asked has the id: guessing takes an id of one's own, and five
guesses at each of the thirty that a receiver is sent in a day at most hit one in 6,000 times.
"""

import datetime as dt
import hmac
import re
from dataclasses import dataclass
from enum import StrEnum

DIGITS = 6
LIFETIME = dt.timedelta(minutes=5)
MAX_WRONG_ATTEMPTS = 5

# Delays of 1, 2, 4, … s between attempts to send: the eighth comes after two minutes, while there
# is time to type the code.
MAX_DELIVERY_ATTEMPTS = 8

# As the directory has them.
_MOBILE_PATTERN = re.compile(r"\+?[0-9]{5,19}")
_INTERNATIONAL_PATTERN = re.compile(r"\+[1-9][0-9]{6,14}")
_EMAIL_PATTERN = re.compile(r"[!-?A-~]+@[!-?A-~]+")
_EMAIL_LENGTHS = range(6, 65)


class Purpose(StrEnum):
    """What a code is good for; the values stand in tables and messages."""

    SIGN_IN = "sign_in"
    PASSWORD_RESET = "password_reset"  # noqa: S105 -- no password
    CUSTOMER_SIGN_IN = "customer_sign_in"


class ReceiverKind(StrEnum):
    """By what a receiver is reached; the values stand in tables and messages."""

    MOBILE = "mobile"
    EMAIL = "email"


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where a code goes."""

    kind: ReceiverKind
    address: str
    """A number, or an e-mail address in lower case."""


@dataclass(frozen=True, slots=True)
class OneTimeCode:
    """What is stored of a code, at ``now``."""

    purpose: Purpose
    receiver: Receiver
    user_id: str | None
    wrong_attempts: int
    expire_time: dt.datetime
    use_time: dt.datetime | None
    is_sent: bool
    now: dt.datetime

    def is_open(self, purpose: Purpose) -> bool:
        """Tell whether an attempt at it may still succeed."""
        return (
            self.purpose is purpose
            and self.is_sent
            and self.use_time is None
            and self.wrong_attempts < MAX_WRONG_ATTEMPTS
            and self.now < self.expire_time
        )


class OneTimeCodes:
    """Derives codes."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def derive(self, corp_id: str, code_id: str) -> str:
        """Return the code of this id."""
        digest = hmac.digest(self._key, f"{corp_id}\0{code_id}".encode(), "sha256")
        # 2^64 modulo 10^6 favours no code by more than 1 in 10^13.
        return f"{int.from_bytes(digest[:8]) % 10**DIGITS:0{DIGITS}}"

    def matches(self, corp_id: str, code_id: str, typed: str) -> bool:
        """Tell whether this was typed in for that code."""
        expected = self.derive(corp_id, code_id).encode()
        return hmac.compare_digest(expected, typed.replace(" ", "").encode())


def read_member_receiver(
    kind: str | None, address: str, violations: dict[str, str]
) -> Receiver | None:
    """Return the receiver, or add what is wrong with it."""
    if kind == "mobile":
        return _check(_MOBILE_PATTERN, ReceiverKind.MOBILE, address, violations)
    return _read_email(kind, address, violations)


def read_customer_receiver(
    kind: str | None, address: str, violations: dict[str, str]
) -> Receiver | None:
    """Return the receiver, or add what is wrong: no corp says which country a number is of."""
    if kind == "mobile":
        return _check(_INTERNATIONAL_PATTERN, ReceiverKind.MOBILE, address, violations)
    return _read_email(kind, address, violations)


def find_next_delivery(
    attempts: int, now: dt.datetime, expire_time: dt.datetime
) -> dt.datetime | None:
    """Return when to try again after this many attempts; None if that is no use any more."""
    next_time = now + dt.timedelta(seconds=2.0 ** (attempts - 1))
    if attempts >= MAX_DELIVERY_ATTEMPTS or next_time >= expire_time:
        return None
    return next_time


def _read_email(kind: str | None, address: str, violations: dict[str, str]) -> Receiver | None:
    if kind != "email":
        violations["receiver"] = "must be a mobile number or an e-mail address"
        return None
    if len(address) not in _EMAIL_LENGTHS:
        violations["email"] = "must have 6 to 64 characters"
        return None
    return _check(_EMAIL_PATTERN, ReceiverKind.EMAIL, address.lower(), violations)


def _check(
    pattern: re.Pattern[str], kind: ReceiverKind, address: str, violations: dict[str, str]
) -> Receiver | None:
    if pattern.fullmatch(address):
        return Receiver(kind, address)
    violations[kind.value] = {
        _MOBILE_PATTERN: "must be 5 to 19 digits, after a + or not",
        _INTERNATIONAL_PATTERN: "must be + with the country's code and the number, 7 to 15 digits",
    }.get(pattern, "must be an e-mail address")
    return None
