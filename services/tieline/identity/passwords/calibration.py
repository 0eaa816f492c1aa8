"""Which parameters of Argon2id take the time that a password may take here. Pure: measuring is not.

Memory is what makes guessing dear on hardware of a guesser's own, so that as much as is allowed is
used first, with a single lane; passes fill the time that is left. Where even one pass takes too
long, there is less memory, down to the least that OWASP recommends, which is two passes of 19 MiB.
"""

from collections.abc import Callable
from dataclasses import dataclass

LEAST_MEMORY_KIB = 19 * 1024
LEAST_TIME_COST_THERE = 2
MAX_TIME_COST = 100


@dataclass(frozen=True, slots=True)
class Parameters:
    """What the settings need."""

    time_cost: int
    memory_kib: int
    parallelism: int = 1


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The parameters and what they take."""

    parameters: Parameters
    seconds: float


def calibrate(
    measure: Callable[[Parameters], float], *, target_s: float, max_memory_kib: int
) -> Calibrated:
    """Return the dearest parameters that take at most ``target_s``, or the cheapest there are.

    ``measure`` returns the seconds that checking one password takes.
    """
    memory_kib = max(max_memory_kib, LEAST_MEMORY_KIB)
    chosen = _measured(measure, _cheapest(memory_kib))
    while chosen.seconds > target_s and memory_kib > LEAST_MEMORY_KIB:
        memory_kib = max(memory_kib // 2, LEAST_MEMORY_KIB)
        chosen = _measured(measure, _cheapest(memory_kib))
    # Each pass takes about as long as the first; a measurement makes sure.
    pass_s = chosen.seconds / chosen.parameters.time_cost
    time_cost = min(int(target_s / pass_s), MAX_TIME_COST)
    while time_cost > chosen.parameters.time_cost:
        dearer = _measured(measure, Parameters(time_cost, memory_kib))
        if dearer.seconds <= target_s:
            return dearer
        time_cost -= 1
    return chosen


def _cheapest(memory_kib: int) -> Parameters:
    return Parameters(1 if memory_kib > LEAST_MEMORY_KIB else LEAST_TIME_COST_THERE, memory_kib)


def _measured(measure: Callable[[Parameters], float], parameters: Parameters) -> Calibrated:
    return Calibrated(parameters, measure(parameters))
