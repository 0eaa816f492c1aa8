"""Assertions: what a trusted channel says about a person, as a JWT it signed. Pure.

Whatever is wrong with one gives the same answer. A forger learns nothing; a channel's developer
finds each rule in the proto comment of ``SignInCustomerRequest.assertion``.
"""

import datetime as dt
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from tieline.chassis.authentication import (
    ALGORITHM,
    AUDIENCE,
    CLOCK_SKEW_S,
    MAX_TOKEN_LENGTH,
    TOKEN_ALGORITHMS,
)
from tieline.chassis.fields import check_text
from tieline.identity.sign_in.credentials import credentials_rejected_error

MAX_LIFETIME_S = 5 * 60
MAX_SUBJECT_BYTES = 128
MAX_ID_LENGTH = 128
MAX_NAME_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Assertion:
    """A person whom a channel vouches for."""

    channel_id: str
    subject: str
    """The person's id at the channel."""

    display_name: str
    jti: str
    """Unique for the channel; good once."""

    expire_time: dt.datetime


def read_channel_id(text: str) -> str:
    """Return the channel that an assertion claims to be from; nothing is verified yet."""
    if len(text) > MAX_TOKEN_LENGTH:
        raise credentials_rejected_error()
    try:
        token = jws.extract_compact(text.encode("ascii"))
        claims = json.loads(token.payload)
    # Deeply nested brackets end in a RecursionError.
    except (JoseError, ValueError, RecursionError) as error:
        raise credentials_rejected_error() from error
    if token.headers().get("alg") != ALGORITHM or not isinstance(claims, dict):
        raise credentials_rejected_error()
    return _line(claims, "iss", MAX_ID_LENGTH)


def read_assertion(text: str, channel_id: str, key: OKPKey, now: dt.datetime) -> Assertion:
    """Return what the channel's assertion says, or raise UnauthenticatedError.

    Whether it was used before is not known here.
    """
    try:
        claims = jwt.decode(text, key, registry=TOKEN_ALGORITHMS).claims
    except (JoseError, ValueError, RecursionError) as error:
        raise credentials_rejected_error() from error
    if claims.get("iss") != channel_id or claims.get("aud") != AUDIENCE:
        raise credentials_rejected_error()
    return Assertion(
        channel_id=channel_id,
        subject=_subject(claims),
        display_name=_line(claims, "name", MAX_NAME_LENGTH),
        jti=_line(claims, "jti", MAX_ID_LENGTH),
        expire_time=_expire_time(claims, now),
    )


def _subject(claims: Mapping[str, Any]) -> str:
    subject = _line(claims, "sub", MAX_SUBJECT_BYTES)
    if len(subject.encode()) > MAX_SUBJECT_BYTES:
        raise credentials_rejected_error()
    return subject


def _expire_time(claims: Mapping[str, Any], now: dt.datetime) -> dt.datetime:
    """Return the end of an assertion that is good now and for five minutes at most."""
    now_s = now.timestamp()
    expiry_s = _second(claims, "exp", default=None)
    if not now_s < expiry_s <= now_s + MAX_LIFETIME_S:
        raise credentials_rejected_error()
    if max(_second(claims, name, default=0) for name in ("nbf", "iat")) > now_s + CLOCK_SKEW_S:
        raise credentials_rejected_error()
    return dt.datetime.fromtimestamp(expiry_s, dt.UTC)


def _second(claims: Mapping[str, Any], name: str, *, default: float | None) -> float:
    value = claims.get(name, default)
    # bool is an int to Python, and NaN compares false with every time.
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
        raise credentials_rejected_error()
    return float(value)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of a thousand digits
        return False


def _line(claims: Mapping[str, Any], name: str, maximum: int) -> str:
    """Return a claim that is one line of text."""
    value = claims.get(name)
    violations: dict[str, str] = {}
    if not isinstance(value, str) or not _is_unicode(value):
        raise credentials_rejected_error()
    check_text(value, name, violations, minimum=1, maximum=maximum)
    if violations:
        raise credentials_rejected_error()
    return value


def _is_unicode(value: str) -> bool:
    # JSON can hold half of a surrogate pair; neither protobuf nor PostgreSQL takes one.
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
