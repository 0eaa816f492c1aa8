"""Ids that the platform makes: time-ordered UUIDs, and the forms that open-API clients know."""

import secrets
import string

import uuid_utils

# 24 characters of 36 hold 124 bits: no two corps, customers or groups ever meet.
_SUFFIX_LENGTH = 24
_SUFFIX_ALPHABET = string.ascii_lowercase + string.digits


def new_uuid7() -> str:
    """Return a UUIDv7: unique everywhere, ordered by the time it was made."""
    return str(uuid_utils.uuid7())


def new_corp_id() -> str:
    """Return a corp id, ``ww…``."""
    return "ww" + _random_suffix()


def new_customer_id() -> str:
    """Return a customer id, ``wm…``."""
    return "wm" + _random_suffix()


def new_customer_group_id() -> str:
    """Return a customer group id, ``wr…``."""
    return "wr" + _random_suffix()


def _random_suffix() -> str:
    return "".join(secrets.choice(_SUFFIX_ALPHABET) for _ in range(_SUFFIX_LENGTH))
