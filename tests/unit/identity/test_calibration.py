"""Which parameters of Argon2id are chosen on faster and slower machines."""

import math
from collections.abc import Callable

import pytest

from tieline.identity.passwords.calibration import LEAST_MEMORY_KIB, Parameters, calibrate

MAX_MEMORY_KIB = 64 * 1024


def machine(seconds_per_gib_pass: float) -> Callable[[Parameters], float]:
    def measure(parameters: Parameters) -> float:
        gib = parameters.memory_kib / 1024 / 1024
        return seconds_per_gib_pass * gib * parameters.time_cost

    return measure


@pytest.mark.parametrize(
    ("seconds_per_gib_pass", "time_cost", "memory_kib"),
    [
        pytest.param(0.8, 5, MAX_MEMORY_KIB, id="fast: as many passes as fit"),
        pytest.param(4.0, 1, MAX_MEMORY_KIB, id="exactly one pass fits"),
        pytest.param(5.0, 1, MAX_MEMORY_KIB // 2, id="slow: less memory"),
        pytest.param(1000.0, 2, LEAST_MEMORY_KIB, id="too slow: the least there is"),
        pytest.param(0.0001, 100, MAX_MEMORY_KIB, id="passes are bounded"),
    ],
)
def test_memory_comes_first_and_passes_fill_the_time(
    seconds_per_gib_pass: float, time_cost: int, memory_kib: int
) -> None:
    measure = machine(seconds_per_gib_pass)

    found = calibrate(measure, target_s=0.25, max_memory_kib=MAX_MEMORY_KIB)

    assert (found.parameters.time_cost, found.parameters.memory_kib) == (time_cost, memory_kib)
    assert found.seconds <= 0.25 or memory_kib == LEAST_MEMORY_KIB


def test_passes_that_take_longer_than_the_first_are_fewer() -> None:
    def measure(parameters: Parameters) -> float:
        return 0.05 * math.pow(parameters.time_cost, 1.2)

    found = calibrate(measure, target_s=0.25, max_memory_kib=MAX_MEMORY_KIB)

    assert found.parameters.time_cost == 3
    assert found.seconds <= 0.25


def test_less_memory_than_the_least_is_not_taken() -> None:
    found = calibrate(lambda _: 0.001, target_s=0.25, max_memory_kib=1024)

    assert found.parameters.memory_kib == LEAST_MEMORY_KIB
