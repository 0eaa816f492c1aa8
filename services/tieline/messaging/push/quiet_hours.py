"""When somebody wants to be left alone: hours of a zone's days turned into moments. Pure."""

import datetime as dt
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from tieline.api.messaging.v1 import push_service_pb2
from tieline.chassis.fields import raise_violations
from tieline.messaging.scheduled_messages.schedules import TIME_PATTERN, find_zone

_DAY = dt.timedelta(days=1)

# Quiet hours of each day that follow one another without a pause never end; a look every eight
# days is enough for them.
_MAX_PERIODS = 8


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Checked quiet hours."""

    begin: dt.time
    end: dt.time
    """On the next day where it is not later than the beginning."""

    zone: ZoneInfo
    weekdays: frozenset[int]
    """ISO numbers of the days on which they begin; empty for all."""


def check_quiet_hours(given: push_service_pb2.QuietHours) -> QuietHours:
    """Return the quiet hours, or refuse them with all that is wrong."""
    violations: dict[str, str] = {}
    for name, value in (("begin", given.begin), ("end", given.end)):
        if not TIME_PATTERN.fullmatch(value):
            violations[f"quiet_hours.{name}"] = "must be HH:MM from 00:00 to 23:59"
    if find_zone(given.time_zone) is None:
        violations["quiet_hours.time_zone"] = "must be an IANA time zone, such as Asia/Shanghai"
    days = list(given.weekdays)
    if not all(1 <= day <= 7 for day in days) or len(set(days)) != len(days):
        violations["quiet_hours.weekdays"] = "must be different numbers from 1 to 7, or empty"
    raise_violations(violations)
    return read_quiet_hours(given)


def read_quiet_hours(given: push_service_pb2.QuietHours) -> QuietHours:
    """Return quiet hours that were checked before."""
    return QuietHours(
        dt.time.fromisoformat(given.begin),
        dt.time.fromisoformat(given.end),
        ZoneInfo(given.time_zone),
        frozenset(given.weekdays),
    )


def find_quiet_end(quiet: QuietHours, now: dt.datetime) -> dt.datetime | None:
    """Return when the quiet hours end in which ``now`` lies, in UTC; None if it lies in none.

    Hours that follow one another without a pause end with the last of them.
    """
    end = None
    time = now
    for _ in range(_MAX_PERIODS):
        found = _find_end(quiet, time)
        if found is None:
            break
        end = time = found
    return end


def _find_end(quiet: QuietHours, now: dt.datetime) -> dt.datetime | None:
    today = now.astimezone(quiet.zone).date()
    # Those of yesterday may reach into today; clocks that are put back across midnight make today
    # yesterday for an hour.
    for day in (today + _DAY, today, today - _DAY):
        if quiet.weekdays and day.isoweekday() not in quiet.weekdays:
            continue
        begin = _to_moment(day, quiet.begin, quiet.zone)
        last_day = day if quiet.end > quiet.begin else day + _DAY
        end = _to_moment(last_day, quiet.end, quiet.zone)
        if begin <= now < end:
            return end
    return None


def _to_moment(day: dt.date, time: dt.time, zone: ZoneInfo) -> dt.datetime:
    # A time that the day lacks gets the offset of before the gap, so it is an hour later.
    return dt.datetime.combine(day, time, zone).astimezone(dt.UTC)
