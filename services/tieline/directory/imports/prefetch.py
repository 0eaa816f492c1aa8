"""The next item is made while the one before is used; nothing further ahead."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

T = TypeVar("T")


async def prefetched(items: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """Yield the items; memory holds two of them."""
    async with aclosing(items):
        making = asyncio.create_task(_next(items))
        try:
            while (item := await making) is not None:
                making = asyncio.create_task(_next(items))
                yield item
        finally:
            # The generator can't be closed while its next item is being made.
            making.cancel()
            await asyncio.gather(making, return_exceptions=True)


async def _next(items: AsyncGenerator[T, None]) -> T | None:
    return await anext(items, None)
