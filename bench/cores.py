"""Cores of its own for what is measured: who sends the load takes none of its time.

Open-loop load at ten times the capacity needs as much of the machine as the platform does. On the
same cores the platform would do less the more is sent, and its capacity, which is measured with
less load, would be none that it has in the surge.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import psutil

from bench import process_trees

BEHIND = ("nice", "-n", "10")
"""Begins the command of who sends a surge, where somebody whose waits are measured sends from the
same cores: those come from other machines, and don't wait for the surge's."""


@contextmanager
def on_cores_of_their_own(process_ids: Sequence[int]) -> Iterator[None]:
    """Keep these processes' trees on one half of the cores, and this one on the other.

    What either starts meanwhile stays with it. On a machine of one core nothing is done.
    """
    cores = sorted(os.sched_getaffinity(0))
    theirs, ours = cores[: len(cores) // 2], cores[len(cores) // 2 :]
    if not theirs:
        yield
        return
    for process in process_trees.walk(process_ids):
        _keep(process, theirs)
    _keep(psutil.Process(), ours)
    try:
        yield
    finally:
        _keep(psutil.Process(), cores)


def _keep(process: psutil.Process, cores: Sequence[int]) -> None:
    # PostgreSQL's workers come and go.
    with suppress(psutil.NoSuchProcess, ProcessLookupError):
        # An affinity is a thread's.
        for thread in process.threads():
            os.sched_setaffinity(thread.id, cores)
