"""Waiting for what happens by itself, without sleeping for a guessed time."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

# Far above what anything here takes, below the test's own timeout.
_TIMEOUT_S = 40.0

# What comes soon is seen at once; what takes long is not slowed down by being asked all the time.
_FIRST_POLL_INTERVAL_S = 0.01
_LAST_POLL_INTERVAL_S = 0.1


async def eventually(
    condition: Callable[[], object] | Callable[[], Awaitable[object]],
    *,
    timeout_s: float = _TIMEOUT_S,
) -> None:
    """Return once ``condition()`` is true; fail with its source when it never becomes so."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    interval_s = _FIRST_POLL_INTERVAL_S
    while True:
        result = condition()
        if inspect.isawaitable(result):
            result = await result
        if result:
            return
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"never became true: {inspect.getsource(condition).strip()}")
        await asyncio.sleep(interval_s)
        interval_s = min(interval_s * 1.25, _LAST_POLL_INTERVAL_S)
