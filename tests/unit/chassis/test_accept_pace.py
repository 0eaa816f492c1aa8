"""How refusals are kept to their part of the event loop's time."""

import pytest

from tieline.chassis.admission.accept_pace import RefusalPace
from tieline.chassis.admission.decision import MAX_REFUSING_RATIO

REFUSAL_S = 0.000_5
BURST = 200
"""What the saved time lasts for at this cost."""


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def build_pace(clock: Clock, *, refused: int = 0) -> RefusalPace:
    pace = RefusalPace(clock)
    pace.refusal_s = REFUSAL_S
    for _ in range(refused):
        pace.spend()
    return pace


def test_where_nothing_is_refused_nothing_is_held_up() -> None:
    pace = build_pace(Clock())
    assert [pace.hold_up() for _ in range(3)] == [0.0, 0.0, 0.0]
    assert pace.held_up_s == 0.0


@pytest.mark.parametrize(("refused", "is_held_up"), [(BURST - 1, False), (BURST, True)])
def test_burst_is_refused_without_a_pause(refused: int, is_held_up: bool) -> None:
    assert (build_pace(Clock(), refused=refused).hold_up() > 0) is is_held_up


def test_refusals_have_a_quarter_of_the_time_and_no_more() -> None:
    clock = Clock()
    pace = build_pace(clock, refused=BURST)
    refused = 0
    while clock.now < 10:
        if delay_s := pace.hold_up():
            clock.now += delay_s
        else:
            pace.spend()
            refused += 1
    spent_s = refused * REFUSAL_S
    assert spent_s == pytest.approx(MAX_REFUSING_RATIO * clock.now, rel=0.02)
    assert pace.held_up_s == pytest.approx(clock.now)


def test_what_is_saved_in_a_quiet_hour_is_no_more_than_a_burst() -> None:
    clock = Clock()
    pace = build_pace(clock, refused=BURST)
    clock.now += 3600
    assert pace.hold_up() == 0.0
    for _ in range(BURST):
        pace.spend()
    assert pace.hold_up() > 0


def test_flood_of_a_second_holds_nobody_up_for_long_at_a_time() -> None:
    pace = build_pace(Clock(), refused=10_000)
    assert pace.hold_up() <= 0.05
