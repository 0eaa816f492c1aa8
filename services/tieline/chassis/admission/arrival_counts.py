"""Arrivals of a window, a count for each priority: what is put in, taken out and read. Pure."""

from tieline.chassis.admission.priorities import LOWEST_PRIORITY, USER_LEVELS, priority_of


def spread(arrivals: list[int], business_class: int, count: int, level: int) -> None:
    """Put calls that were held back where they would have arrived: above the level."""
    begin = max(priority_of(business_class, 0), level + 1)
    places = priority_of(business_class, USER_LEVELS) - begin
    if count == 0 or places <= 0:
        return
    each, rest = divmod(count, places)
    for priority in range(begin, begin + places):
        arrivals[priority] += each
    for priority in range(begin, begin + rest):
        arrivals[priority] += 1


def scaled(arrivals: list[int], to: int) -> list[int]:
    """Return a guess at a corp's arrivals by priority: like everybody's."""
    total = max(sum(arrivals), 1)
    return [count * to // total for count in arrivals]


def find_level(arrivals: list[int], share: float) -> int:
    """Return the largest priority up to which no more than the share arrives."""
    prefix = 0
    for priority, count in enumerate(arrivals):
        prefix += count
        if prefix > share:
            return priority - 1
    return LOWEST_PRIORITY


def subtract(arrivals: object, corps: list[int], level: int, last: int) -> None:
    """Take a corp's arrivals above one level, up to another, out of everybody's."""
    assert isinstance(arrivals, list), "built by AdmissionControl"
    for priority in range(level + 1, last + 1):
        arrivals[priority] = max(arrivals[priority] - corps[priority], 0)
