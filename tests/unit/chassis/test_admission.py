"""The decision at the end of a window, on tables and by simulation."""

import statistics
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.overloaded_replica import CAPACITY, Second, simulate
from tieline.chassis.admission import (
    MAX_REFUSING_RATIO,
    OVERLOADED_S,
    Window,
    decide_level,
    expected_admissions,
)
from tieline.chassis.priorities import HIGHEST_PRIORITY, LOWEST_PRIORITY, BusinessClass, priority_of

NORMAL_0 = priority_of(BusinessClass.NORMAL, 0)
LOW_0 = priority_of(BusinessClass.LOW, 0)
WAITED_S = OVERLOADED_S + 0.000_1
BUSY = 1.0


def arrivals(by_priority: dict[int, int]) -> list[int]:
    counts = [0] * (LOWEST_PRIORITY + 1)
    for priority, count in by_priority.items():
        counts[priority] = count
    return counts


EVEN = arrivals({NORMAL_0: 100, NORMAL_0 + 1: 100, LOW_0: 100, LOW_0 + 1: 100})


@dataclass(frozen=True)
class Case:
    level: int
    admitted: int
    queueing_s: float
    expected: int
    busy: float = BUSY
    refusing: float = 0.0


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(Case(LOWEST_PRIORITY, 400, WAITED_S, LOW_0), id="the least important go"),
        pytest.param(Case(LOW_0, 300, WAITED_S, LOW_0 - 1), id="then the next"),
        pytest.param(Case(LOWEST_PRIORITY, 400, OVERLOADED_S, LOWEST_PRIORITY), id="at the bound"),
        pytest.param(Case(LOW_0, 300, 0.01, LOW_0 + 1), id="not overloaded: one step up"),
        pytest.param(Case(NORMAL_0, 100, 0.01, NORMAL_0 + 1), id="over what is empty in one step"),
        pytest.param(Case(NORMAL_0, 100, 0.001, LOWEST_PRIORITY, busy=0.2), id="idle: as fits"),
        pytest.param(Case(NORMAL_0, 100, 0.001, NORMAL_0 + 1, busy=0.9), id="calm but busy"),
        pytest.param(
            Case(NORMAL_0 + 1, 200, 0.1, LOW_0, refusing=MAX_REFUSING_RATIO + 0.01),
            id="more refusals than it can bear: others refuse",
        ),
        pytest.param(
            Case(NORMAL_0 + 1, 200, 0.1, NORMAL_0, refusing=MAX_REFUSING_RATIO),
            id="as many refusals as it can bear",
        ),
    ],
)
def test_the_level_follows_the_wait(case: Case) -> None:
    window = Window(EVEN, case.admitted, case.queueing_s, case.busy, refusing_ratio=case.refusing)
    assert decide_level(case.level, window) == case.expected


@pytest.mark.parametrize(
    ("queueing_s", "expected"),
    [
        (OVERLOADED_S, 1010),
        (WAITED_S, 949.75),
        (2 * OVERLOADED_S, 900),
        (5 * OVERLOADED_S, 750),
        (100 * OVERLOADED_S, 750),
    ],
)
def test_five_per_cent_less_or_one_per_cent_more(queueing_s: float, expected: float) -> None:
    counts = arrivals({NORMAL_0: 1000})
    window = Window(counts, 1000, queueing_s, BUSY)
    assert expected_admissions(window) == pytest.approx(expected)


def test_one_per_cent_of_a_tenfold_surge_is_no_more_than_two_of_what_was_let_in() -> None:
    window = Window(arrivals({NORMAL_0: 10_000}), 1000, 0.01, BUSY)
    assert expected_admissions(window) == 1020


def test_a_quiet_window_opens_everything() -> None:
    assert decide_level(HIGHEST_PRIORITY, Window(arrivals({}), 0, 0.0, 0.0)) == LOWEST_PRIORITY


@given(
    st.dictionaries(st.integers(HIGHEST_PRIORITY, LOWEST_PRIORITY), st.integers(0, 5000)),
    st.integers(HIGHEST_PRIORITY, LOWEST_PRIORITY),
    st.floats(0, 10),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_a_level_is_always_a_priority_and_overload_never_raises_it_for_long(
    by_priority: dict[int, int], level: int, queueing_s: float, busy: float, refusing: float
) -> None:
    counts = arrivals(by_priority)
    admitted = sum(counts[: level + 1])
    decided = decide_level(
        level, Window(counts, admitted, queueing_s, busy, refusing_ratio=refusing)
    )
    assert HIGHEST_PRIORITY <= decided <= LOWEST_PRIORITY
    if queueing_s > OVERLOADED_S and refusing <= MAX_REFUSING_RATIO:
        assert decided <= level
    if queueing_s <= OVERLOADED_S:
        assert decided >= level


@pytest.mark.parametrize("factor", [1.5, 3, 10])
def test_callers_that_hold_back_keep_the_replica_at_its_capacity(factor: float) -> None:
    seconds = simulate(lambda _: factor * CAPACITY, 30, hold_back=True)
    steady = seconds[5:]

    assert statistics.mean(second.admitted for second in steady) >= 0.9 * CAPACITY
    # A second may fall off the edge of what a level holds: 4 % of the capacity at ten times it.
    off = [second.admitted for second in steady if abs(second.admitted - CAPACITY) > 0.1 * CAPACITY]
    assert len(off) <= 0.1 * len(steady), off


@pytest.mark.parametrize("factor", [3, 10])
def test_strangers_cost_refusals_and_no_collapse(factor: float) -> None:
    # 5 % less a window, and windows of a second at first, take that long.
    steady = simulate(lambda _: factor * CAPACITY, 30, hold_back=False)[6:]
    admitted = [second.admitted for second in steady]

    assert statistics.mean(admitted) >= 0.6 * CAPACITY
    assert max(admitted) - min(admitted) <= 0.2 * CAPACITY
    assert all(second.longest_wait_s < 0.2 for second in steady)


def test_what_matters_most_is_let_in_throughout() -> None:
    seconds = simulate(lambda _: 10 * CAPACITY, 20, hold_back=True)

    assert _high_ratio(seconds[3:]) >= 0.99


@pytest.mark.parametrize("hold_back", [True, False])
def test_everything_is_let_in_again_within_five_seconds_of_the_end(hold_back: bool) -> None:
    seconds = simulate(
        lambda now: 10 * CAPACITY if now < 10 else 0.5 * CAPACITY, 20, hold_back=hold_back
    )

    assert all(second.level == LOWEST_PRIORITY for second in seconds[15:])


def _high_ratio(seconds: list[Second]) -> float:
    return sum(second.high_admitted for second in seconds) / max(
        sum(second.high_offered for second in seconds), 1
    )
