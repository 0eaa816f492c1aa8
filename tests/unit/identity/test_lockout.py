"""When the next attempt may be made."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.identity.sign_in.lockout import (
    ACCOUNT_AT_ADDRESS,
    ACCOUNT_ELSEWHERE,
    ADDRESS,
    ASKING_ADDRESS,
    LONGEST_MEMORY,
    RECEIVER,
    SECOND_FACTOR,
    Rule,
    Tally,
    add_one,
    count_at,
    find_longest_wait_s,
    find_wait_s,
)

NOW = dt.datetime(2026, 2, 24, 8, 0, tzinfo=dt.UTC)
RULES = [ACCOUNT_AT_ADDRESS, ACCOUNT_ELSEWHERE, ADDRESS, ASKING_ADDRESS, RECEIVER, SECOND_FACTOR]

rules = st.sampled_from(RULES)
gaps_s = st.lists(st.floats(min_value=0, max_value=4000), max_size=60)


def later(seconds: float) -> dt.datetime:
    return NOW + dt.timedelta(seconds=seconds)


def after(count: int, rule: Rule) -> Tally | None:
    tally = None
    for _ in range(count):
        tally = add_one(tally, rule, NOW)
    return tally


@pytest.mark.parametrize(
    ("failures", "wait_s"),
    [
        pytest.param(0, 0, id="none"),
        pytest.param(4, 0, id="the last free one is left"),
        pytest.param(5, 1, id="the free ones are used up"),
        pytest.param(6, 2, id="one more"),
        pytest.param(8, 8, id="each doubles"),
        pytest.param(14, 512, id="below the longest"),
        pytest.param(15, 900, id="the longest"),
        pytest.param(1000, 900, id="never longer"),
    ],
)
def test_each_failure_beyond_the_free_ones_doubles_the_wait(failures: int, wait_s: float) -> None:
    assert find_wait_s(after(failures, ACCOUNT_AT_ADDRESS), ACCOUNT_AT_ADDRESS, NOW) == wait_s


def test_the_wait_runs_out() -> None:
    tally = after(6, ACCOUNT_AT_ADDRESS)

    assert find_wait_s(tally, ACCOUNT_AT_ADDRESS, later(1.5)) == 0.5
    assert find_wait_s(tally, ACCOUNT_AT_ADDRESS, later(2)) == 0


def test_a_receiver_waits_a_minute_for_the_second_code_and_two_for_the_third() -> None:
    assert find_wait_s(after(1, RECEIVER), RECEIVER, NOW) == 60
    assert find_wait_s(after(2, RECEIVER), RECEIVER, NOW) == 120


def test_failures_are_forgotten_one_by_one() -> None:
    tally = after(6, ACCOUNT_AT_ADDRESS)

    assert count_at(tally, ACCOUNT_AT_ADDRESS, later(900)) == 5
    assert count_at(tally, ACCOUNT_AT_ADDRESS, later(6 * 900)) == 0


def test_a_clock_that_steps_back_makes_no_wait_longer() -> None:
    tally = after(6, ACCOUNT_AT_ADDRESS)

    assert find_wait_s(tally, ACCOUNT_AT_ADDRESS, later(-3600)) == 2
    assert count_at(tally, ACCOUNT_AT_ADDRESS, later(-3600)) == 6


def test_the_longest_wait_of_all_rules_counts() -> None:
    found = [
        (after(6, ACCOUNT_AT_ADDRESS), ACCOUNT_AT_ADDRESS),
        (None, ACCOUNT_ELSEWHERE),
        (after(301, ADDRESS), ADDRESS),
    ]

    assert find_longest_wait_s(found, NOW) == 2
    assert find_longest_wait_s([], NOW) == 0


@given(rules, gaps_s)
def test_no_wait_is_longer_than_the_rule_says_and_none_is_negative(
    rule: Rule, gaps: list[float]
) -> None:
    tally, now = None, NOW
    for gap in gaps:
        now += dt.timedelta(seconds=gap)
        tally = add_one(tally, rule, now)

        assert 0 <= find_wait_s(tally, rule, now) <= rule.max_delay_s
        assert tally.count <= len(gaps)


@given(rules, gaps_s)
def test_of_everything_that_was_counted_nothing_is_left_after_the_longest_memory(
    rule: Rule, gaps: list[float]
) -> None:
    """The purge deletes by that."""
    tally, now = None, NOW
    for gap in gaps:
        now += dt.timedelta(seconds=gap)
        tally = add_one(tally, rule, now)

    assert count_at(tally, rule, now + LONGEST_MEMORY) == 0


@given(rules, st.integers(min_value=1, max_value=400))
def test_whoever_waits_each_time_is_let_through(rule: Rule, attempts: int) -> None:
    tally, now = None, NOW
    for _ in range(attempts):
        now += dt.timedelta(seconds=find_wait_s(tally, rule, now))

        assert find_wait_s(tally, rule, now) < 1e-5
        tally = add_one(tally, rule, now)


def test_a_patient_guesser_has_a_hundred_guesses_a_day_at_an_account_from_an_address() -> None:
    tally, now, guesses = None, NOW, 0
    while True:
        now += dt.timedelta(seconds=find_wait_s(tally, ACCOUNT_AT_ADDRESS, now) + 0.001)
        if now > NOW + dt.timedelta(days=1):
            break
        tally = add_one(tally, ACCOUNT_AT_ADDRESS, now)
        guesses += 1

    assert guesses <= 120
