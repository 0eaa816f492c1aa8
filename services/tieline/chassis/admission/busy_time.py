"""How long the event loop's thread was busy, on a machine that it shares with others."""

import time

# Nanoseconds that the thread has run, and that it was ready and had no core.
_SCHEDULER_STATISTICS = "/proc/thread-self/schedstat"


def busy_time() -> float:
    """Return the seconds that this thread has run or waited for a core; where Linux's scheduler
    does not tell, those that it has run.

    Of a replica whose cores others take, CPU time alone would say that it has room.
    """
    try:
        with open(_SCHEDULER_STATISTICS, "rb") as statistics:
            ran, waited, _ = statistics.read().split()
    except OSError:
        return time.thread_time()
    return (int(ran) + int(waited)) / 1e9
