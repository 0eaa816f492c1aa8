"""A call's metadata as it arrived, and the keys in it that several modules read."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar

Metadata = Mapping[str, str | bytes]

AUTHORIZATION_KEY = "authorization"

HELD_BACK_KEY = "tieline-held-back"
"""Metadata of our client library: how many calls it did not send since it last said so."""

RETRY_KEY = "grpc-previous-rpc-attempts"
"""Metadata of a call that gRPC itself sends again (gRFC A6)."""

OUR_RETRY_KEY = "tieline-previous-attempts"
"""The same of our client library: gRPC's Python client lets nobody else set gRPC's."""

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
