from typing import Any

import pytest

from tieline.operator.decision_words import Condition
from tieline.operator.fleet import Fleet, PolicyView, Trouble
from tieline.operator.resources import Kind, Meta, write_time
from tieline.operator.statuses import (
    WRITE_INTERVAL_S,
    build_conditions,
    build_override_status,
    build_trouble_status,
    build_window_status,
    is_worth_writing,
)
from tieline.operator.windows import find_occurrence

NOW = 1_800_000_000.0
FIGURES = (
    "desiredReplicas",
    "currentReplicas",
    "readyReplicas",
    "limitedBy",
    "recommendations",
    "learned",
)


def conditions(status: str, before: Any = None, now: float = NOW) -> list[dict[str, object]]:
    return build_conditions(1, before or {}, [Condition("Ready", status, "Why", "words")], now)


def test_condition_keeps_its_time_until_its_status_changes() -> None:
    first = {"conditions": conditions("True")}

    same = conditions("True", first, NOW + 60)
    other = conditions("False", first, NOW + 60)

    assert same[0]["lastTransitionTime"] == first["conditions"][0]["lastTransitionTime"]
    assert other[0]["lastTransitionTime"] != first["conditions"][0]["lastTransitionTime"]


def test_what_people_wait_for_is_written_at_once_and_figures_now_and_then() -> None:
    stored = {"observedGeneration": 1, "desiredReplicas": 3, "conditions": conditions("True")}
    figures = {**stored, "desiredReplicas": 4}
    changed = {**stored, "conditions": conditions("False")}

    assert not is_worth_writing(stored, dict(stored), NOW, NOW + 1000)
    assert not is_worth_writing(stored, figures, NOW, NOW + WRITE_INTERVAL_S - 0.1)
    assert is_worth_writing(stored, figures, NOW, NOW + WRITE_INTERVAL_S)
    assert is_worth_writing(stored, changed, NOW, NOW + 0.1)
    # The clock was set back.
    assert is_worth_writing(stored, figures, NOW, NOW - 3600)
    # What is to be taken out, and is not there any more.
    assert is_worth_writing(stored, {**stored, "desiredReplicas": None}, NOW, NOW + 1000)
    assert not is_worth_writing(stored, {**stored, "learned": None}, NOW, NOW + 1000)
    assert is_worth_writing({}, stored, float("-inf"), NOW)


def by_type(status: Any) -> dict[str, tuple[str, str, str]]:
    """Return status, reason and message of each condition."""
    return {
        one["type"]: (one["status"], one["reason"], one["message"]) for one in status["conditions"]
    }


def window_status(trouble: Trouble | None = None, **spec: Any) -> dict[str, tuple[str, str, str]]:
    times = {"start": write_time(NOW + 600), "end": write_time(NOW + 1200)}
    body = {
        "metadata": {"name": "w"},
        "spec": {"policies": ["a"], "minReplicas": 5, **times, **spec},
    }
    fleet = Fleet()
    fleet.note(Kind.WINDOW, None, body)
    (read,) = fleet.windows()
    occurrence = None if read.window is None else find_occurrence(read.window, NOW)
    return by_type(build_window_status(read, occurrence, trouble, NOW))


@pytest.mark.parametrize(
    ("spec", "phase"),
    [
        pytest.param({}, "Upcoming", id="to come"),
        pytest.param({"preScaleSeconds": 600}, "Active", id="in its lead"),
        pytest.param(
            {"start": write_time(NOW - 600), "end": write_time(NOW)}, "Expired", id="past"
        ),
    ],
)
def test_window_says_where_it_is(spec: dict[str, Any], phase: str) -> None:
    found = window_status(**spec)

    assert found["Ready"] == ("True", "Read", "")
    assert [type_ for type_, (status, *_) in found.items() if status == "True"] == ["Ready", phase]


def test_window_that_can_not_be_used_says_why_and_nothing_else() -> None:
    found = window_status(minReplicas=None)

    assert found["Ready"][:2] == ("False", "InvalidSpec")
    assert "give either minReplicas or multiplierPercent" in found["Ready"][2]
    assert {found[phase][0] for phase in ("Upcoming", "Active", "Expired")} == {"Unknown"}


def test_window_that_lacks_something_says_what_and_goes_on() -> None:
    found = window_status(Trouble("PolicyNotFound", "there is no SurgePolicy a"))

    assert found["Ready"] == ("False", "PolicyNotFound", "there is no SurgePolicy a")
    assert found["Upcoming"][0] == "True"


@pytest.mark.parametrize(
    ("spec", "has_policy", "ready", "active", "expired"),
    [
        pytest.param({}, True, "Read", "True", "False", id="in force"),
        pytest.param({"expiresAt": write_time(NOW)}, True, "Read", "False", "True", id="past"),
        pytest.param({}, False, "PolicyNotFound", "False", "False", id="of an unknown policy"),
        pytest.param(
            {"expiresAt": write_time(NOW - 60)},
            False,
            "PolicyNotFound",
            "False",
            "True",
            id="past, of an unknown policy",
        ),
        pytest.param({"reason": ""}, True, "InvalidSpec", "Unknown", "Unknown", id="no reason"),
        pytest.param({"expiresAt": None}, True, "InvalidSpec", "Unknown", "Unknown", id="no end"),
    ],
)
def test_override_says_whether_it_is_in_force(
    spec: dict[str, Any], has_policy: bool, ready: str, active: str, expired: str
) -> None:
    given = {
        "policyRef": {"name": "a"},
        "action": "Freeze",
        "expiresAt": write_time(NOW + 60),
        "reason": "INC-7",
        **spec,
    }
    fleet = Fleet()
    body = {"metadata": {"name": "o", "creationTimestamp": write_time(NOW - 600)}, "spec": given}
    fleet.note(Kind.OVERRIDE, None, body)
    (read,) = fleet.overrides()

    found = by_type(build_override_status(read, has_policy=has_policy, now=NOW))

    assert found["Ready"][:2] == ("True" if ready == "Read" else "False", ready)
    assert (found["Active"][0], found["Expired"][0]) == (active, expired)
    if ready == "PolicyNotFound":
        assert found["Ready"][2] == "there is no SurgePolicy a in the namespace"


def test_override_ends_after_a_day_whatever_it_says() -> None:
    fleet = Fleet()
    spec = {
        "policyRef": {"name": "a"},
        "action": "Freeze",
        "expiresAt": write_time(NOW + 999_999),
        "reason": "INC-7",
    }
    metadata = {"name": "o", "creationTimestamp": write_time(NOW)}
    fleet.note(Kind.OVERRIDE, None, {"metadata": metadata, "spec": spec})
    (read,) = fleet.overrides()

    status = build_override_status(read, has_policy=True, now=NOW)

    assert status["expireTime"] == write_time(NOW + 24 * 3600)


@pytest.mark.parametrize(
    ("trouble", "conflict"),
    [
        pytest.param(
            Trouble("TargetTaken", "the older policy b scales it", is_conflict=True),
            ("True", "TargetTaken", "the older policy b scales it"),
            id="taken",
        ),
        pytest.param(Trouble("InvalidSpec", "spec.mode: …"), ("False", "None", ""), id="invalid"),
        pytest.param(Trouble("TargetNotFound", "no Deployment"), ("False", "None", ""), id="none"),
    ],
)
def test_policy_in_trouble_says_why_and_nothing_else(
    trouble: Trouble, conflict: tuple[str, str, str]
) -> None:
    view = PolicyView(Meta("a", "uid", "7", 3, NOW, {}), {}, None, trouble)

    status = build_trouble_status(view, trouble, NOW)

    found = by_type(status)
    assert found["Ready"] == ("False", trouble.reason, trouble.message)
    assert found["ScalingActive"] == found["Ready"]
    assert found.pop("TargetConflict") == conflict
    assert {found[one][0] for one in found.keys() - {"Ready", "ScalingActive"}} == {"Unknown"}
    assert status.pop("observedGeneration") == 3
    assert status.pop("conditions")
    assert status == dict.fromkeys(FIGURES)
