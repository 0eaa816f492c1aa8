"""When the next attempt may be made after some that failed. Pure: the time is passed in.

What is counted is forgotten little by little; beyond what is free each further one doubles the wait
for the next:

    what is counted               free  then waits of        one is forgotten in
    failures of an account
      from one address            5     1 s, … 15 min        15 min
      from unknown addresses      50    1 s, … 15 min        1 min
    failures from one address     300   1 s, … 1 min         1 s
    wrong second factors          5     1 s, … 15 min        15 min
    codes sent to one receiver    1     1 min, … 1 h         1 h
    codes, QR codes and ways to
      providers asked for from
      one address                 100   1 s, … 1 min         1 s

An account at an address from which its owner signed in before is not held back by failures
elsewhere: strangers can't lock the owner out there. The whole world together has about 1,500
guesses a day at one account, one address about 100. An address may be that of a company's 36,000
staff, so that its own limit is wide.
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

# 2^30 seconds are longer than any rule's longest wait.
_MAX_DOUBLINGS = 30


@dataclass(frozen=True, slots=True)
class Rule:
    """How much of something is free, and how long to wait beyond."""

    free: int
    first_delay_s: float
    max_delay_s: float
    forget_s: float
    """Seconds in which one is forgotten."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How much there was, at a time."""

    count: float
    time: dt.datetime


ACCOUNT_AT_ADDRESS = Rule(free=5, first_delay_s=1, max_delay_s=900, forget_s=900)
ACCOUNT_ELSEWHERE = Rule(free=50, first_delay_s=1, max_delay_s=900, forget_s=60)
ADDRESS = Rule(free=300, first_delay_s=1, max_delay_s=60, forget_s=1)
SECOND_FACTOR = Rule(free=5, first_delay_s=1, max_delay_s=900, forget_s=900)
RECEIVER = Rule(free=1, first_delay_s=60, max_delay_s=3600, forget_s=3600)
ASKING_ADDRESS = Rule(free=100, first_delay_s=1, max_delay_s=60, forget_s=1)

LONGEST_MEMORY = dt.timedelta(days=1)
"""After this every tally has decayed to nothing."""


def count_at(tally: Tally | None, rule: Rule, now: dt.datetime) -> float:
    """Return what is left of the count by now."""
    if tally is None:
        return 0.0
    # Clocks may step back: nothing is remembered harder for that.
    elapsed_s = max(0.0, (now - tally.time).total_seconds())
    return max(0.0, tally.count - elapsed_s / rule.forget_s)


def add_one(tally: Tally | None, rule: Rule, now: dt.datetime) -> Tally:
    """Return the tally with one more."""
    return Tally(min(count_at(tally, rule, now) + 1, _most(rule)), now)


def find_wait_s(tally: Tally | None, rule: Rule, now: dt.datetime) -> float:
    """Return the seconds until the next attempt may be made; 0 if it may now."""
    # To the nearest: five within a moment are five, although a little of them is forgotten.
    beyond = -1 if tally is None else round(tally.count) - rule.free
    if tally is None or beyond < 0:
        return 0.0
    doublings = min(beyond, _MAX_DOUBLINGS)
    delay_s = min(rule.max_delay_s, rule.first_delay_s * 2.0**doublings)
    elapsed_s = max(0.0, (now - tally.time).total_seconds())
    return max(0.0, delay_s - elapsed_s)


def find_longest_wait_s(tallies: Iterable[tuple[Tally | None, Rule]], now: dt.datetime) -> float:
    """Return the seconds until all of them let the next attempt be made."""
    return max((find_wait_s(tally, rule, now) for tally, rule in tallies), default=0.0)


def _most(rule: Rule) -> float:
    """Return the count that is never passed: the one of the longest wait.

    Otherwise what an attacker piled up would be held against the owner for days.
    """
    count = rule.free
    delay_s = rule.first_delay_s
    while delay_s < rule.max_delay_s:
        delay_s *= 2
        count += 1
    return float(count)
