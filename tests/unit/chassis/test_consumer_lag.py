"""What a consumer tells of how far it is behind, from what it is delivered."""

from dataclasses import dataclass

import pytest

from tieline.chassis.consumer_lag import ConsumerLag

STORED_TIME = 1_000_000.0


@dataclass
class Clocks:
    """Both clocks, that of the wall and the one that never goes back."""

    now: float = STORED_TIME

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    clocks = Clocks()
    monkeypatch.setattr("tieline.chassis.consumer_lag.time", lambda: clocks.now)
    monkeypatch.setattr("tieline.chassis.consumer_lag.monotonic", lambda: clocks.now)
    return clocks


def test_event_in_hand_grows_older_although_none_is_behind_it(clocks: Clocks) -> None:
    """So the alert rings while one event can't be handled."""
    lag = ConsumerLag()
    lag.note_delivery(0, STORED_TIME)
    clocks.pass_by(90)

    assert (lag.pending, lag.delay_s) == (0, 90)


def test_event_that_was_put_off_grows_older_while_nothing_is_delivered(clocks: Clocks) -> None:
    """Between two attempts the server has nothing for anybody."""
    lag = ConsumerLag()
    lag.note_delivery(3, STORED_TIME)
    clocks.pass_by(16)
    lag.note_nothing()

    assert (lag.pending, lag.delay_s) == (3, 16)


def test_last_event_that_is_handled_ends_the_delay(clocks: Clocks) -> None:
    """It was late, and nothing waits any more."""
    lag = ConsumerLag()
    lag.note_delivery(0, STORED_TIME - 90)
    lag.note_settled()

    assert (lag.pending, lag.delay_s) == (0, 0)


def test_delay_of_a_handled_event_stays_while_more_wait(clocks: Clocks) -> None:
    """A scrape between two events of a backlog sees the backlog."""
    lag = ConsumerLag()
    lag.note_delivery(7, STORED_TIME - 90)
    lag.note_settled()
    clocks.pass_by(5)

    assert (lag.pending, lag.delay_s) == (7, 90)


def test_backlog_that_another_replica_handled_ends_after_a_minute_without_events(
    clocks: Clocks,
) -> None:
    """Nobody tells this replica of the last event."""
    lag = ConsumerLag()
    lag.note_delivery(7, STORED_TIME - 90)
    lag.note_settled()
    clocks.pass_by(60)
    lag.note_nothing()

    assert (lag.pending, lag.delay_s) == (0, 0)
