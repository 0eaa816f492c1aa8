"""Request ids: one name for a request in the logs of every service that it passes."""

import re

from tieline.chassis.ids import new_uuid7

REQUEST_ID_KEY = "x-request-id"

# Safe in any log and any header. 128 leaves room for what proxies make.
_WELL_FORMED = re.compile(r"[A-Za-z0-9_.:-]{1,128}").fullmatch


def accept_request_id(given: str | bytes | None) -> str:
    """Return the caller's request id, or a new one where it is absent or malformed."""
    if isinstance(given, str) and _WELL_FORMED(given):
        return given
    return new_uuid7()
