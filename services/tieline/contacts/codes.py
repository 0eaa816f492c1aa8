"""Codes that QR codes carry. Whoever knows one may come in, so nobody can guess one."""

import re
import secrets

from tieline.chassis.errors import NotFoundError

# 192 bits, which base64url writes as 32 characters.
_CODE_BYTES = 24
_CODE = re.compile(r"[0-9A-Za-z_-]{32}")


def new_code() -> str:
    """Return 32 characters that nobody can guess."""
    return secrets.token_urlsafe(_CODE_BYTES)


def check_code(code: str) -> None:
    """Refuse what can't be a code just as an unknown code is refused."""
    if not _CODE.fullmatch(code):
        raise code_not_found_error()


def code_not_found_error() -> NotFoundError:
    """Build what those get who show a code that the corp does not have."""
    return NotFoundError("CODE_NOT_FOUND", "no such code")
