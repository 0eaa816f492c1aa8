"""What hosts and pods are called in the subjects of load reports."""

import re

_MAX_LENGTH = 63
_NOT_IN_NAMES = re.compile(r"[^0-9A-Za-z_-]")


def name_reporter(host: str) -> str:
    """Return the name under which a host or a pod reports: one token of a subject."""
    return _NOT_IN_NAMES.sub("-", host)[-_MAX_LENGTH:]
