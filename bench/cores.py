"""Cores of its own for what is measured: who sends the load takes none of its time.

Open-loop load at ten times the capacity needs as much of the machine as the platform does. On the
same cores the platform would do less the more is sent, and its capacity, which is measured with
less load, would be none that it has in the surge.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psutil


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
    for process_id in process_ids:
        process = psutil.Process(process_id)
        for each in (process, *process.children(recursive=True)):
            _keep(each.pid, theirs)
    _keep(os.getpid(), ours)
    try:
        yield
    finally:
        _keep(os.getpid(), cores)


def _keep(process_id: int, cores: Sequence[int]) -> None:
    # An affinity is a thread's.
    for thread in psutil.Process(process_id).threads():
        os.sched_setaffinity(thread.id, cores)
