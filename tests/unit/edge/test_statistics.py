from datetime import UTC, datetime

from tieline.edge.reports import build_report
from tieline.edge.statistics import (
    Key,
    Totals,
    parse_table,
    read_limited,
    read_refusals,
    read_replicas,
    read_variable,
)

TABLE = """# pxname,svname,scur,slim,stot,status,
edge,FRONTEND,3,100,40,OPEN,
messaging_calls,replica1,2,24,30,UP,
messaging_calls,replica2,0,24,1,DOWN 1/1,
messaging_calls,replica3,0,24,0,MAINT (resolution),
messaging_calls,BACKEND,2,10,31,UP,
messaging_large,replica1,1,50,3,UP,
messaging_long,replica1,7,2000,9,UP 1/2,
refused_messaging_4,BACKEND,0,10,5,UP,
again_messaging_4,BACKEND,0,10,2,UP,
limited_corp_hour,BACKEND,0,10,6,UP,

"""


def test_refusals_are_told_by_service_class_and_attempt() -> None:
    assert read_refusals(parse_table(TABLE)) == {
        Key("messaging", 4, "refused"): 5,
        Key("messaging", 4, "again"): 2,
    }
    assert read_limited(parse_table(TABLE)) == {"corp_hour": 6}


def test_places_of_a_name_that_nobody_has_are_no_replicas() -> None:
    states = list(read_replicas(parse_table(TABLE)))

    assert [(state.name, state.kind, state.is_ready) for state in states] == [
        ("replica1", "calls", True),
        ("replica2", "calls", False),
        ("replica1", "large", True),
        ("replica1", "long", True),
    ]


def test_a_variable_is_read_and_one_that_is_not_set_is_zero() -> None:
    assert read_variable("proc.expired_messaging_3: type=sint value=<12>\n") == 12
    assert read_variable("proc.expired_messaging_3: type=any value=<>\n") == 0
    assert read_variable("Variable not found.\n") == 0


def test_totals_grow_over_workers_that_begin_at_zero() -> None:
    key = Key("messaging", 3, "refused")
    totals = Totals()

    totals.note(1, {key: 5})
    totals.note(1, {key: 7})
    totals.note(1, {key: 7})
    totals.note(2, {key: 1})
    totals.note(2, {key: 4})
    totals.note(3, {})

    assert totals.current() == {key: 11}


def test_a_report_counts_retries_apart_and_what_waited_too_long_as_demand() -> None:
    counts = {
        Key("messaging", 4, "refused"): 5,
        Key("messaging", 4, "again"): 2,
        Key("messaging", 4, "expired"): 1,
        Key("payments", 1, "refused"): 9,
    }

    report = build_report(
        "messaging", counts, replica="edge-0", sequence=3, start_time=datetime.now(UTC)
    )

    (counters,) = report.classes
    assert (counters.first_attempts, counters.retries) == (6, 2)
    assert (counters.shed, counters.expired, counters.admitted) == (7, 1, 0)
    assert report.ByteSize() <= 300
