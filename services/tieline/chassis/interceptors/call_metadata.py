"""What the interceptor and the guarded methods read of a call's metadata."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar

Metadata = Mapping[str, str | bytes]

AUTHORIZATION_KEY = "authorization"

HELD_BACK_KEY = "tieline-held-back"
"""Metadata of our client library: how many calls it did not send since it last said so."""

_BEARER = "bearer "

arrived_metadata: ContextVar[Metadata] = ContextVar("tieline_arrived_metadata")
"""Set by the interceptor for the handler, which runs in the same task. Asking gRPC's context for
it would decode every entry a second time."""


def read_token(metadata: Metadata) -> str:
    """Return the bearer token; empty where there is none."""
    value = metadata.get(AUTHORIZATION_KEY)
    if isinstance(value, str) and value[: len(_BEARER)].lower() == _BEARER:
        return value[len(_BEARER) :]
    return ""
