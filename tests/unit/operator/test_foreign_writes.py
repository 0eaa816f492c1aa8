import pytest

from tieline.operator.foreign_writes import MAX_FOREIGN_WRITES, OWN_S, WINDOW_S, ForeignWrites


def _at_odds(times: list[float]) -> ForeignWrites:
    """Somebody sets 3 at each of the times, and the operator sets 8 again."""
    writes = ForeignWrites()
    writes.note_attempt("messaging", 8, 0.0)
    for time in times:
        writes.note_seen("messaging", 8, time - 0.5)
        writes.note_seen("messaging", 3, time)
    return writes


def test_a_hand_or_two_on_the_scale_is_no_conflict_and_one_more_is() -> None:
    times = [float(n) for n in range(1, MAX_FOREIGN_WRITES)]

    assert _at_odds(times).conflict_of("messaging", 10.0) == ""
    assert "messaging" in _at_odds([*times, 9.0]).conflict_of("messaging", 10.0)


def test_conflict_is_over_when_nobody_has_written_for_the_window() -> None:
    writes = _at_odds([1.0, 2.0, 3.0])

    assert writes.conflict_of("messaging", 1.0 + WINDOW_S - 0.1)
    assert writes.conflict_of("messaging", 1.0 + WINDOW_S) == ""


def test_own_writes_and_what_was_before_the_first_one_are_not_foreign() -> None:
    writes = ForeignWrites()
    for second, replicas in enumerate((2, 3, 4, 5)):
        writes.note_seen("messaging", replicas, float(second))
    for second, replicas in enumerate((6, 7, 8, 9), start=10):
        writes.note_attempt("messaging", replicas, float(second))
        # The API shows the past for a moment.
        writes.note_seen("messaging", replicas - 1, float(second))
        writes.note_seen("messaging", replicas, second + 0.5)

    assert writes.conflict_of("messaging", 20.0) == ""


@pytest.mark.parametrize(
    ("lag_s", "is_foreign"),
    [pytest.param(3.0, False, id="late"), pytest.param(OWN_S, True, id="too late for a watch")],
)
def test_watch_that_lags_shows_own_writes_one_after_the_other(
    lag_s: float, is_foreign: bool
) -> None:
    writes = ForeignWrites()
    written = range(12, 12 + 2 * MAX_FOREIGN_WRITES)
    for replicas in written:
        writes.note_attempt("messaging", replicas, 0.0)
    for replicas in written:
        writes.note_seen("messaging", replicas, lag_s)

    assert bool(writes.conflict_of("messaging", lag_s)) is is_foreign


def test_what_another_operator_writes_meanwhile_is_not_foreign_and_old_conflicts_stay() -> None:
    writes, at_odds = ForeignWrites(), _at_odds([1.0, 2.0, 3.0])
    writes.note_attempt("messaging", 8, 0.0)
    for each in (writes, at_odds):
        each.forget_attempts()
        for replicas in (9, 10, 11, 12):
            each.note_seen("messaging", replicas, float(replicas))

    assert writes.conflict_of("messaging", 13.0) == ""
    assert at_odds.conflict_of("messaging", 13.0)


def test_conflict_that_the_holder_has_told_of_is_taken_up_and_goes_on_with_the_next_write() -> None:
    """One that it has told to be over is not."""
    told = _at_odds([1.0, 2.0, 3.0]).conflict_of("messaging", 4.0)
    writes = ForeignWrites()
    writes.note_seen("messaging", 3, 10.0)
    writes.take_up("messaging", told, 10.0)

    assert writes.conflict_of("messaging", 10.0 + WINDOW_S - 0.1)
    assert writes.conflict_of("messaging", 10.0 + WINDOW_S) == ""
    for time in (20.0, 30.0, 40.0):
        writes.note_seen("messaging", int(time), time)
    assert writes.conflict_of("messaging", 20.0 + WINDOW_S - 0.1)
    writes.take_up("messaging", "the HorizontalPodAutoscaler a scales messaging as well", 50.0)
    assert writes.conflict_of("messaging", 50.0) == ""


def test_clock_that_is_set_back_prolongs_no_conflict() -> None:
    """The window goes on from the time that the clock shows now."""
    writes = _at_odds([5001.0, 5002.0, 5003.0])

    assert writes.conflict_of("messaging", 100.0)
    assert writes.conflict_of("messaging", 100.0 + WINDOW_S) == ""


def test_targets_that_no_policy_names_are_forgotten() -> None:
    writes = _at_odds([1.0, 2.0, 3.0])

    writes.keep_only({"contacts"})

    assert writes.conflict_of("messaging", 4.0) == ""
