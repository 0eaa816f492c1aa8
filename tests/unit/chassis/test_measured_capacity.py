"""What a replica learns of what it can do, and the limits that follow."""

from collections.abc import Callable, Mapping

import pytest

from tieline.chassis.admission.measured_capacity import (
    MeasuredCapacity,
    flooded_limits,
    in_flight_limits,
    pending_limit,
    share_limits,
)
from tieline.chassis.admission.priorities import BusinessClass

CONFIGURED = 1000


@pytest.mark.parametrize(
    ("seconds", "measured", "for_limits"),
    [
        pytest.param([(500, False)], 0, 1000, id="never saturated"),
        pytest.param([(800, True)], 800, 800, id="the first saturated second"),
        pytest.param([(800, True), (400, True)], 600, 600, id="half of the way down"),
        pytest.param([(800, True), (1000, True)], 820, 820, id="a tenth of the way up"),
        pytest.param([(800, True), (900, False)], 900, 900, id="more with ease"),
        pytest.param([(800, True), (700, False)], 800, 800, id="less for want of calls"),
        pytest.param([(100, True)], 100, 500, id="limits stay near what is configured"),
        pytest.param([(9000, True)], 9000, 2000, id="also above"),
    ],
)
def test_learning(seconds: list[tuple[float, bool]], measured: float, for_limits: float) -> None:
    capacity = MeasuredCapacity(CONFIGURED)
    for admitted_per_s, is_saturated in seconds:
        capacity.learn(admitted_per_s, is_saturated=is_saturated)
    assert capacity.measured_per_s == pytest.approx(measured)
    assert capacity.for_limits_per_s == pytest.approx(for_limits)


def test_what_is_less_important_finds_the_place_full_first() -> None:
    limits = in_flight_limits(CONFIGURED)
    assert [limits[of] for of in BusinessClass] == [500, 450, 350, 250]


@pytest.mark.parametrize(
    ("find_limits", "capacity", "limit"),
    [(flooded_limits, 1000, 50), (share_limits, 1000, 20), (flooded_limits, 10, 16)],
)
def test_in_a_flood_what_is_let_in_waits_for_little_but_the_replica_is_kept_at_work(
    find_limits: Callable[[float], Mapping[int, int]], capacity: int, limit: int
) -> None:
    assert find_limits(capacity)[BusinessClass.CRITICAL] == limit


@pytest.mark.parametrize(("capacity", "limit"), [(10_000, 2500), (2000, 500), (10, 130), (0, 4000)])
def test_what_may_wait_in_the_c_core(capacity: int, limit: int) -> None:
    assert pending_limit(capacity) == limit
