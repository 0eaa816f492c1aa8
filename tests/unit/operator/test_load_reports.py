"""How reports on the wire become rates, and which are refused."""

from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.api.common.v1 import load_report_pb2, priority_pb2
from tieline.operator.load_reports import Refusal, ReportBook

NOW = 1_800_000_000.0


def report(
    sequence: int,
    first_attempts: int,
    *,
    replica: str = "pod-0",
    start: float = NOW - 100,
    service: str = "messaging",
) -> load_report_pb2.LoadReport:
    message = load_report_pb2.LoadReport(
        service=service, replica=replica, sequence=sequence, mean_queueing_us=20_000, cpu_milli=900
    )
    message.start_time.FromMilliseconds(int(start * 1000))
    message.classes.add(
        business_class=priority_pb2.BUSINESS_CLASS_CRITICAL,
        first_attempts=first_attempts,
        admitted=first_attempts,
        shed=2 * sequence,
        retries=sequence,
    )
    message.classes.add(first_attempts=10 * sequence, expired=sequence)
    return message


SERVICES = ("messaging", "contacts")


def book() -> ReportBook:
    return ReportBook(
        lambda service: service in SERVICES, lambda _, replica: replica.startswith("pod-")
    )


def test_two_reports_make_rates_by_their_difference_also_when_some_are_lost() -> None:
    reports = book()
    reports.take("load.messaging.pod-0", report(1, 1000), NOW)

    refusal = reports.take("load.messaging.pod-0", report(5, 1400), NOW + 4)

    assert refusal is None
    (one,) = reports.reports_of("messaging")
    assert one.offered_per_s == (100.0, 0.0, 10.0, 0.0)
    assert one.shed_per_s == (2.0, 0.0, 1.0, 0.0)
    assert (one.retries_per_s, one.served_per_s, one.time) == (1.0, 100.0, NOW + 4)
    assert (one.queue_wait_s, one.queued, one.cpu_ratio) == (0.02, 2.0, 0.9)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(min_value=0, max_value=90), min_size=2, max_size=30))
def test_reports_that_waited_on_their_way_tell_the_rate_that_was(delays_s: list[float]) -> None:
    """Reports are sent each second and arrive in order, however bunched."""
    sent = enumerate(delays_s, start=1)
    arrivals = list(accumulate((NOW + second + delay for second, delay in sent), max))
    reports = book()

    for sequence, arrival in enumerate(arrivals, start=1):
        reports.take("load.messaging.pod-0", report(sequence, 100 * sequence), arrival)

        for one in reports.reports_of("messaging"):
            assert one.offered_per_s[0] == pytest.approx(100, rel=0.05)


@pytest.mark.parametrize(
    ("sequence", "after_s", "loop_lag_s", "rate"),
    [
        pytest.param(2, 1.0, 0.0, 600.0, id="each second"),
        pytest.param(2, 4.0, 0.0, 583.0, id="the way was blocked"),
        pytest.param(2, 1.2, 0.25, 500.0, id="a second of a busy replica"),
        pytest.param(2, 4.0, 3.0, 150.0, id="the replica stood still"),
        pytest.param(1001, 1.0, 0.0, 600.0, id="whoever counts no seconds"),
        pytest.param(2, -30.0, 0.0, 600.0, id="a clock that was set back"),
        pytest.param(2, 50.0, 0.0, 583.0, id="a clock that was set forward"),
    ],
)
def test_seconds_between_two_reports_are_those_that_the_replica_counts(
    sequence: int, after_s: float, loop_lag_s: float, rate: float
) -> None:
    """Arrivals count only as far as the replica's own lag explains them."""
    reports = book()
    reports.take("load.messaging.pod-0", report(1, 1000), NOW)
    message = report(sequence, 1600)
    message.loop_lag_us = int(loop_lag_s * 1e6)

    reports.take("load.messaging.pod-0", message, NOW + after_s)

    (one,) = reports.reports_of("messaging")
    assert one.offered_per_s[0] == pytest.approx(rate, abs=1)


def test_first_report_of_a_replica_gives_no_rates() -> None:
    reports = book()

    reports.take("load.messaging.pod-0", report(1, 10**9), NOW)

    assert reports.reports_of("messaging") == ()


def test_restarted_replica_counts_from_zero_again() -> None:
    reports = book()
    reports.take("load.messaging.pod-0", report(9, 5000), NOW)
    reports.take("load.messaging.pod-0", report(1, 10, start=NOW), NOW + 1)

    reports.take("load.messaging.pod-0", report(2, 60, start=NOW), NOW + 2)

    (one,) = reports.reports_of("messaging")
    assert one.offered_per_s[0] == 50.0


@pytest.mark.parametrize(
    ("subject", "message", "after_s", "refusal"),
    [
        pytest.param("load.contacts.pod-0", report(2, 1100), 1.0, Refusal.SUBJECT, id="subject"),
        pytest.param("load.messaging.pod-1", report(2, 1100), 1.0, Refusal.SUBJECT, id="replica"),
        pytest.param(
            "load.nobody.pod-0",
            report(2, 1, service="nobody"),
            1.0,
            Refusal.UNKNOWN_SERVICE,
            id="unknown service",
        ),
        pytest.param(
            "load.messaging.invented",
            report(2, 1, replica="invented"),
            1.0,
            Refusal.UNKNOWN_REPLICA,
            id="no pod",
        ),
        pytest.param(
            "load.messaging.pod-0", report(2, 1100), 0.001, Refusal.TOO_FAST, id="1,000 a second"
        ),
        pytest.param(
            "load.messaging.pod-0", report(1, 1100), 1.0, Refusal.OUT_OF_ORDER, id="again"
        ),
        pytest.param(
            "load.messaging.pod-0",
            report(2, 999),
            1.0,
            Refusal.COUNTERS_FALL,
            id="counters that fall",
        ),
        pytest.param(
            "load.messaging.pod-0",
            report(2, 1100, start=NOW + 3600),
            1.0,
            Refusal.FUTURE,
            id="from the future",
        ),
        pytest.param(
            "load.messaging.pod-0",
            report(2, 1100, start=NOW - 500),
            1.0,
            Refusal.OUT_OF_ORDER,
            id="of the process before",
        ),
    ],
)
def test_report_that_contradicts_is_refused_and_changes_nothing(
    subject: str, message: load_report_pb2.LoadReport, after_s: float, refusal: Refusal
) -> None:
    reports = book()
    reports.take("load.messaging.pod-0", report(1, 1000), NOW)

    refused = reports.take(subject, message, NOW + after_s)

    assert refused is refusal
    reports.take("load.messaging.pod-0", report(3, 1200), NOW + 2)
    (one,) = reports.reports_of("messaging")
    assert one.offered_per_s[0] == 100.0


def test_edge_reports_for_a_service_beside_the_service_itself() -> None:
    reports = book()
    for sequence in (1, 2):
        reports.take(
            "load.edge.edge-0", report(sequence, 10 * sequence, replica="edge-0"), NOW + sequence
        )

    (one,) = reports.reports_of("messaging")

    assert one.from_edge


def test_service_with_too_many_reporters_takes_no_place_from_another() -> None:
    reports = book()
    refusals = {
        reports.take(f"load.messaging.pod-{n}", report(1, 1, replica=f"pod-{n}"), NOW)
        for n in range(20_001)
    }
    other = report(1, 1, service="contacts")

    assert refusals == {None, Refusal.TOO_MANY}
    assert reports.take("load.contacts.pod-0", other, NOW) is None
    # Places are free again when their replicas have been silent for a minute.
    reports.forget(NOW + 61)
    late = report(1, 1, replica="pod-20000")
    assert reports.take("load.messaging.pod-20000", late, NOW + 61) is None


def test_silent_replica_is_forgotten_after_a_minute() -> None:
    reports = book()
    for sequence in (1, 2):
        reports.take("load.messaging.pod-0", report(sequence, 10), NOW + sequence)

    reports.forget(NOW + 62)
    assert len(reports.reports_of("messaging")) == 1
    reports.forget(NOW + 62.1)

    assert reports.reports_of("messaging") == ()


def test_service_that_never_reports_is_silent_from_when_it_was_expected() -> None:
    """An operator that began while a service could not report has an age for it, too."""
    reports = book()

    assert reports.newest_ages(SERVICES, NOW) == {"messaging": 0, "contacts": 0}
    reports.take("load.messaging.pod-0", report(1, 10), NOW + 10)
    reports.take("load.edge.edge-0", report(1, 10, replica="edge-0", service="contacts"), NOW + 10)

    assert reports.newest_ages(SERVICES, NOW + 30) == {"messaging": 20, "contacts": 30}


def test_silence_grows_past_the_time_for_which_reports_are_kept() -> None:
    """What is forgotten is a replica's counters, not when its service was heard of."""
    reports = book()
    reports.take("load.messaging.pod-0", report(1, 10), NOW)
    reports.forget(NOW + 90)

    assert reports.newest_ages(["messaging"], NOW + 90) == {"messaging": 90}
    assert reports.newest_ages([], NOW + 91) == {}
