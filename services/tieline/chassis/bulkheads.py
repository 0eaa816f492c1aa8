"""Threads of their own for work that is long: it waits for itself and for nobody else.

What goes to asyncio's own pool shares it with everything else there, so that a few large files
would hold up whatever else is done in threads. Each kind of work has its bulkhead; what is more
than its threads can do waits in it.
"""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Result = TypeVar("Result")


class Bulkhead:
    """One kind of work's threads, started when they are first needed."""

    def __init__(self, name: str, *, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(
        self, function: Callable[Given, Result], *given: Given.args, **named: Given.kwargs
    ) -> Result:
        """Return what the function returns in one of the threads; see ``asyncio.to_thread``."""
        context = contextvars.copy_context()
        work = partial(context.run, function, *given, **named)
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)


IMPORTS = Bulkhead("imports", threads=2)
"""Reading files of members and departments."""

EXPORTS = Bulkhead("exports", threads=2)
"""Writing them."""
