import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.surge.mix import DEFAULT_MIX, KINDS, MixError, parse_mix
from tieline.surge.outcomes import (
    FAILED,
    OK,
    UNSENT,
    Second,
    bound_of,
    bucket_of,
    classify,
    sum_up,
    summarise,
)
from tieline.surge.report import build_page, build_result


@pytest.mark.parametrize(
    ("code", "reason", "metadata", "outcome"),
    [
        ("RESOURCE_EXHAUSTED", "OVERLOADED", {"ring": "edge"}, "edge"),
        ("UNAVAILABLE", "OVERLOADED", {}, "admission"),
        ("UNAVAILABLE", "OVERLOADED", {"ring": "caller"}, "caller"),
        ("RESOURCE_EXHAUSTED", "RATE_LIMITED", {"limit": "corp"}, "limit"),
        ("DEADLINE_EXCEEDED", "", {}, "late"),
        ("CANCELLED", "", {}, "core"),
        ("UNAVAILABLE", "SHUTTING_DOWN", {}, "failed"),
    ],
)
def test_a_refusal_is_told_by_who_refused(
    code: str, reason: str, metadata: dict[str, str], outcome: str
) -> None:
    assert classify(code, reason, metadata) == outcome


@given(st.floats(min_value=0, max_value=100))
def test_a_bucket_is_at_most_a_tenth_too_long(seconds: float) -> None:
    bound = bound_of(bucket_of(seconds))

    assert bound >= seconds * (1 - 1e-9)
    assert bound <= max(seconds * 1.1, 0.0001) * (1 + 1e-9)


def test_percentiles_are_of_good_calls_of_the_class_alone() -> None:
    second = Second()
    for milliseconds in range(1, 101):
        second.note("message", OK, milliseconds / 1000)
    second.note("search", OK, 5.0)
    second.note("message", FAILED)

    assert second.percentile_s(0.99, KINDS["message"].business_class) == pytest.approx(0.1, rel=0.1)
    assert second.percentile_s(1.0) == pytest.approx(5.0, rel=0.1)
    assert Second().percentile_s(0.5) is None


def test_generators_counts_add_up_after_a_way_through_json() -> None:
    one, other = Second(), Second()
    one.note("message", OK, 0.01)
    other.note("message", OK, 0.02)
    other.note("lookup", "edge")
    other.lag_s = 0.03

    whole = sum_up(Second.from_json(json.loads(json.dumps(s.to_json()))) for s in (one, other))

    assert whole.count() == 3
    assert whole.count(outcome=OK) == 2
    assert whole.latencies["message"].total() == 2
    assert whole.lag_s == 0.03


@pytest.mark.parametrize(
    ("lag_s", "unsent", "is_limited"),
    [
        pytest.param(0.05, 0, False, id="just in time"),
        pytest.param(0.051, 0, True, id="late"),
        pytest.param(0, 2, False, id="nearly all was sent"),
        pytest.param(0, 3, True, id="too little was sent"),
    ],
)
def test_the_generator_says_when_it_is_the_limit(
    lag_s: float, unsent: int, is_limited: bool
) -> None:
    second = Second(lag_s=lag_s)
    for number in range(100):
        second.note("message", UNSENT if number < unsent else OK)

    assert second.is_generator_limited is is_limited


def test_the_result_has_every_class_and_the_page_stands_alone() -> None:
    seconds = {0: Second(), 2: Second()}
    seconds[0].note("message", OK, 0.01)
    seconds[2].note("search", "edge")
    options = {"profile": "<step>"}

    result = build_result(options, [1.0, 2.0, 3.0], seconds, {0: {"messaging": 1}})
    page = build_page(options, [1.0, 2.0, 3.0], seconds, {0: {"messaging": 1}})

    assert json.loads(json.dumps(result))["summary"] == summarise(seconds)
    rows = result["seconds"]
    assert isinstance(rows, list)
    assert [row["offered"] for row in rows] == [1, 0, 1]
    assert "<step>" not in page
    assert "&lt;step&gt;" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert page.count("<svg") == 4


def test_a_mix_is_read() -> None:
    assert parse_mix("message=3,lookup=0.5") == {"message": 3, "lookup": 0.5}
    assert set(DEFAULT_MIX) == set(KINDS)
    assert {kind.business_class for kind in KINDS.values()} == {1, 2, 3, 4}


@pytest.mark.parametrize("text", ["", "message", "message=x", "dance=1", "message=0", "message=-1"])
def test_what_is_no_mix_is_refused(text: str) -> None:
    with pytest.raises(MixError):
        parse_mix(text)
