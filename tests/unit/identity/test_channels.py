"""Keys of trusted channels, and what a change does."""

import datetime as dt
from dataclasses import replace

import pytest

from tieline.chassis.errors import InvalidArgumentError
from tieline.identity.sign_in.channels import Channel, ChannelChange, check_new_channel, is_overlap

NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
OLD, NEW, NEWEST = b"o" * 32, b"n" * 32, b"x" * 32
CHANNEL = Channel("c1", "Mini-program", OLD, NOW)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_public_key_has_32_bytes(length: int) -> None:
    check_new_channel("Mini-program", bytes(32))

    with pytest.raises(InvalidArgumentError) as caught:
        check_new_channel("Mini-program", bytes(length))
    assert list(caught.value.violations) == ["public_key"]


def test_two_keys_are_good_during_the_overlap_and_never_three() -> None:
    once = ChannelChange(public_key=NEW, overlap=HOUR).apply(CHANNEL, NOW)
    twice = ChannelChange(public_key=NEWEST, overlap=HOUR).apply(once, NOW)

    assert once.good_keys(NOW) == [NEW, OLD]
    assert once.good_keys(NOW + HOUR) == [NEW]
    assert twice.good_keys(NOW) == [NEWEST, NEW]


def test_a_key_without_an_overlap_is_good_alone() -> None:
    rotated = ChannelChange(public_key=NEW, overlap=HOUR).apply(CHANNEL, NOW)

    changed = ChannelChange(public_key=NEWEST, overlap=dt.timedelta()).apply(rotated, NOW)

    assert changed.good_keys(NOW) == [NEWEST]


def test_what_a_disabled_channel_opened_is_over_for_good() -> None:
    off = ChannelChange(is_disabled=True).apply(CHANNEL, NOW)
    on = ChannelChange(is_disabled=False).apply(off, NOW + HOUR)

    assert off.good_keys(NOW) == []
    assert not off.lets_session_go_on(NOW + HOUR)
    assert on.good_keys(NOW) == [OLD]
    assert not on.lets_session_go_on(NOW - HOUR)
    assert on.lets_session_go_on(NOW + HOUR)


@pytest.mark.parametrize(
    "change",
    [
        ChannelChange(),
        ChannelChange(display_name="Mini-program"),
        ChannelChange(public_key=OLD),
        ChannelChange(is_disabled=False),
    ],
)
def test_a_change_to_the_same_changes_nothing(change: ChannelChange) -> None:
    assert change.apply(CHANNEL, NOW) is CHANNEL


def test_disabling_again_keeps_the_time() -> None:
    off = replace(CHANNEL, is_disabled=True, session_floor_time=NOW)

    assert ChannelChange(is_disabled=True).apply(off, NOW + HOUR) is off


@pytest.mark.parametrize(("seconds", "is_one"), [(0, True), (30 * 86400, True), (-1, False)])
def test_an_overlap_is_30_days_at_most(seconds: float, is_one: bool) -> None:
    assert is_overlap(seconds) is is_one
    assert not is_overlap(30 * 86400 + 1)
