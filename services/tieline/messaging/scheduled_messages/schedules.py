"""When scheduled messages are sent: days of a zone's calendar turned into moments. Pure."""

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tieline.api.messaging.v1 import scheduled_message_service_pb2
from tieline.chassis.fields import raise_violations

# Nobody means a message of in two years, and a table of them would never empty.
MAX_DAYS_AHEAD = 366

# The longest that any schedule pauses: from the first of a month to the next one's last day.
_MAX_PAUSE_DAYS = 62

TIME_PATTERN = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_DATE_PATTERN = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

Frequency = scheduled_message_service_pb2.ScheduleFrequency


@dataclass(frozen=True, slots=True)
class Schedule:
    """A checked schedule."""

    zone: ZoneInfo
    first_date: dt.date
    last_date: dt.date
    """ONCE: the first."""

    time_of_day: dt.time
    weekdays: frozenset[int]
    """ISO numbers; empty for all days of the week."""

    month_days: frozenset[int]
    """Empty for all days of the month."""


def check_schedule(
    given: scheduled_message_service_pb2.Schedule, now: dt.datetime, field: str
) -> Schedule:
    """Return the schedule, or refuse it with all that is wrong, and when all of it is over."""
    violations: dict[str, str] = {}
    if given.frequency not in Frequency.values() or not given.frequency:
        violations[f"{field}.frequency"] = "must be ONCE, DAILY, WEEKLY or MONTHLY"
    zone = find_zone(given.time_zone)
    if zone is None:
        violations[f"{field}.time_zone"] = "must be an IANA time zone, such as Asia/Shanghai"
    time_of_day = TIME_PATTERN.fullmatch(given.time_of_day)
    if time_of_day is None:
        violations[f"{field}.time_of_day"] = "must be HH:MM from 00:00 to 23:59"
    first = _read_date(given.first_date)
    if first is None:
        violations[f"{field}.first_date"] = "must be a day as YYYY-MM-DD"
    _check_days(given, field, violations)
    last = _check_last_date(given, first, field, violations)
    if zone is not None and first is not None:
        ahead = (first - now.astimezone(zone).date()).days
        if ahead > MAX_DAYS_AHEAD:
            violations[f"{field}.first_date"] = f"must be at most {MAX_DAYS_AHEAD} days ahead"
    raise_violations(violations)
    schedule = read_schedule(given)
    if find_next_time(schedule, now) is None:
        which = "first_date" if last is None or last == first else "last_date"
        raise_violations({f"{field}.{which}": "must leave a time that is not yet past"})
    return schedule


def read_schedule(given: scheduled_message_service_pb2.Schedule) -> Schedule:
    """Return a schedule that was checked before."""
    first = dt.date.fromisoformat(given.first_date)
    if given.frequency == Frequency.SCHEDULE_FREQUENCY_ONCE:
        last = first
    elif given.last_date:
        last = dt.date.fromisoformat(given.last_date)
    else:
        last = dt.date.max
    return Schedule(
        ZoneInfo(given.time_zone),
        first,
        last,
        dt.time.fromisoformat(given.time_of_day),
        frozenset(given.weekdays),
        frozenset(given.month_days),
    )


def find_next_time(schedule: Schedule, after: dt.datetime) -> dt.datetime | None:
    """Return the first time of the schedule behind ``after``, in UTC; None when all are over."""
    # A day earlier: clocks of the zone may have been put back across midnight.
    begin = max(schedule.first_date, after.astimezone(schedule.zone).date() - dt.timedelta(days=1))
    for day in _list_days(schedule, begin):
        # A time that the day lacks gets the offset of before the gap, so it is an hour later.
        local = dt.datetime.combine(day, schedule.time_of_day, schedule.zone)
        time = local.astimezone(dt.UTC)
        if time > after:
            return time
    return None


def _list_days(schedule: Schedule, begin: dt.date) -> Iterator[dt.date]:
    for offset in range(_MAX_PAUSE_DAYS + 1):
        if (schedule.last_date - begin).days < offset:
            return
        day = begin + dt.timedelta(days=offset)
        if _is_on(schedule, day):
            yield day


def _is_on(schedule: Schedule, day: dt.date) -> bool:
    if schedule.weekdays:
        return day.isoweekday() in schedule.weekdays
    if not schedule.month_days or day.day in schedule.month_days:
        return True
    is_last = (day + dt.timedelta(days=1)).day == 1
    return is_last and max(schedule.month_days) > day.day


def find_zone(name: str) -> ZoneInfo | None:
    """Return the time zone of that name, None where there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # OSError: the name of a folder of zones.
        return None


def _read_date(value: str) -> dt.date | None:
    if not _DATE_PATTERN.fullmatch(value):
        return None
    try:
        return dt.date.fromisoformat(value)
    except ValueError:
        return None


def _check_days(
    given: scheduled_message_service_pb2.Schedule, field: str, violations: dict[str, str]
) -> None:
    _check_numbers(
        given.weekdays,
        7,
        is_wanted=given.frequency == Frequency.SCHEDULE_FREQUENCY_WEEKLY,
        path=f"{field}.weekdays",
        violations=violations,
    )
    _check_numbers(
        given.month_days,
        31,
        is_wanted=given.frequency == Frequency.SCHEDULE_FREQUENCY_MONTHLY,
        path=f"{field}.month_days",
        violations=violations,
    )


def _check_numbers(
    numbers: Sequence[int], most: int, *, is_wanted: bool, path: str, violations: dict[str, str]
) -> None:
    if not is_wanted:
        if numbers:
            violations[path] = "must be empty for this frequency"
        return
    are_good = all(1 <= number <= most for number in numbers)
    if not numbers or not are_good or len(set(numbers)) != len(numbers):
        violations[path] = f"must be 1 to {most} different numbers from 1 to {most}"


def _check_last_date(
    given: scheduled_message_service_pb2.Schedule,
    first: dt.date | None,
    field: str,
    violations: dict[str, str],
) -> dt.date | None:
    if not given.last_date:
        return None
    last = _read_date(given.last_date)
    if given.frequency == Frequency.SCHEDULE_FREQUENCY_ONCE:
        violations[f"{field}.last_date"] = "must be empty for ONCE"
    elif last is None:
        violations[f"{field}.last_date"] = "must be a day as YYYY-MM-DD, or empty"
    elif first is not None and last < first:
        violations[f"{field}.last_date"] = "must not be before first_date"
    return last
