"""CPU time and memory of processes with all their children, those that have ended included."""

from collections.abc import Iterable, Iterator

import psutil


def cpu_s(roots: Iterable[int]) -> float:
    """Return utime + stime of the processes and everything that they started, in seconds.

    A child that has ended is in the times of the parent that waited for it.
    """
    total = 0.0
    for process in walk(roots):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def pss_kb(root: int) -> float:
    """Return the memory of one process, its share of shared pages included, in KB of 1,000."""
    return float(psutil.Process(root).memory_full_info().pss) / 1e3


def walk(roots: Iterable[int]) -> Iterator[psutil.Process]:
    """Yield the processes and all their children; they may end at any moment."""
    for root in roots:
        process = psutil.Process(root)
        yield process
        yield from process.children(recursive=True)
