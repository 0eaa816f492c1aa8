"""What our callers do not send, and what they tell of it."""

import pytest

from tieline.api.common.v1 import priority_pb2
from tieline.api.messaging.v1 import messaging_service_pb2
from tieline.client.callee_level import (
    MAX_TOLD,
    PROBE_INTERVAL_S,
    CalleeLevel,
    CalleeLevels,
    find_business_class,
)

NORMAL = priority_pb2.BUSINESS_CLASS_NORMAL
CRITICAL = priority_pb2.BUSINESS_CLASS_CRITICAL
LOW = priority_pb2.BUSINESS_CLASS_LOW


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def told(clock: Clock, text: object) -> CalleeLevel:
    level = CalleeLevel(clock, lambda: 0.5)
    level.note(text)
    return level


@pytest.mark.parametrize(
    ("business_class", "user_level", "is_sent"),
    [(NORMAL, 16, True), (NORMAL, 17, False), (LOW, 0, False)],
)
def test_what_is_above_the_level_is_not_sent(
    business_class: int, user_level: int, is_sent: bool
) -> None:
    assert told(Clock(), "400 401").lets_in(business_class, user_level) is is_sent


def test_a_level_that_lets_in_nothing_is_heeded() -> None:
    assert not told(Clock(), "127 300").lets_in(priority_pb2.BUSINESS_CLASS_CRITICAL, 0)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "400",
        "x 400",
        "1 400",
        "126 400",
        "400 127",
        "9999 400",
        "400 -1",
        b"4 4",
        "4" * 5000 + " 400",
    ],
)
def test_what_is_malformed_changes_nothing(text: object) -> None:
    level = CalleeLevel(Clock())
    assert level.note(text) is None
    assert level.lets_in(LOW, 127)


def test_a_response_tells_the_partys_own_place() -> None:
    assert CalleeLevel(Clock()).note("639 401") == 17


def test_one_call_finds_out_whether_the_level_still_holds() -> None:
    clock = Clock()
    level = told(clock, "400 500")
    clock.now += PROBE_INTERVAL_S
    assert level.lets_in(LOW, 0)
    assert not level.lets_in(LOW, 0)
    level.note("639 500")
    assert level.lets_in(LOW, 0)


def test_what_was_held_back_is_told_once_and_in_parts() -> None:
    level = told(Clock(), "400 500")
    for _ in range(MAX_TOLD + 1):
        level.lets_in(LOW, 0)
    assert level.take_held_back() == f"0,0,0,{MAX_TOLD}"
    assert level.take_held_back() == "0,0,0,1"
    assert level.take_held_back() == ""


def test_no_more_is_told_than_services_believe_and_the_most_important_first() -> None:
    level = told(Clock(), "127 500")
    for of in (LOW, NORMAL, CRITICAL):
        for _ in range(MAX_TOLD - 13):
            level.lets_in(of, 0)
    texts = [level.take_held_back() for _ in range(4)]
    assert texts == ["5,0,12,8", "5,0,0,4", "2,0,0,0", ""]


def test_what_the_service_did_not_read_is_told_again() -> None:
    level = told(Clock(), "400 500")
    level.lets_in(LOW, 0)
    level.give_back(level.take_held_back())
    level.give_back("")
    level.lets_in(NORMAL, 127)
    assert level.take_held_back() == "0,0,1,1"


def test_nothing_that_refused_calls_carried_is_lost_while_more_is_held_back() -> None:
    level = told(Clock(), "400 500")
    carried = []
    for _ in range(100):
        for _ in range(MAX_TOLD):
            level.lets_in(LOW, 0)
        carried.append(level.take_held_back())
    for _ in range(1000):
        level.lets_in(LOW, 0)
    for each in carried:
        level.give_back(each)
    count = 0
    while text := level.take_held_back():
        count += int(text.split(",")[-1])
    assert count == 100 * MAX_TOLD + 1000


def test_the_class_of_a_method_is_the_one_it_declares() -> None:
    service = messaging_service_pb2.DESCRIPTOR.services_by_name["MessagingService"]
    assert find_business_class(f"/{service.full_name}/SendMessage") == (
        priority_pb2.BUSINESS_CLASS_HIGH
    )
    assert find_business_class("/unknown.Service/Call") == NORMAL


def test_corps_of_a_connection_are_kept_up_to_a_bound() -> None:
    levels = CalleeLevels(Clock())
    first = levels.of("ww0")
    others = [levels.of(f"ww{number}") for number in range(1, 1000)]
    assert levels.of("ww0") is first
    levels.of("ww1000")
    assert levels.of("ww999") is others[-1]
    assert levels.of("ww0") is not first
