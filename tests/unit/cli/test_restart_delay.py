"""When a crashed child is started again."""

import pytest

from tieline.cli.restart_delay import next_restart_delay_s


def test_crashes_in_a_row_wait_twice_as_long_each_time_up_to_half_a_minute() -> None:
    delays: list[float] = []
    delay_s = None
    for _ in range(7):
        delay_s = next_restart_delay_s(delay_s, healthy_s=0)
        delays.append(delay_s)

    assert delays == [1, 2, 4, 8, 16, 30, 30]


@pytest.mark.parametrize(
    ("healthy_s", "delay_s"),
    [
        pytest.param(59.9, 30, id="not yet a minute of health"),
        pytest.param(60, 1, id="a minute of health"),
    ],
)
def test_a_minute_of_health_forgives_earlier_crashes(healthy_s: float, delay_s: float) -> None:
    assert next_restart_delay_s(16, healthy_s) == delay_s
