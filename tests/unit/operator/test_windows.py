"""When windows are in force, and which replicas they ask for."""

import datetime as dt
from typing import Any

import pytest

from tieline.operator.spec_fields import InvalidSpecError
from tieline.operator.windows import (
    WindowPhase,
    find_occurrence,
    window_floor,
    window_from_spec,
)

# The first working day after the Lunar New Year of 2027, from half past seven in Shanghai.
HOLIDAY: dict[str, Any] = {
    "policies": ["messaging"],
    "start": "2027-02-15T07:30:00+08:00",
    "end": "2027-02-15T12:00:00+08:00",
    "preScaleSeconds": 600,
    "multiplierPercent": 1000,
}
MONDAYS: dict[str, Any] = {
    "policySelector": {"matchLabels": {"peak": "monday"}},
    "schedule": "30 8 * * MON",
    "durationSeconds": 5400,
    "timeZone": "Asia/Shanghai",
    "preScaleSeconds": 300,
    "minReplicas": 30,
}


def at(text: str) -> float:
    return dt.datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("moment", "phase"),
    [
        pytest.param("2027-02-15T07:19:59+08:00", WindowPhase.UPCOMING, id="before the lead"),
        pytest.param("2027-02-15T07:20:00+08:00", WindowPhase.ACTIVE, id="the lead begins"),
        pytest.param("2027-02-15T11:59:59+08:00", WindowPhase.ACTIVE, id="the last second"),
        pytest.param("2027-02-15T12:00:00+08:00", WindowPhase.EXPIRED, id="the end"),
    ],
)
def test_window_with_fixed_times_is_in_force_from_its_lead_to_its_end(
    moment: str, phase: WindowPhase
) -> None:
    window = window_from_spec("holiday", HOLIDAY)

    assert find_occurrence(window, at(moment)).phase is phase


@pytest.mark.parametrize(
    ("moment", "phase", "start"),
    [
        pytest.param("2027-02-21T12:00:00+08:00", WindowPhase.UPCOMING, "2027-02-22", id="Sunday"),
        pytest.param("2027-02-22T08:24:59+08:00", WindowPhase.UPCOMING, "2027-02-22", id="not yet"),
        pytest.param("2027-02-22T08:25:00+08:00", WindowPhase.ACTIVE, "2027-02-22", id="the lead"),
        pytest.param("2027-02-22T09:59:59+08:00", WindowPhase.ACTIVE, "2027-02-22", id="its end"),
        pytest.param("2027-02-22T10:00:00+08:00", WindowPhase.UPCOMING, "2027-03-01", id="after"),
    ],
)
def test_window_with_a_schedule_comes_again(moment: str, phase: WindowPhase, start: str) -> None:
    window = window_from_spec("mondays", MONDAYS)

    occurrence = find_occurrence(window, at(moment))

    assert occurrence.phase is phase
    assert occurrence.start_time == at(f"{start}T08:30:00+08:00")


def test_schedule_keeps_its_local_time_over_a_change_of_the_clocks() -> None:
    window = window_from_spec("berlin", MONDAYS | {"timeZone": "Europe/Berlin"})

    winter = find_occurrence(window, at("2027-03-22T01:00:00+01:00"))
    summer = find_occurrence(window, at("2027-03-29T01:00:00+02:00"))

    assert winter.start_time == at("2027-03-22T08:30:00+01:00")
    assert summer.start_time == at("2027-03-29T08:30:00+02:00")


def test_floor_is_the_number_or_the_multiple_of_what_was_wanted_before() -> None:
    assert window_floor(window_from_spec("a", MONDAYS), 7) == 30
    assert window_floor(window_from_spec("b", HOLIDAY), 7) == 70


def test_window_is_for_the_policies_that_it_names_or_selects() -> None:
    named, selecting = window_from_spec("a", HOLIDAY), window_from_spec("b", MONDAYS)

    assert named.is_for("messaging", {})
    assert not named.is_for("contacts", {"peak": "monday"})
    assert selecting.is_for("contacts", {"peak": "monday", "tier": "1"})
    assert not selecting.is_for("messaging", {"peak": "friday"})


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        pytest.param(MONDAYS | {"schedule": "0 0 30 2 *"}, "spec.schedule", id="never fires"),
        pytest.param(MONDAYS | {"schedule": "0 0 31 4,6 *"}, "spec.schedule", id="never, again"),
        pytest.param(MONDAYS | {"schedule": "61 * * * *"}, "spec.schedule", id="no such minute"),
        pytest.param(MONDAYS | {"schedule": "* * * * * *"}, "spec.schedule", id="seconds"),
        pytest.param(MONDAYS | {"timeZone": "Asia/Peking"}, "spec.timeZone", id="no such zone"),
        pytest.param(MONDAYS | {"timeZone": "../etc/passwd"}, "spec.timeZone", id="a path"),
        pytest.param(MONDAYS | {"multiplierPercent": 200}, "spec.minReplicas", id="both floors"),
        pytest.param(HOLIDAY | {"end": HOLIDAY["start"]}, "spec.end", id="an empty window"),
        pytest.param(HOLIDAY | {"policies": []}, "spec.policies", id="for nobody"),
        pytest.param(MONDAYS | {"start": HOLIDAY["start"]}, "spec.schedule", id="both times"),
        pytest.param(HOLIDAY | {"multiplierPercent": 100}, "spec.multiplierPercent", id="times 1"),
    ],
)
def test_window_that_cannot_be_used_names_the_field(spec: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        window_from_spec("a", spec)

    assert path in [violation.path for violation in caught.value.violations]


def test_leap_day_fires_though_years_away() -> None:
    window = window_from_spec("leap", MONDAYS | {"schedule": "0 0 29 2 *"})

    occurrence = find_occurrence(window, at("2026-11-26T00:00:00Z"))

    assert occurrence.start_time == at("2028-02-29T00:00:00+08:00")
