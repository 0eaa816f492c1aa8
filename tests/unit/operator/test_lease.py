import pytest

from tieline.operator.cluster import LeaseRecord
from tieline.operator.lease import LeaseStep, Observed, observe, plan_lease

OURS = LeaseRecord("a", 6, "1")
THEIRS = LeaseRecord("b", 6, "1")


@pytest.mark.parametrize(
    ("observed", "now", "step"),
    [
        pytest.param(None, 0.0, LeaseStep.CREATE, id="there is none"),
        pytest.param(Observed(OURS, 0.0), 100.0, LeaseStep.RENEW, id="ours, however old"),
        pytest.param(Observed(THEIRS, 0.0), 5.9, LeaseStep.WAIT, id="theirs, not yet run out"),
        pytest.param(Observed(THEIRS, 0.0), 6.0, LeaseStep.TAKE, id="theirs, run out"),
        pytest.param(Observed(LeaseRecord("", 6, "1"), 0.0), 0.0, LeaseStep.TAKE, id="given up"),
    ],
)
def test_lease_is_another_ones_until_it_has_not_changed_for_its_duration(
    observed: Observed | None, now: float, step: LeaseStep
) -> None:
    assert plan_lease(observed, "a", now) is step


def test_only_a_change_makes_an_observation_new() -> None:
    first = observe(None, THEIRS, 1.0)

    assert observe(first, THEIRS, 5.0).time == 1.0
    assert observe(first, LeaseRecord("b", 6, "2"), 5.0).time == 5.0
