"""Who comes before whom, and for how long."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.chassis.admission.priorities import (
    HIGHEST_PRIORITY,
    LOWEST_PRIORITY,
    USER_LEVELS,
    BusinessClass,
    class_of,
    priority_of,
    read_priority,
    user_level_of,
)

KEY = b"k" * 32
HOUR_S = 3600


@pytest.mark.parametrize(
    ("more", "less"),
    [
        ((BusinessClass.CRITICAL, 127), (BusinessClass.HIGH, 0)),
        ((BusinessClass.NORMAL, 127), (BusinessClass.LOW, 0)),
        ((BusinessClass.LOW, 3), (BusinessClass.LOW, 4)),
    ],
)
def test_the_class_comes_before_the_user(more: tuple[int, int], less: tuple[int, int]) -> None:
    assert priority_of(*more) < priority_of(*less)


@given(st.sampled_from(BusinessClass), st.integers(0, USER_LEVELS - 1))
def test_a_priority_tells_its_class_and_survives_the_wire(of: BusinessClass, level: int) -> None:
    priority = priority_of(of, level)
    assert class_of(priority) == of
    assert read_priority(str(priority)) == priority


@pytest.mark.parametrize(
    "text",
    [
        *("", "-1", "0", "127", "640", "9999", "1e2", " 200", "٢٠٠", "200\n", "+200"),
        str(HIGHEST_PRIORITY - 1),
        str(LOWEST_PRIORITY + 1),
        b"200",
        None,
    ],
)
def test_what_is_no_priority_is_none(text: object) -> None:
    assert read_priority(text) is None


@given(st.text(max_size=80), st.floats(0, 2**33))
def test_a_level_is_in_range_and_stays_for_the_hour(user: str, now: float) -> None:
    level = user_level_of(user, key=KEY, now=now)
    assert 0 <= level < USER_LEVELS
    assert level == user_level_of(user, key=KEY, now=now // HOUR_S * HOUR_S)


def test_another_key_gives_another_order() -> None:
    users = [f"user-{number}" for number in range(200)]
    ours = [user_level_of(user, key=KEY, now=0) for user in users]
    others = [user_level_of(user, key=b"other" * 8, now=0) for user in users]
    assert ours != others


def test_over_a_week_of_hours_nobody_is_refused_much_more_than_others() -> None:
    admitted_levels = USER_LEVELS // 2
    shares = [
        statistics.mean(
            user_level_of(f"ww1/user-{number}", key=KEY, now=hour * HOUR_S) < admitted_levels
            for hour in range(24 * 7)
        )
        for number in range(500)
    ]
    # Half of 168 coin tosses: four standard deviations are 0.15.
    assert min(shares) > 0.34
    assert max(shares) < 0.66
