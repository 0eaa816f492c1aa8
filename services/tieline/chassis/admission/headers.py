"""What admission reads of a call before anything about the caller is verified. Pure.

Whatever is read here may be made up: it places a call among others and grants nothing.
"""

import base64
import json
from collections.abc import Mapping
from types import MappingProxyType

from tieline.chassis.admission.priorities import BusinessClass
from tieline.chassis.authentication import MAX_TOKEN_LENGTH

# A longer one is not even verified.
_MAX_READ_LENGTH = len("Bearer ") + MAX_TOKEN_LENGTH

_MAX_COUNTS_LENGTH = 40

NOTHING_HELD_BACK: Mapping[int, int] = MappingProxyType({})


def read_claimed_user(authorization: object) -> str | None:
    """Return the user whom a bearer token claims to be of, unverified; None where it claims none.

    In the same words as for a verified principal, so that verification changes no place.
    """
    if not isinstance(authorization, str) or len(authorization) > _MAX_READ_LENGTH:
        return None
    parts = authorization.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=="))
        user = f"{claims['kind']}/{claims.get('corp', '')}/{claims['sub']}"
        # JSON may name half of a surrogate pair, which nobody's id has and nothing can hash.
        user.encode()
        return user
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def read_held_back(text: object) -> Mapping[int, int]:
    """Return the counts of ``<critical>,<high>,<normal>,<low>``; nothing for what is malformed."""
    if not isinstance(text, str) or len(text) > _MAX_COUNTS_LENGTH:
        return NOTHING_HELD_BACK
    parts = text.split(",")
    if len(parts) != len(BusinessClass) or not all(
        part.isascii() and part.isdecimal() for part in parts
    ):
        return NOTHING_HELD_BACK
    return {of: int(part) for of, part in zip(BusinessClass, parts, strict=True)}
