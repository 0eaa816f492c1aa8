"""The load of the same time in earlier weeks: kept by slots, and asked for as a floor."""

import pytest

from fleets import NOW, policy, run
from tieline.operator.decision_state import FleetState, ServiceState
from tieline.operator.season import (
    SLOT_S,
    SLOTS,
    WEEKS_KEPT,
    Season,
    seasonal_demand,
    update_season,
)

WEEK_S = SLOTS * SLOT_S
LEAD_S = 10.0
# A slot's last second, from which the lead reaches into the next slot.
EVE = NOW + SLOT_S - 5


def weeks(**slots: tuple[float, ...]) -> Season:
    """Return a past with the peaks of the slot of now and of the next one."""
    filled: list[tuple[float, ...]] = [()] * SLOTS
    for name, peaks in slots.items():
        filled[(int(NOW // SLOT_S) + ("now", "next").index(name)) % SLOTS] = peaks
    return Season(weeks=tuple(filled))


@pytest.mark.parametrize(
    ("past", "level", "expected"),
    [
        pytest.param(Season(), 100.0, 0.0, id="no past"),
        pytest.param(weeks(next=(900.0,)), 100.0, 0.0, id="nothing to compare today with"),
        pytest.param(weeks(now=(100.0,)), 100.0, 0.0, id="nothing known of then"),
        pytest.param(weeks(now=(100.0,), next=(900.0,)), 100.0, 900.0, id="a day as it was"),
        pytest.param(weeks(now=(100.0,), next=(900.0,)), 150.0, 1350.0, id="half as busy again"),
        pytest.param(weeks(now=(100.0,), next=(900.0,)), 5000.0, 1800.0, id="double at most"),
        pytest.param(weeks(now=(100.0,), next=(900.0,)), 1.0, 450.0, id="half at least"),
        pytest.param(
            weeks(now=(100.0,), next=(300.0, 900.0, 100.0, 500.0)), 100.0, 900.0, id="of four weeks"
        ),
    ],
)
def test_what_then_was_is_expected_as_far_as_today_is_like_it(
    past: Season, level: float, expected: float
) -> None:
    assert seasonal_demand(past, level, LEAD_S, 80, EVE) == pytest.approx(expected)


@pytest.mark.parametrize(("level", "expected"), [(5000.0, 900.0), (50.0, 450.0)])
def test_level_that_is_not_certain_makes_no_more_of_earlier_weeks(
    level: float, expected: float
) -> None:
    """It may make less."""
    past = weeks(now=(100.0,), next=(900.0,))

    found = seasonal_demand(past, level, LEAD_S, 80, EVE, is_level_certain=False)

    assert found == pytest.approx(expected)


@pytest.mark.parametrize(("percent", "expected"), [(50, 500.0), (74, 500.0), (75, 900.0)])
def test_quantile_says_how_many_of_the_weeks_are_covered(percent: int, expected: float) -> None:
    past = weeks(now=(100.0,), next=(300.0, 900.0, 100.0, 500.0))

    assert seasonal_demand(past, 100.0, LEAD_S, percent, EVE) == expected


def test_slot_keeps_its_largest_load_of_each_of_the_last_weeks() -> None:
    season = Season()
    for week in range(WEEKS_KEPT + 2):
        for second, level in ((0, 10.0), (100, 50.0 + week), (200, 20.0), (SLOT_S, 1.0)):
            season = update_season(season, level, NOW + week * WEEK_S + second)

    assert season.weeks[int(NOW // SLOT_S) % SLOTS] == (52.0, 53.0, 54.0, 55.0)


def test_clock_that_is_set_back_closes_no_slot() -> None:
    season = update_season(Season(), 50.0, NOW)

    season = update_season(season, 7.0, NOW - 3600)

    assert season.weeks == ()
    assert season.slot_peak == 7.0


def test_peak_is_kept_to_four_digits() -> None:
    season = update_season(Season(), 12_345.678, NOW)

    season = update_season(season, 1.0, NOW + SLOT_S)

    assert season.weeks[int(NOW // SLOT_S) % SLOTS] == (12_350.0,)


@pytest.mark.parametrize(("mode", "won"), [("Floor", "season"), ("Off", "demand")])
def test_time_of_the_week_recommends_where_the_policy_asks_for_it(mode: str, won: str) -> None:
    past = weeks(now=(100.0,), next=(3000.0,))
    state = FleetState({"messaging": ServiceState(season=past)})

    _, decision, _ = run([100.0], state, start=EVE, policy=policy(prediction={"mode": mode}))

    assert decision.won == won
    if won == "season":
        assert decision.replicas >= 3000 / 80
        assert "Friday 08:05 UTC is used to 3,000/s, for 38 replicas" in decision.reason
