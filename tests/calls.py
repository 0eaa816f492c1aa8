"""Calls of a service's public API as somebody, for tests; failures come as TielineError."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
import pytest

from tieline.client.errors import TielineError

R = TypeVar("R")

# Far above what any call here takes, below the test's own timeout.
TIMEOUT_S = 20


async def call(method: Callable[..., Awaitable[R]], request: Any, token: str) -> R:
    """Call once, as the party that the access token names."""
    metadata = (("authorization", f"Bearer {token}"),)
    try:
        return await method(request, metadata=metadata, timeout=TIMEOUT_S)
    except grpc.aio.AioRpcError as error:
        raise TielineError.from_rpc_error(error) from None


async def refusal(method: Callable[..., Awaitable[Any]], request: Any, token: str) -> TielineError:
    """Call, and return the error that the call must end with."""
    with pytest.raises(TielineError) as caught:
        await call(method, request, token)
    return caught.value
