"""What a replica counts, lets in and tells."""

import statistics
import tracemalloc
from itertools import pairwise

import pytest

from fakes.tokens import claiming
from tieline.chassis.admission.control import MAX_HELD_BACK, AdmissionControl
from tieline.chassis.admission.corp_calls import CorpCalls
from tieline.chassis.admission.decision import MIN_WINDOW_S, OVERLOADED_S, WINDOW_ARRIVALS, WINDOW_S
from tieline.chassis.admission.headers import NOTHING_HELD_BACK, read_claimed_user, read_held_back
from tieline.chassis.admission.known_callers import KnownCaller
from tieline.chassis.admission.priorities import (
    LOWEST_PRIORITY,
    USER_LEVELS,
    BusinessClass,
    class_of,
    priority_of,
)
from tieline.chassis.principals import Principal, PrincipalKind

LOW = BusinessClass.LOW
NORMAL = BusinessClass.NORMAL
HOUR_S = 3600
KEY = b"k" * 32


class Clock:
    """All clocks of a control; the event loop is busy all the time."""

    now = 100_000.0

    def __call__(self) -> float:
        return self.now


def control(clock: Clock, *, is_on: bool = True, capacity_per_s: int = 1000) -> AdmissionControl:
    return AdmissionControl(
        KEY,
        capacity_per_s=capacity_per_s,
        is_on=is_on,
        clock=clock,
        wall_clock=clock,
        busy_clock=clock,
    )


def member(number: int, corp_id: str = "ww1") -> Principal:
    return Principal(PrincipalKind.MEMBER, f"user-{number}", corp_id, "session")


def known(admission: AdmissionControl, number: int, corp_id: str = "ww1") -> KnownCaller:
    authorization = f"Bearer {corp_id}-{number}"
    caller = admission.callers.find(authorization)
    if caller is None:
        admission.callers.remember(authorization, member(number, corp_id))
        caller = admission.callers.find(authorization)
    assert caller is not None
    return caller


def call(admission: AdmissionControl, of: BusinessClass, caller: KnownCaller) -> bool:
    return admission.lets_in(priority_of(of, caller.user_level), caller.corp)


def pass_window(admission: AdmissionControl, clock: Clock, *, queueing_s: float) -> None:
    admission.note_queueing(queueing_s)
    clock.now += WINDOW_S
    admission.tick()


def test_everything_is_let_in_until_calls_wait() -> None:
    clock = Clock()
    admission = control(clock)
    for number in range(5000):
        clock.now += 0.001
        assert call(admission, LOW, known(admission, number % 100))
    assert admission.level == LOWEST_PRIORITY


def test_the_least_important_are_refused_first_and_let_in_again() -> None:
    clock = Clock()
    admission = control(clock)
    for _ in range(3):
        for number in range(200):
            call(admission, LOW, known(admission, number))
            call(admission, NORMAL, known(admission, number))
        pass_window(admission, clock, queueing_s=0.1)

    assert class_of(admission.level) in (NORMAL, LOW)
    assert not admission.lets_in(LOWEST_PRIORITY, admission.no_corp)
    assert admission.lets_in(priority_of(BusinessClass.CRITICAL, 127), admission.no_corp)
    pass_window(admission, clock, queueing_s=0.0)
    for _ in range(200):
        pass_window(admission, clock, queueing_s=0.0)
    assert admission.level == LOWEST_PRIORITY


@pytest.mark.parametrize(
    ("waits_s", "is_refused"),
    [
        ([[1.0, 0.5], [0.5, 0.5]], True),
        ([[1.0, OVERLOADED_S], [0.5, 0.5]], False),
        ([[1.0, 0.5], [0.5, OVERLOADED_S]], False),
        ([[], [0.5, 0.5]], False),
        ([[1.0, 0.5], []], False),
    ],
)
def test_a_queue_that_was_short_for_a_moment_is_no_overload(
    waits_s: list[list[float]], is_refused: bool
) -> None:
    clock = Clock()
    admission = control(clock)
    for window in waits_s:
        for number in range(100):
            call(admission, LOW, known(admission, number))
        for wait_s in window:
            admission.note_queueing(wait_s)
            admission.note_queueing(0.0)
            clock.now += MIN_WINDOW_S / 3
            admission.tick()
        clock.now += MIN_WINDOW_S
        admission.tick()
    assert (admission.level < LOWEST_PRIORITY) is is_refused


def test_switched_off_it_refuses_nothing_and_has_nobody_hold_back() -> None:
    clock = Clock()
    admission = control(clock, is_on=False)
    lowest = priority_of(LOW, USER_LEVELS - 1)
    for _ in range(5):
        for number in range(200):
            caller = known(admission, number)
            assert call(admission, LOW, caller)
            assert admission.tell(lowest, caller.corp) == f"{LOWEST_PRIORITY} {lowest}"
        pass_window(admission, clock, queueing_s=1.0)


@pytest.mark.parametrize(
    ("arrivals", "age_s", "has_ended"),
    [
        (WINDOW_ARRIVALS, MIN_WINDOW_S, True),
        (WINDOW_ARRIVALS, MIN_WINDOW_S - 0.001, False),
        (WINDOW_ARRIVALS - 1, MIN_WINDOW_S, False),
        (WINDOW_ARRIVALS - 1, WINDOW_S - 0.001, False),
        (1, WINDOW_S, True),
    ],
)
def test_a_window_ends_when_it_tells_enough(arrivals: int, age_s: float, has_ended: bool) -> None:
    clock = Clock()
    clock.now = 0.0
    admission = control(clock)
    pass_window(admission, clock, queueing_s=0.1)
    began = clock.now
    for number in range(arrivals):
        call(admission, LOW, known(admission, number))
    admission.note_queueing(0.1)
    clock.now = began + age_s
    admission.tick()
    assert (admission.level < LOWEST_PRIORITY) is has_ended


def test_what_is_in_flight_bounds_what_begins_by_class() -> None:
    admission = control(Clock(), capacity_per_s=1000)
    admission.in_flight = 250
    assert not admission.lets_in(priority_of(LOW, 0), admission.no_corp)
    assert admission.lets_in(priority_of(NORMAL, 127), admission.no_corp)
    admission.in_flight = 499
    assert not admission.lets_in(priority_of(BusinessClass.HIGH, 0), admission.no_corp)
    assert admission.lets_in(priority_of(BusinessClass.CRITICAL, 127), admission.no_corp)


def test_while_calls_are_held_up_little_is_in_flight() -> None:
    clock = Clock()
    admission = control(clock, capacity_per_s=1000)
    most_important = priority_of(BusinessClass.CRITICAL, 0)
    admission.in_flight = 500
    for number in range(4000):
        assert not call(admission, NORMAL, known(admission, number))
        admission.pace.hold_up()
    pass_window(admission, clock, queueing_s=0.0)

    admission.in_flight = 50
    let_in = [admission.lets_in(most_important, admission.no_corp)]
    held_up = [admission.is_holding_up]
    for _ in range(2):
        pass_window(admission, clock, queueing_s=0.0)
    let_in.append(admission.lets_in(most_important, admission.no_corp))
    held_up.append(admission.is_holding_up)

    assert (held_up, let_in) == ([True, False], [False, True])


def test_refusals_that_hold_nobody_up_leave_the_places_in_flight_as_they_are() -> None:
    """As at the beginning of a surge of callers who hold back: all places are taken by then."""
    clock = Clock()
    admission = control(clock, capacity_per_s=1000)
    admission.in_flight = 500
    for number in range(2000):
        assert not call(admission, NORMAL, known(admission, number))
    pass_window(admission, clock, queueing_s=0.0)

    admission.in_flight = 499
    assert admission.lets_in(priority_of(BusinessClass.CRITICAL, 0), admission.no_corp)


def test_one_corps_flood_costs_that_corp_and_no_other() -> None:
    clock = Clock()
    admission = control(clock)
    refused: dict[str, int] = {}
    for window in range(6):
        refused = dict.fromkeys(("flood", "neighbour"), 0)
        for number in range(1000):
            if not call(admission, BusinessClass.HIGH, known(admission, number, "flood")):
                refused["flood"] += 1
            if number % 2 == 0:
                corp = f"ww{number % 100}"
                if not call(admission, LOW, known(admission, number, corp)):
                    refused["neighbour"] += 1
        pass_window(admission, clock, queueing_s=0.03 if window < 4 else 0.015)

    assert refused["flood"] > 100
    assert refused["neighbour"] == 0


def test_a_corp_that_is_held_to_its_share_leaves_places_in_flight_to_the_others() -> None:
    clock = Clock()
    admission = control(clock)
    for _ in range(3):
        for number in range(1000):
            call(admission, BusinessClass.HIGH, known(admission, number, "flood"))
        call(admission, BusinessClass.HIGH, known(admission, 0, "ww1"))
        pass_window(admission, clock, queueing_s=0.03)
    flood, other = known(admission, 1, "flood").corp, known(admission, 0, "ww1").corp

    admission.in_flight = 100  # of 450
    most_important = priority_of(BusinessClass.HIGH, 0)
    assert flood.level < LOWEST_PRIORITY
    assert not admission.lets_in(most_important, flood)
    assert admission.lets_in(most_important, other)


def flooded(clock: Clock) -> AdmissionControl:
    """Return a control that holds a corp to its share, whose 100 users send 1,000 calls."""
    admission = control(clock)
    for _ in range(4):
        for number in range(1000):
            caller = known(admission, number % 100, "flood")
            if priority_of(NORMAL, caller.user_level) <= admission.level_for(caller.corp):
                call(admission, NORMAL, caller)
            else:
                admission.note_held_back({NORMAL: 1}, caller.corp)
            if number % 10 == 0:
                call(admission, NORMAL, known(admission, number, f"ww{number}"))
        pass_window(admission, clock, queueing_s=0.03)
    return admission


def test_a_flood_that_holds_back_is_held_to_its_share_by_what_it_held_back() -> None:
    clock = Clock()
    admission = flooded(clock)
    flood = known(admission, 0, "flood").corp
    for _ in range(10):
        admission.note_held_back({NORMAL: MAX_HELD_BACK}, flood)
        for number in range(10):
            call(admission, NORMAL, known(admission, number, f"ww{number}"))
        pass_window(admission, clock, queueing_s=0.0)
        assert flood.level < LOWEST_PRIORITY


def test_a_flood_that_has_ended_is_let_go_little_by_little() -> None:
    """Its callers may only have had no call to tell with what they hold back."""
    clock = Clock()
    admission = flooded(clock)
    flood = known(admission, 0, "flood").corp
    shares = []
    while flood.by_priority is not None:
        shares.append(flood.share_per_s)
        for number in range(100):
            call(admission, NORMAL, known(admission, number, f"ww{number}"))
        pass_window(admission, clock, queueing_s=0.0)
        assert len(shares) < 100
    assert len(shares) > 3
    assert all(after <= 1.3 * before for before, after in pairwise(shares))


def test_one_user_who_sends_more_than_the_share_is_told_to_stop_within_the_window() -> None:
    clock = Clock()
    admission = flooded(clock)
    caller = known(admission, 0, "flood")
    priority = priority_of(NORMAL, caller.user_level)
    caller.corp.level, caller.corp.share_per_s = priority, 100.0
    let_in = 0
    while admission.level_for(caller.corp) >= priority:
        let_in += call(admission, NORMAL, caller)
        assert let_in < 10
    assert let_in > 0


def test_the_last_calls_of_a_share_are_left_for_what_is_more_important() -> None:
    clock = Clock()
    corp = CorpCalls("ww1", share_per_s=100.0)
    assert corp.takes_of_its_share(LOW, clock.now)
    assert not corp.takes_of_its_share(LOW, clock.now)
    taken = [of for of in reversed(BusinessClass) if corp.takes_of_its_share(of, clock.now)]
    assert taken == [NORMAL, BusinessClass.HIGH, BusinessClass.CRITICAL]
    assert not corp.takes_of_its_share(BusinessClass.CRITICAL, clock.now)
    assert corp.takes_of_its_share(BusinessClass.CRITICAL, clock.now + 0.02)


def test_who_finds_no_place_in_flight_is_told_a_level_that_says_so() -> None:
    clock = Clock()
    admission = control(clock)
    for window in range(3):
        for number in range(200):
            admission.in_flight = 0 if number < 20 else 500
            call(admission, NORMAL, known(admission, number))
        pass_window(admission, clock, queueing_s=0.0)
        # Half of what was done before the places were taken is let in whatever happens.
        assert class_of(admission.level) == NORMAL, window
    assert admission.level < priority_of(NORMAL, USER_LEVELS - 1)


def test_counters_add_up() -> None:
    clock = Clock()
    admission = control(clock)
    admission.level = priority_of(NORMAL, 63)
    for level in range(USER_LEVELS):
        admission.lets_in(priority_of(NORMAL, level), admission.no_corp)
    counts = admission.current_counts()
    assert (counts.arrivals[NORMAL], counts.shed[NORMAL]) == (128, 64)
    clock.now += WINDOW_S
    admission.tick()
    assert admission.current_counts() == counts
    admission.level = 0
    admission.lets_in(priority_of(NORMAL, 0), admission.no_corp)
    assert admission.current_counts().shed[NORMAL] == counts.shed[NORMAL] + 1


def test_a_response_tells_the_level_and_the_calls_priority() -> None:
    admission = control(Clock())
    assert admission.tell(400, admission.no_corp) == "639 400"
    caller = known(admission, 1)
    caller.corp.level = 390
    assert admission.tell(400, caller.corp) == "390 400"


def test_within_a_class_no_user_is_refused_much_more_than_another_over_the_hours() -> None:
    clock = Clock()
    admission = control(clock)
    admission.level = priority_of(NORMAL, 63)
    shares = []
    for number in range(100):
        levels = []
        for _ in range(100):
            clock.now += HOUR_S
            admission.tick()
            admission.level = priority_of(NORMAL, 63)
            levels.append(call(admission, NORMAL, known(admission, number)))
        shares.append(statistics.mean(levels))
    # 100 tosses of a coin each: five standard deviations are 0.25.
    assert min(shares) > 0.25
    assert max(shares) < 0.75


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0,1,20,300", {1: 0, 2: 1, 3: 20, 4: 300}),
        ("", {}),
        ("1,2,3", {}),
        ("1,2,3,4,5", {}),
        ("1,2,3,-4", {}),
        ("1,2,3,x", {}),
        ("1," * 50, {}),
        (b"1,2,3,4", {}),
        (None, {}),
    ],
)
def test_what_was_held_back_is_read_or_ignored(text: object, expected: dict[int, int]) -> None:
    assert read_held_back(text) == expected
    assert expected or read_held_back(text) is NOTHING_HELD_BACK


@pytest.mark.parametrize(
    ("of_corp", "told", "believed"),
    [
        (True, [0, 0, 10**9, 0], [0, 0, 25, 0]),
        (True, [0, 3, 10, 50], [0, 3, 10, 12]),
        (True, [50, 50, 50, 50], [5, 20, 0, 0]),
        (True, [50, 0, 0, 2], [5, 0, 0, 2]),
        (False, [0, 0, 50, 50], [0, 0, 1, 0]),
        (False, [50, 50, 50, 50], [1, 0, 0, 0]),
    ],
)
def test_a_caller_can_not_make_up_a_surge(
    of_corp: bool, told: list[int], believed: list[int]
) -> None:
    admission = control(Clock())
    corp = known(admission, 1).corp if of_corp else admission.no_corp
    admission.note_held_back(dict(zip(BusinessClass, told, strict=True)), corp)
    assert admission.current_counts().held_back[1:] == believed
    assert [corp.held_back[of] for of in BusinessClass] == believed


@pytest.mark.parametrize(
    "authorization",
    [
        *(None, "", b"x", "x" * 9000),
        *("Bearer x", "Bearer a.b.c", "Bearer a.W10.c", "Bearer a.e30.c"),
        claiming({"kind": "member", "corp": "ww1", "sub": "\ud800"}),
        claiming({"kind": "member", "corp": "ww1", "sub": "li.wei", "name": "x" * 3100}),
    ],
)
def test_a_token_that_claims_nobody_gets_some_place(authorization: object) -> None:
    assert read_claimed_user(authorization) is None
    assert 0 <= control(Clock()).callers.meet(authorization).user_level < USER_LEVELS


def test_forged_tokens_make_nobody_forgotten_who_is_verified() -> None:
    admission = control(Clock())
    honest = known(admission, 1)
    for number in range(50_001):
        admission.callers.meet(claiming({"kind": "member", "sub": f"forged-{number}"}))
    assert admission.callers.find("Bearer ww1-1") is honest


def test_what_forged_tokens_leave_behind_is_small() -> None:
    """A token may have 4,096 characters, and strangers send as many of them as they like."""
    callers = control(Clock()).callers
    forged = ({"kind": "member", "sub": f"{number}", "name": "x" * 2900} for number in range(2000))
    tracemalloc.start()
    for claims in forged:
        callers.meet(claiming(claims))
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 2000 * 500


def test_the_time_of_calls_while_little_is_to_do_is_kept_through_a_surge() -> None:
    """Under load calls wait for each other in their handlers: slots by that time would add more."""
    admission = control(Clock())
    admission.note_capacity(100, is_saturated=False)
    assert admission.calm_service_s == 0
    for service_s in (0.005, 0.004):
        admission.service_s = service_s
        admission.note_capacity(100, is_saturated=False)
        assert admission.calm_service_s == service_s
    admission.service_s = 0.1
    for _ in range(60):
        admission.note_capacity(1000, is_saturated=True)
    assert admission.calm_service_s < 0.0043
    for _ in range(3600):
        admission.note_capacity(1000, is_saturated=True)
    assert admission.calm_service_s == pytest.approx(0.1)
