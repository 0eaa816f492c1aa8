"""When scheduled messages are sent."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.api.messaging.v1 import scheduled_message_service_pb2 as scheduled
from tieline.chassis.errors import InvalidArgumentError
from tieline.messaging.scheduled_messages.schedules import (
    Schedule,
    check_schedule,
    find_next_time,
    read_schedule,
)

# Thursday noon in Shanghai.
NOW = dt.datetime(2026, 11, 26, 4, 0, tzinfo=dt.UTC)

ONCE = scheduled.SCHEDULE_FREQUENCY_ONCE
DAILY = scheduled.SCHEDULE_FREQUENCY_DAILY
WEEKLY = scheduled.SCHEDULE_FREQUENCY_WEEKLY
MONTHLY = scheduled.SCHEDULE_FREQUENCY_MONTHLY


def schedule(
    frequency: scheduled.ScheduleFrequency.ValueType = DAILY,
    *,
    zone: str = "Asia/Shanghai",
    first: str = "2026-11-26",
    at: str = "12:00",
    weekdays: tuple[int, ...] = (),
    month_days: tuple[int, ...] = (),
    last: str = "",
) -> scheduled.Schedule:
    return scheduled.Schedule(
        frequency=frequency,
        time_zone=zone,
        first_date=first,
        time_of_day=at,
        weekdays=weekdays,
        month_days=month_days,
        last_date=last,
    )


@pytest.mark.parametrize(
    ("given_schedule", "after", "expected"),
    [
        pytest.param(schedule(at="12:01"), NOW, "2026-11-26T04:01", id="a minute to go"),
        pytest.param(schedule(), NOW, "2026-11-27T04:00", id="exactly now is over"),
        pytest.param(schedule(first="2026-12-24"), NOW, "2026-12-24T04:00", id="begins later"),
        pytest.param(
            schedule(ONCE, at="12:01"), NOW, "2026-11-26T04:01", id="once, a minute to go"
        ),
        pytest.param(schedule(ONCE), NOW, None, id="once, over"),
        pytest.param(
            schedule(WEEKLY, weekdays=(1, 4)), NOW, "2026-11-30T04:00", id="Monday after Thursday"
        ),
        pytest.param(
            schedule(WEEKLY, weekdays=(4,), at="13:00"),
            NOW,
            "2026-11-26T05:00",
            id="Thursday itself",
        ),
        pytest.param(
            schedule(MONTHLY, month_days=(31,)), NOW, "2026-11-30T04:00", id="November has no 31st"
        ),
        pytest.param(
            schedule(MONTHLY, month_days=(30, 31)),
            NOW,
            "2026-11-30T04:00",
            id="30th and 31st are one day in November",
        ),
        pytest.param(
            schedule(MONTHLY, month_days=(1,)), NOW, "2026-12-01T04:00", id="first of the month"
        ),
        pytest.param(
            schedule(MONTHLY, month_days=(30,), first="2027-02-01"),
            NOW,
            "2027-02-28T04:00",
            id="February ends",
        ),
        pytest.param(schedule(last="2026-11-26"), NOW, None, id="last day is over"),
        pytest.param(
            schedule(last="2026-11-27"), NOW, "2026-11-27T04:00", id="last day is tomorrow"
        ),
        pytest.param(
            schedule(zone="Europe/Berlin", at="02:30"),
            dt.datetime(2027, 3, 27, 12, 0, tzinfo=dt.UTC),
            "2027-03-28T01:30",
            id="02:30 that the day lacks is 03:30",
        ),
        pytest.param(
            schedule(zone="Europe/Berlin", at="02:30"),
            dt.datetime(2027, 10, 30, 12, 0, tzinfo=dt.UTC),
            "2027-10-31T00:30",
            id="of two 02:30 the first",
        ),
        pytest.param(
            schedule(zone="Europe/Berlin", at="02:30"),
            dt.datetime(2027, 10, 31, 0, 30, tzinfo=dt.UTC),
            "2027-11-01T01:30",
            id="the second 02:30 is not another one",
        ),
    ],
)
def test_next_time_is_the_first_one_after(
    given_schedule: scheduled.Schedule, after: dt.datetime, expected: str | None
) -> None:
    time = find_next_time(read_schedule(given_schedule), after)

    assert (time and time.strftime("%Y-%m-%dT%H:%M")) == expected


@pytest.mark.parametrize(
    ("given_schedule", "fields"),
    [
        pytest.param(scheduled.Schedule(), {"frequency", "time_zone", "time_of_day", "first_date"}),
        pytest.param(schedule(zone="Mars/Olympus"), {"time_zone"}),
        pytest.param(schedule(zone="Europe"), {"time_zone"}, id="a folder of zones"),
        pytest.param(schedule(zone="../etc/passwd"), {"time_zone"}),
        pytest.param(schedule(zone="A" * 10_000), {"time_zone"}),
        pytest.param(schedule(at="24:00"), {"time_of_day"}),
        pytest.param(schedule(at="9:00"), {"time_of_day"}),
        pytest.param(schedule(first="2026-02-30"), {"first_date"}),
        pytest.param(schedule(first="20261126"), {"first_date"}),
        pytest.param(schedule(ONCE, first="2026-11-25"), {"first_date"}, id="past"),
        pytest.param(schedule(first="2027-11-28"), {"first_date"}, id="367 days ahead"),
        pytest.param(schedule(last="2026-11-25"), {"last_date"}, id="ends before it begins"),
        pytest.param(
            schedule(first="2026-11-01", last="2026-11-25"), {"last_date"}, id="all is past"
        ),
        pytest.param(schedule(ONCE, at="13:00", last="2026-11-26"), {"last_date"}),
        pytest.param(schedule(WEEKLY), {"weekdays"}),
        pytest.param(schedule(WEEKLY, weekdays=(0,)), {"weekdays"}),
        pytest.param(schedule(WEEKLY, weekdays=(8,)), {"weekdays"}),
        pytest.param(schedule(WEEKLY, weekdays=(1, 1)), {"weekdays"}),
        pytest.param(schedule(DAILY, weekdays=(1,)), {"weekdays"}),
        pytest.param(schedule(MONTHLY), {"month_days"}),
        pytest.param(schedule(MONTHLY, month_days=(32,)), {"month_days"}),
        pytest.param(schedule(WEEKLY, weekdays=(1,), month_days=(1,)), {"month_days"}),
        pytest.param(schedule(99), {"frequency"}),  # type: ignore[arg-type]  # a newer client's
    ],
)
def test_bad_schedule_names_its_fields(
    given_schedule: scheduled.Schedule, fields: set[str]
) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        check_schedule(given_schedule, NOW, "schedule")

    assert set(raised.value.violations) == {f"schedule.{field}" for field in fields}


def test_the_farthest_first_date_is_accepted() -> None:
    checked = check_schedule(schedule(first="2027-11-27"), NOW, "schedule")

    assert checked.first_date == dt.date(2027, 11, 27)


def _is_on_naively(checked: Schedule, day: dt.date) -> bool:
    month_end = (day.replace(day=28) + dt.timedelta(days=4)).replace(day=1) - dt.timedelta(days=1)
    if not checked.first_date <= day <= checked.last_date:
        return False
    if checked.weekdays and day.isoweekday() not in checked.weekdays:
        return False
    wanted = {min(each, month_end.day) for each in checked.month_days}
    return not wanted or day.day in wanted


@given(
    zone=st.sampled_from(["Asia/Shanghai", "Europe/Berlin", "America/New_York", "Asia/Kathmandu"]),
    first=st.dates(dt.date(2026, 6, 1), dt.date(2028, 6, 1)),
    length=st.none() | st.integers(0, 500),
    minute=st.integers(0, 24 * 60 - 1),
    weekdays=st.frozensets(st.integers(1, 7)),
    month_days=st.frozensets(st.integers(1, 31)),
    minutes_later=st.integers(0, 2 * 366 * 24 * 60),
)
def test_times_are_those_of_a_calendar_read_day_by_day(
    zone: str,
    first: dt.date,
    length: int | None,
    minute: int,
    weekdays: frozenset[int],
    month_days: frozenset[int],
    minutes_later: int,
) -> None:
    at = dt.time(*divmod(minute, 60))
    after = NOW + dt.timedelta(minutes=minutes_later)
    last = dt.date.max if length is None else first + dt.timedelta(days=length)
    days = month_days if not weekdays else frozenset[int]()
    checked = Schedule(ZoneInfo(zone), first, last, at, weekdays, days)

    time = find_next_time(checked, after)

    begin = max(first, after.astimezone(checked.zone).date() - dt.timedelta(days=1))
    candidates = (
        begin + dt.timedelta(days=n) for n in range(70) if begin + dt.timedelta(n) <= last
    )
    expected = (
        dt.datetime.combine(day, at, checked.zone).astimezone(dt.UTC)
        for day in candidates
        if _is_on_naively(checked, day)
    )
    assert time == next((each for each in expected if each > after), None)
