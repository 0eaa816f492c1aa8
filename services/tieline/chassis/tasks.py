"""Ends tasks of our own."""

import asyncio
from typing import Any

# What a cancelled task still does (a nak, a rollback) is over within this as a rule, and is not
# cancelled a second time before.
_AGAIN_S = 2.0


async def end_task(task: "asyncio.Task[Any]", *, again_s: float = _AGAIN_S) -> None:
    """Cancel the task and return when it has ended, however.

    It is cancelled again while it goes on: `asyncio.wait_for` before Python 3.12 swallows a
    cancellation that comes with what it waits for, and nats-py fetches with it.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=again_s)
    await asyncio.gather(task, return_exceptions=True)
