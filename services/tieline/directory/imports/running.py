"""How many imports this process writes: what can be done later gives way to them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class RunningImports:
    """Counts imports, and tells when there is none."""

    def __init__(self) -> None:
        self._count = 0
        self._is_none = asyncio.Event()
        self._is_none.set()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count the block as an import."""
        self._count += 1
        self._is_none.clear()
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self._is_none.set()

    async def give_way(self, at_most_s: float) -> None:
        """Wait while any runs, but not longer than this: some run all day."""
        if not self._is_none.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(at_most_s):
                    await self._is_none.wait()
