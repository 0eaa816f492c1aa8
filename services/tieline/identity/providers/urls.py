"""Which URLs are taken: of an administrator, and of what a provider says of itself. Pure."""

import ipaddress
from urllib.parse import urlsplit

MAX_URL_LENGTH = 512


def is_url(text: str, *, is_bare: bool) -> bool:
    """Tell whether this is an https URL, or an http one of this very machine."""
    if len(text) > MAX_URL_LENGTH or not text.isascii() or not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    if not parts.hostname or parts.username is not None or parts.fragment or "#" in text:
        return False
    if is_bare and "?" in text:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
