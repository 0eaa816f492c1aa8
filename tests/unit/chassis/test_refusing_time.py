"""What refusals take, found from what the thread ran."""

import pytest

from tieline.chassis.admission.refusing_time import REFUSAL_S, RefusingTime


def knowing(call_s: float) -> RefusingTime:
    refusing = RefusingTime()
    refusing.measure(1000, 0, 1000 * call_s)
    return refusing


@pytest.mark.parametrize(
    ("admitted", "refused", "ran_s", "expected"),
    [
        pytest.param(300, 400, 0.8, 0.2, id="what calls do not explain"),
        pytest.param(300, 400, 0.6, 400 * REFUSAL_S, id="less than a refusal takes anywhere"),
        pytest.param(300, 400, 3.0, 0.8, id="more than calls take"),
        pytest.param(300, 0, 3.0, 0.0, id="none"),
        pytest.param(300, 6, 3.0, 6 * REFUSAL_S, id="so few that they tell nothing"),
        pytest.param(0, 400, 0.3, 0.3, id="nothing else was done"),
    ],
)
def test_refusals_take_what_calls_do_not(
    admitted: int, refused: int, ran_s: float, expected: float
) -> None:
    assert knowing(0.002).measure(admitted, refused, ran_s) == pytest.approx(expected)


def test_before_any_call_is_known_a_refusal_takes_the_least() -> None:
    assert RefusingTime().measure(10, 100, 5.0) == pytest.approx(100 * REFUSAL_S)


def test_what_calls_take_is_learned_again_and_busy_windows_tell_most() -> None:
    refusing = knowing(0.002)
    refusing.measure(1, 0, 0.5)
    assert refusing.measure(0, 100, 9.0) == pytest.approx(100 * 0.0025, rel=0.03)
    for _ in range(60):
        refusing.measure(1000, 10, 1.0)
    assert refusing.measure(0, 100, 9.0) == pytest.approx(100 * 0.001, rel=0.01)
