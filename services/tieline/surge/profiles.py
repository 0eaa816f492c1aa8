"""How much load there is at each moment. Pure.

A profile is a shape between 0 and 1 over the surge's time: the load is the base rate, and at 1 the
base rate times the factor.
"""

import bisect
import csv
import math
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

Shape = Callable[[float], float]
"""Returns the load at a part, 0 to 1, of the surge's time: 0 the base, 1 the whole factor."""

# The middle half of the time is the surge: before it there is something to compare with, and
# behind it the recovery can be seen.
_BEGIN, _END = 0.25, 0.75
_SPIKES = 4
_SPIKE_SHARE = 0.4
_TEETH = 3
# The surge of the whole is drawn second by second; within one the rate stays the same.
_STEP_S = 1.0


class TraceError(Exception):
    """A recorded trace that can't be read; the text says why."""


def step(part: float) -> float:
    """Rise at once and fall at once."""
    return 1.0 if _BEGIN <= part < _END else 0.0


def ramp(part: float) -> float:
    """Rise evenly to the middle of the surge's time, stay, and fall at its end."""
    if part >= _END:
        return 0.0
    return min(max((part - _BEGIN) / (0.5 - _BEGIN), 0.0), 1.0)


def spikes(part: float) -> float:
    """Rise and fall at once, four times."""
    within = (part * _SPIKES) % 1.0
    return 1.0 if 0.3 <= within < 0.3 + _SPIKE_SHARE else 0.0


def sawtooth(part: float) -> float:
    """Rise evenly and fall at once, three times: what a slow controller likes least."""
    return (part * _TEETH) % 1.0


SHAPES: dict[str, Shape] = {"step": step, "ramp": ramp, "spikes": spikes, "sawtooth": sawtooth}


def read_trace(path: Path) -> Shape:
    """Return the shape of a recorded series: CSV with a head line, the value in the last column.

    The lowest value is the base and the highest the whole factor; times are stretched to the
    surge's, and between two values the load changes evenly. Raises TraceError.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.reader(file) if row][1:]
    try:
        values = [float(row[-1]) for row in rows]
    except ValueError as error:
        raise TraceError(f"{path}: {error}") from None
    return scale_trace(values, str(path))


def scale_trace(values: Sequence[float], name: str) -> Shape:
    """Return the shape that goes through the values. Raises TraceError."""
    if len(values) < 2 or not all(math.isfinite(value) for value in values):
        raise TraceError(f"{name} needs two finite values at least")
    low, high = min(values), max(values)
    if low == high:
        raise TraceError(f"{name} has the same value everywhere")

    def shape(part: float) -> float:
        position = min(max(part, 0.0), 1.0) * (len(values) - 1)
        index = min(int(position), len(values) - 2)
        between = position - index
        value = values[index] * (1 - between) + values[index + 1] * between
        return (value - low) / (high - low)

    return shape


def list_rates(shape: Shape, *, base: float, factor: float, duration_s: int) -> list[float]:
    """Return the calls per second of each second of the surge."""
    return [
        base * (1 + (factor - 1) * shape((second + 0.5 * _STEP_S) / duration_s))
        for second in range(duration_s)
    ]


def draw_arrivals(rates: Sequence[float], chance: random.Random) -> Iterator[float]:
    """Yield when calls are due, in seconds from the begin: a Poisson process of these rates."""
    ends = []
    total = 0.0
    for rate in rates:
        total += rate
        ends.append(total)
    position = 0.0
    while True:
        position += chance.expovariate(1.0)
        if position >= total:
            return
        second = bisect.bisect_right(ends, position)
        begun = ends[second] - rates[second]
        yield second + (position - begun) / rates[second]
