"""Load series by the second: made shapes, and recorded ones scaled to a peak."""

import csv
import datetime as dt
import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

PEAK = 10.0
"""Peaks are this many times the usual load."""


def step(base: float, peak: float = PEAK) -> list[float]:
    """Jump to the peak after two minutes, and fall back after four more."""
    return [base] * 120 + [peak * base] * 240 + [base] * 240


def ramp(base: float, peak: float = PEAK) -> list[float]:
    """Rise to the peak over two minutes."""
    rising = [base * (1 + (peak - 1) * second / 120) for second in range(120)]
    return [base] * 120 + rising + [peak * base] * 120 + [base] * 240


def spikes(base: float, peak: float = PEAK) -> list[float]:
    """Jump to the peak for a minute, three times."""
    return [base] * 120 + ([peak * base] * 60 + [base] * 140) * 3


def sawtooth(base: float, peak: float = PEAK) -> list[float]:
    """Rise and fall again and again, with the period that a slow scale-down finds worst."""
    tooth = [base * (1 + (peak / 2 - 1) * second / 75) for second in range(75)]
    return [base] * 60 + (tooth + tooth[::-1]) * 4


def diurnal(base: float, peak: float = PEAK) -> list[float]:
    """Pass through a day in half an hour, with three sudden crowds."""
    series = []
    for second in range(1800):
        level = 1 + (peak / 2 - 1) * (0.5 - 0.5 * math.cos(2 * math.pi * second / 1800))
        crowd = 2.0 if second in range(400, 460) or second in range(1000, 1060) else 1.0
        series.append(base * level * (2.5 if second in range(1300, 1340) else crowd))
    return series


def lunar_new_year(base: float, peak: float = PEAK) -> list[float]:
    """Rise over the last minute before midnight, and stand at the peak with it."""
    rising = [base * (1 + (peak / 3 - 1) * second / 60) for second in range(60)]
    falling = [base * (1 + (peak - 1) * math.exp(-second / 90)) for second in range(300)]
    return [base] * 180 + rising + [peak * base] * 60 + falling


def login_storm(base: float, peak: float = PEAK) -> list[float]:
    """Come back all at once after an outage of a minute, and again in waves."""
    wave = [
        base * (1 + (peak - 1) * abs(math.cos(second / 20)) * math.exp(-second / 60))
        for second in range(240)
    ]
    return [base] * 120 + [0.05 * base] * 60 + wave + [base] * 120


SHAPES: dict[str, Callable[[float, float], list[float]]] = {
    "step": step,
    "ramp": ramp,
    "spikes": spikes,
    "sawtooth": sawtooth,
    "diurnal": diurnal,
    "lunar-new-year": lunar_new_year,
    "login-storm": login_storm,
}


def read_trace(path: Path) -> list[tuple[float, float]]:
    """Read a CSV file with a header and two columns: a time and a value."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    return sorted((_moment(row[0]), max(0.0, float(row[1]))) for row in rows if len(row) >= 2)


def scale_trace(
    points: Sequence[tuple[float, float]], base: float, duration_s: int, peak: float = PEAK
) -> list[float]:
    """Cut out the time around the peak, by the second, with the median and the peak as asked.

    What lies between median and peak keeps its place between them; below the median the series
    keeps its proportions.
    """
    times = [time for time, _ in points]
    values = [value for _, value in points]
    top = max(range(len(values)), key=values.__getitem__)
    median = statistics.median(values) or statistics.fmean(values) or 1.0
    begin = max(times[0], min(times[top] - duration_s * 0.6, times[-1] - duration_s))
    stretch = (peak - 1) * median / max(values[top] - median, 1e-9)
    series, index = [], 0
    for second in range(duration_s):
        moment = begin + second
        while index + 2 < len(times) and times[index + 1] <= moment:
            index += 1
        span = max(times[index + 1] - times[index], 1e-9)
        part = min(max((moment - times[index]) / span, 0.0), 1.0)
        value = values[index] + part * (values[index + 1] - values[index])
        over = value - median
        scaled = median + over * stretch if over > 0 else value
        series.append(base * scaled / median)
    return series


def _moment(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp()
