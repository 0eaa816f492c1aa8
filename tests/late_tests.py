"""Says of a test that is about to run out of its time what its tasks wait for.

When the time is over ``pytest-timeout`` ends the process, and what it says of it is lost where that
is a worker of a parallel run.
"""

import asyncio
import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Of the test's time.
_TOLD_RATIO = 0.9


@contextmanager
def told_of(name: str, timeout_s: float, descriptor: int) -> Iterator[None]:
    """Watch the block; what is told goes to the file descriptor."""
    timer = threading.Timer(_TOLD_RATIO * timeout_s, _tell, (name, descriptor))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _tell(name: str, descriptor: int) -> None:
    tasks = [each for each in gc.get_objects() if isinstance(each, asyncio.Task)]
    lines = [f"\n{name} is about to run out of its time"]
    lines += [f"  {each.get_name()}: {_place_of(each)}" for each in tasks if not each.done()]
    os.write(descriptor, "\n".join([*lines, ""]).encode())


def _place_of(task: asyncio.Task[Any]) -> str:
    """Return where the task waits, the outermost call first."""
    places = []
    waiting: Any = task.get_coro()
    while waiting is not None:
        frame = getattr(waiting, "cr_frame", None) or getattr(waiting, "ag_frame", None)
        if frame is not None:
            file = os.path.basename(frame.f_code.co_filename)
            places.append(f"{file}:{frame.f_lineno} {frame.f_code.co_name}")
        waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "ag_await", None)
    return " > ".join(places)
