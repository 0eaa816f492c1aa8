"""How much a request matters: its business class, and its user's place within the class. Pure.

A priority is one number, smaller is more important: the class times 128 plus the user's level. It
is fixed where a request enters the platform, by gRPC, and travels with everything that the request
causes, as a NATS header of questions and events.
Within a class users are ordered by a keyed hash that changes every hour: whoever is refused now is
let in later, and nobody can choose an id that always gets in.
"""

from enum import IntEnum
from hashlib import blake2b


class BusinessClass(IntEnum):
    """The values of ``tieline.api.common.v1.BusinessClass``, where each is explained."""

    CRITICAL = 1
    HIGH = 2
    NORMAL = 3
    LOW = 4


USER_LEVELS = 128
"""Users of a class are refused in this many steps."""

LOWEST_PRIORITY = BusinessClass.LOW * USER_LEVELS + USER_LEVELS - 1
"""The largest number there is; as a level it admits everything."""

HIGHEST_PRIORITY = BusinessClass.CRITICAL * USER_LEVELS

DEFAULT_PRIORITY = BusinessClass.NORMAL * USER_LEVELS + USER_LEVELS - 1
"""Of what names none: not before anybody who reads, not after what can wait."""

# Everybody's turn comes: DAGOR's interval.
_EPOCH_S = 3600

_HASH_KEY_BYTES = 32


def priority_of(business_class: int, user_level: int) -> int:
    """Return the priority of a class and a user's level."""
    return business_class * USER_LEVELS + user_level


def class_of(priority: int) -> int:
    """Return the class of a priority."""
    return priority // USER_LEVELS


def user_level_of(user: str, *, key: bytes, now: float) -> int:
    """Return the place, 0 to 127, that a user has within its class in this hour.

    ``key`` is a secret that all replicas of the platform's entry share, ``now`` seconds since the
    epoch. By the user and never by the session: else whoever is refused would sign in again.
    """
    epoch = int(now // _EPOCH_S)
    text = f"{epoch}/{user}".encode()
    digest = blake2b(text, digest_size=2, key=key[:_HASH_KEY_BYTES]).digest()
    return int.from_bytes(digest, "big") % USER_LEVELS


def read_priority(text: object) -> int | None:
    """Return the priority that a message of another service names, or None if it names none.

    What is no number of the range is ignored: a fault of one service must not stop another.
    """
    if not isinstance(text, str) or not text.isascii() or not text.isdecimal() or len(text) > 3:
        return None
    priority = int(text)
    return priority if HIGHEST_PRIORITY <= priority <= LOWEST_PRIORITY else None
