from typing import Any

from tieline.operator.decision_words import Condition
from tieline.operator.statuses import WRITE_INTERVAL_S, build_conditions, is_worth_writing

NOW = 1_800_000_000.0


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
    assert is_worth_writing({}, stored, float("-inf"), NOW)
