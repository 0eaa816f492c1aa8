import random
from pathlib import Path

import pytest

from tieline.surge.profiles import (
    SHAPES,
    TraceError,
    draw_arrivals,
    list_rates,
    ramp,
    read_trace,
    sawtooth,
    scale_trace,
    spikes,
    step,
)


@pytest.mark.parametrize(
    ("shape", "part", "load"),
    [
        pytest.param(step, 0.2499, 0, id="before the step"),
        pytest.param(step, 0.25, 1, id="the step"),
        pytest.param(step, 0.7499, 1, id="the step's end"),
        pytest.param(step, 0.75, 0, id="behind the step"),
        pytest.param(ramp, 0.25, 0, id="the ramp's foot"),
        pytest.param(ramp, 0.375, 0.5, id="half way up"),
        pytest.param(ramp, 0.5, 1, id="the ramp's top"),
        pytest.param(ramp, 0.75, 0, id="behind the ramp"),
        pytest.param(spikes, 0.25 * 0.29, 0, id="before the first spike"),
        pytest.param(spikes, 0.25 * 1.31, 1, id="in the second spike"),
        pytest.param(sawtooth, 0.5, 0.5, id="half a tooth"),
    ],
)
def test_a_shape_has_its_load_at_each_moment(shape: object, part: float, load: float) -> None:
    assert callable(shape)
    assert shape(part) == pytest.approx(load)


@pytest.mark.parametrize("name", SHAPES)
def test_rates_lie_between_the_base_and_the_factor(name: str) -> None:
    rates = list_rates(SHAPES[name], base=20, factor=10, duration_s=40)

    assert len(rates) == 40
    assert min(rates) >= 20
    assert 190 <= max(rates) <= 200


def test_a_trace_is_stretched_from_its_lowest_to_its_highest_value(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("time,value\n2026-01-01,10\n2026-01-02,30\n2026-01-03,20\n")

    shape = read_trace(path)

    assert [shape(part) for part in (0, 0.25, 0.5, 0.75, 1)] == [0, 0.5, 1, 0.75, 0.5]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("value\n1\n", id="one value"),
        pytest.param("value\n1\n1\n", id="no change"),
        pytest.param("value\n1\nx\n", id="no number"),
        pytest.param("value\n1\nnan\n", id="not finite"),
    ],
)
def test_a_trace_without_a_shape_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text)

    with pytest.raises(TraceError):
        read_trace(path)


def test_arrivals_come_at_their_seconds_rate_in_order_and_the_same_each_time() -> None:
    rates = [1000.0, 0.0, 3000.0]

    times = list(draw_arrivals(rates, random.Random(1)))

    assert times == sorted(times)
    assert times == list(draw_arrivals(rates, random.Random(1)))
    counts = [sum(second <= t < second + 1 for t in times) for second in range(3)]
    assert counts[0] == pytest.approx(1000, rel=0.15)
    assert counts[1] == 0
    assert counts[2] == pytest.approx(3000, rel=0.1)
    assert sum(counts) == len(times)


def test_the_highest_value_is_the_whole_factor() -> None:
    shape = scale_trace([5, 50, 5], "made")
    assert list_rates(shape, base=10, factor=10, duration_s=3)[1] == 100
