"""Checks of single fields of what messages say. Pure."""

import re

Violations = dict[str, str]

MAX_URL_BYTES = 2048

_ID_PATTERN = re.compile(r"[0-9A-Za-z_\-]+")
_MAX_MEDIA_ID_CHARACTERS = 128

# Whether a page is there is nobody's business here; that a client can open it without harm is.
_URL_PATTERN = re.compile(r"https?://[^\s/?#\x00-\x1f\x7f][^\s\x00-\x1f\x7f]*", re.IGNORECASE)


def check_bytes(
    value: str, field: str, violations: Violations, *, minimum: int = 0, maximum: int
) -> None:
    """Refuse a text of fewer or more bytes of UTF-8, or with U+0000."""
    if not minimum <= len(value.encode()) <= maximum:
        violations[field] = f"must have {minimum} to {maximum} bytes of UTF-8"
    elif "\0" in value:
        violations[field] = "must not contain U+0000"


def check_length(
    value: str, field: str, violations: Violations, *, minimum: int = 0, maximum: int
) -> None:
    """Refuse a text, perhaps of several lines, of fewer or more characters, or with U+0000."""
    if not minimum <= len(value) <= maximum:
        violations[field] = f"must have {minimum} to {maximum} characters"
    elif "\0" in value:
        violations[field] = "must not contain U+0000"


def check_id(value: str, field: str, violations: Violations, *, maximum: int) -> None:
    """Refuse what is no id of letters, digits, ``_`` and ``-``."""
    if len(value) > maximum or not _ID_PATTERN.fullmatch(value):
        violations[field] = f"must be 1 to {maximum} of 0-9 A-Z a-z _ -"


def check_media_id(
    value: str, field: str, violations: Violations, *, optional: bool = False
) -> None:
    """Refuse what can't be the id of an upload."""
    if value or not optional:
        check_id(value, field, violations, maximum=_MAX_MEDIA_ID_CHARACTERS)


def check_url(value: str, field: str, violations: Violations, *, optional: bool = False) -> None:
    """Refuse what is no web address."""
    if not value and optional:
        return
    if len(value.encode()) > MAX_URL_BYTES or not _URL_PATTERN.fullmatch(value):
        violations[field] = f"must be an http or https address of at most {MAX_URL_BYTES} bytes"


def check_range(
    value: float, field: str, violations: Violations, minimum: float, maximum: float
) -> None:
    """Refuse a number outside of its range, or none at all (NaN)."""
    if not minimum <= value <= maximum:
        violations[field] = f"must be {minimum} to {maximum}"
