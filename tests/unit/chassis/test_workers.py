"""How long a crashed worker stays away."""

import pytest

from tieline.chassis.workers import MAX_RESTART_DELAY_S, restart_delay_s


@pytest.mark.parametrize(
    ("failures", "delay_s"),
    [(1, 0.5), (2, 1.0), (3, 2.0), (7, MAX_RESTART_DELAY_S), (100_000, MAX_RESTART_DELAY_S)],
)
def test_delay_doubles_up_to_half_a_minute(failures: int, delay_s: float) -> None:
    assert restart_delay_s(failures) == delay_s
