"""Starting programs from a process with threads, safely.

Before a child that uvloop forks becomes the other program, it runs what libraries have registered
for forks, OpenTelemetry's providers above all. A garbage collection just then may find an object
of gRPC, whose end waits for a thread that the child does not have: the child runs on for ever, and
the parent's event loop waits for the child.
"""

import gc
import os
from functools import cache

_paused: list[bool] = []


@cache
def pause_collection_in_forks() -> None:
    """Have this process never collect garbage from just before a fork until after it.

    Children stay without collection: here they are about to become another program.
    """
    os.register_at_fork(before=_pause, after_in_parent=_resume)


def _pause() -> None:
    _paused.append(gc.isenabled())
    gc.disable()


def _resume() -> None:
    if _paused.pop():
        gc.enable()
