"""When nothing is pushed."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.api.messaging.v1 import push_service_pb2 as push
from tieline.chassis.errors import InvalidArgumentError
from tieline.messaging.push.quiet_hours import check_quiet_hours, find_quiet_end


def quiet(
    begin: str = "22:00",
    end: str = "07:00",
    zone: str = "Asia/Shanghai",
    weekdays: tuple[int, ...] = (),
) -> push.QuietHours:
    return push.QuietHours(begin=begin, end=end, time_zone=zone, weekdays=weekdays)


def utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


# Thursday is 2026-11-26; Shanghai is 8 hours ahead.
@pytest.mark.parametrize(
    ("hours", "now", "end"),
    [
        pytest.param(quiet(), "2026-11-26T13:59:59", None, id="a second before"),
        pytest.param(quiet(), "2026-11-26T14:00:00", "2026-11-26T23:00:00", id="begins"),
        pytest.param(quiet(), "2026-11-26T16:30:00", "2026-11-26T23:00:00", id="over midnight"),
        pytest.param(quiet(), "2026-11-26T22:59:59", "2026-11-26T23:00:00", id="a second left"),
        pytest.param(quiet(), "2026-11-26T23:00:00", None, id="ended"),
        pytest.param(
            quiet("12:00", "13:30"), "2026-11-26T05:29:59", "2026-11-26T05:30:00", id="noon"
        ),
        pytest.param(quiet("12:00", "13:30"), "2026-11-26T05:30:00", None, id="noon is over"),
        pytest.param(
            quiet(weekdays=(4,)), "2026-11-26T22:00:00", "2026-11-26T23:00:00", id="day it began"
        ),
        pytest.param(quiet(weekdays=(5,)), "2026-11-26T22:00:00", None, id="not yet begun"),
        pytest.param(
            quiet("00:00", "00:00", "UTC", (6, 7)),
            "2026-11-28T01:00:00",
            "2026-11-30T00:00:00",
            id="both days of a weekend without a pause",
        ),
        pytest.param(
            quiet("00:00", "00:00", "UTC"),
            "2026-11-28T01:00:00",
            "2026-12-06T00:00:00",
            id="always: looked at again in eight days",
        ),
        # Berlin, 2026-03-29: 02:00 becomes 03:00. 2026-10-25: 03:00 becomes 02:00.
        pytest.param(
            quiet("22:00", "02:30", "Europe/Berlin"),
            "2026-03-29T01:29:59",
            "2026-03-29T01:30:00",
            id="the end is in the gap",
        ),
        pytest.param(
            quiet("02:30", "07:00", "Europe/Berlin"),
            "2026-03-29T01:29:59",
            None,
            id="the beginning is in the gap",
        ),
        pytest.param(
            quiet("02:30", "03:00", "Europe/Berlin"),
            "2026-03-29T01:00:00",
            None,
            id="all of it is in the gap",
        ),
        pytest.param(
            quiet("22:00", "07:00", "Europe/Berlin"),
            "2026-10-25T05:59:59",
            "2026-10-25T06:00:00",
            id="an hour longer when clocks go back",
        ),
        pytest.param(
            quiet("22:00", "02:30", "Europe/Berlin"),
            "2026-10-25T00:30:00",
            None,
            id="the end comes twice: the first",
        ),
        pytest.param(
            quiet("22:00", "07:00", "America/Los_Angeles"),
            "2026-11-26T06:00:00",
            "2026-11-26T15:00:00",
            id="west of Greenwich",
        ),
    ],
)
def test_quiet_hours_end(hours: push.QuietHours, now: str, end: str | None) -> None:
    found = find_quiet_end(check_quiet_hours(hours), utc(now))

    assert found == (None if end is None else utc(end))


_TIMES = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))


@given(
    begin=_TIMES,
    end=_TIMES,
    zone=st.sampled_from(["UTC", "Asia/Shanghai", "Europe/Berlin", "America/St_Johns"]),
    weekdays=st.sets(st.integers(1, 7)),
    minute=st.integers(0, 366 * 24 * 60),
)
def test_end_lies_ahead_and_is_not_quiet_itself(
    begin: str, end: str, zone: str, weekdays: set[int], minute: int
) -> None:
    hours = check_quiet_hours(quiet(begin, end, zone, tuple(weekdays)))
    time = utc("2026-01-01") + dt.timedelta(minutes=minute)

    found = find_quiet_end(hours, time)

    assert found is None or time < found
    is_pausing = begin != end
    if found is not None and is_pausing:
        assert find_quiet_end(hours, found) is None


@pytest.mark.parametrize(
    ("hours", "field"),
    [
        (quiet(begin="24:00"), "quiet_hours.begin"),
        (quiet(begin="7:00"), "quiet_hours.begin"),
        (quiet(end=""), "quiet_hours.end"),
        (quiet(zone="Mars/Olympus"), "quiet_hours.time_zone"),
        (quiet(zone=""), "quiet_hours.time_zone"),
        (quiet(weekdays=(0,)), "quiet_hours.weekdays"),
        (quiet(weekdays=(8,)), "quiet_hours.weekdays"),
        (quiet(weekdays=(1, 1)), "quiet_hours.weekdays"),
    ],
)
def test_what_is_wrong_is_named(hours: push.QuietHours, field: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        check_quiet_hours(hours)

    assert field in refused.value.violations
