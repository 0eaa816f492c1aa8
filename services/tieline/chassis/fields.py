"""Rules and conversions of fields that several services share. Pure.

Checks add to a mapping from field path to rule, so that a caller learns of every wrong field at
once: collect, then ``raise_violations``.
"""

import datetime as dt
import re
from collections.abc import Mapping

from google.protobuf.timestamp_pb2 import Timestamp

from tieline.chassis.errors import InvalidArgumentError

# The open API's form of a userid (developer.work.weixin.qq.com/document/path/90195).
USER_ID_PATTERN = re.compile(r"[0-9A-Za-z][0-9A-Za-z_\-@.]{0,63}")

# Control characters have no place in names: they forge log lines and terminal output.
CONTROL_CHARACTER_PATTERN = re.compile(r"[\x00-\x1f\x7f]")

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_DAY_S = 24 * 60 * 60
_MICROSECOND_NS = 1000

_UUID_PATTERN = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def check_user_id(value: str, field: str, violations: dict[str, str]) -> None:
    """Refuse what is no user id."""
    if not USER_ID_PATTERN.fullmatch(value):
        violations[field] = (
            "must be 1 to 64 of 0-9 A-Z a-z _ - @ . and begin with a letter or digit"
        )


def check_text(
    value: str, field: str, violations: dict[str, str], *, minimum: int, maximum: int
) -> None:
    """Refuse a one-line text of fewer or more characters, or with control characters."""
    if not minimum <= len(value) <= maximum:
        violations[field] = f"must have {minimum} to {maximum} characters"
    elif minimum and not value.strip():
        violations[field] = "must not be blank"
    elif CONTROL_CHARACTER_PATTERN.search(value):
        violations[field] = "must not contain control characters"


def is_uuid(value: str) -> bool:
    """Return whether this is a UUID in the one spelling that is stored: lower case, hyphens."""
    return _UUID_PATTERN.fullmatch(value) is not None


def raise_violations(violations: Mapping[str, str]) -> None:
    """Raise one error for all violations, if there are any."""
    if violations:
        raise InvalidArgumentError(violations)


def read_timestamp(time: Timestamp, field: str) -> dt.datetime:
    """Return a request's time as an aware one, or refuse the field: it may be beyond all years."""
    try:
        return time.ToDatetime(dt.UTC)
    except (ValueError, OverflowError):
        raise InvalidArgumentError({field: "must be a time of the years 1 to 9999"}) from None


def to_timestamp(time: dt.datetime) -> Timestamp:
    """Return an aware time as a protobuf Timestamp."""
    # By hand: protobuf's own FromDatetime takes three times as long, and lists are full of times.
    since = time - _EPOCH
    return Timestamp(
        seconds=since.days * _DAY_S + since.seconds, nanos=since.microseconds * _MICROSECOND_NS
    )
