"""What is not asked, since it would be refused."""

from tieline.chassis.admission.callee_levels import PROBE_INTERVAL_S, CalleeLevel
from tieline.chassis.admission.priorities import LOWEST_PRIORITY


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def level(clock: Clock) -> CalleeLevel:
    return CalleeLevel(clock, lambda: 0.5)


def test_everything_is_asked_until_a_level_is_heard() -> None:
    assert level(Clock()).lets_in(LOWEST_PRIORITY)


def test_what_is_above_the_level_is_not_asked_and_what_is_at_it_is() -> None:
    callee = level(Clock())
    callee.note(400)
    assert callee.lets_in(400)
    assert not callee.lets_in(401)


def test_one_question_finds_out_whether_the_level_still_holds() -> None:
    clock = Clock()
    callee = level(clock)
    callee.note(400)
    clock.now += PROBE_INTERVAL_S
    assert callee.lets_in(401)
    assert not callee.lets_in(401)
    callee.note(LOWEST_PRIORITY)
    assert callee.lets_in(401)


def test_a_refusal_puts_the_next_attempt_off() -> None:
    clock = Clock()
    callee = level(clock)
    callee.note(400)
    callee.hold_off(3.0)
    clock.now += 2.9
    assert not callee.lets_in(401)
    clock.now += 0.2
    assert callee.lets_in(401)
